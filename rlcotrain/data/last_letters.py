"""Join the last letters of several names (arXiv 2201.11903; a study of arXiv 2505.15034).

Question `Take the last letters of the words in "Ada Noor Ken" and join them.`, answer `arn`; level
K = K names. The worked solution says one letter a line.
"""

from collections.abc import Sequence
from random import Random

from rlcotrain.data.dataset import Stages
from rlcotrain.data.generated import Generated
from rlcotrain.data.wording import Wording
from rlcotrain.types import Problem

NAMES = """
Ada Adam Agnes Ahmed Alba Alex Amir Amy Ana Andre Anil Anouk Arlo Asha Astrid Ben Bella Boris
Bram Carl Carmen Cato Chen Chloe Clara Colin Dag Dana David Diego Dov Ebba Edith Eli Elif Emil
Enzo Erik Esther Ewa Farah Felix Finn Flora Fritz Gail Georg Gita Greta Gus Hana Hank Heidi Hugo
Ian Ida Igor Ines Iris Isaac Ivy Jack Jacob Jan Jin Joao Juan Judy Kai Kaya Ken Kira Kofi Lars
Lea Leif Liam Lily Ling Louis Lucas Luz Malik Marc Maria Max May Mei Mila Milo Mira Nadav Nell
Nick Nils Noor Olaf Olga Omar Oscar Otto Pablo Paul Per Petra Pia Quinn Rafael Raj Remy Rita Rob
Roy Ruth Sami Sara Saul Sven Tariq Tess Theo Tom Uma Ursula Vera Vikram Wei Will Xin Yara Yusuf
Zack Zoe
""".split()  # noqa: SIM905


class LastLetters(Generated):
    """Endless; no two names of a question are the same."""

    def __init__(
        self,
        *,
        seed: int,
        levels: Sequence[int],
        held_out: float,
        stages: Stages,
        wording: Wording,
    ) -> None:
        if not all(1 <= level <= len(NAMES) for level in levels):
            raise ValueError(f"data.levels={list(levels)}: each must be in 1..{len(NAMES)}")
        super().__init__("last_letters", wording, make_problem, levels, seed, held_out, stages)


def make_problem(level: int, seed: int) -> Problem:
    """The question of `level` names that a seed stands for."""
    names = Random(seed).sample(NAMES, level)
    answer = "".join(name[-1] for name in names)
    lines = [f'The last letter of "{name}" is "{name[-1]}".' for name in names]
    return Problem(
        id="",
        question=f'Take the last letters of the words in "{" ".join(names)}" and join them.',
        answer=answer,
        solution="\n".join([*lines, f"The answer is {answer}."]),
    )
