"""Chains of one-digit additions and subtractions modulo 10: the task a tiny model learns.

Question `7+8-3+5?`, worked solution
`<step>7+8=5</step><step>5-3=2</step><step>2+5=7</step><answer>7</answer>`; level K = K operations.
There are no spaces: `+8`, `<step>` and the like are whole tokens of the embedded tokenizer.

Demonstrations slip, as real corpora do. `wrap`: a result that wraps past 9 or below 0 is one too
high with probability `slip_rate`, a habit that imitation teaches and reinforcement has to undo.
`random`: any result is off by 1 or 2 with that probability, noise that greedy decoding leaves out.
"""

from collections.abc import Callable, Iterator
from random import Random
from typing import Literal, NamedTuple

from rlcotrain.data.dataset import (
    Levels,
    Stages,
    check_count,
    check_share,
    check_stages,
    is_held_out,
    known_levels,
)
from rlcotrain.data.wording import Wording
from rlcotrain.seeds import derive_seed
from rlcotrain.types import Problem

OPERANDS = (*range(-9, 0), *range(1, 10))
TERMS = {operand: f"{operand:+d}" for operand in OPERANDS}
SLIPS = ("wrap", "random", "none")


class Chain(NamedTuple):
    """`7+8-3?` with its first digit and its signed operands."""

    start: int
    operands: list[int]
    question: str


class Arithmetic:
    """Problems made as they are drawn. What a draw is depends on (seed, split, index) only."""

    name = "arithmetic"

    def __init__(
        self,
        *,
        seed: int,
        levels: list[int],
        slip: Literal["wrap", "random", "none"],
        slip_rate: float,
        held_out: float,
        stages: Stages,
        wording: Wording,
    ) -> None:
        if not levels or min(levels) < 1:
            raise ValueError(f"data.levels={list(levels)} must name one level or more, each >= 1")
        if slip not in SLIPS:
            raise ValueError(f"data.slip={slip!r} must be one of {', '.join(SLIPS)}")
        if not 0 <= slip_rate <= 1:
            raise ValueError(f"data.slip_rate={slip_rate} must lie in 0..1")
        check_share(held_out)
        check_stages(self.name, stages, sorted(set(levels)))
        self.wording = wording
        self.seed, self.held_out = seed, held_out
        self.levels = tuple(sorted(set(levels)))
        self.slip, self.slip_rate = slip, slip_rate

    def train_problem(self, index: int, levels: Levels) -> Problem:
        """Problem `index` of the stream; its solution may slip, its answer is right."""
        levels = known_levels(self.name, levels, self.levels)
        rng = Random(derive_seed(self.seed, "train", index, *levels))
        level = rng.choice(levels)
        chain = draw_chain(rng, level)
        while is_held_out(chain.question, self.held_out):
            chain = draw_chain(rng, level)
        return self._problem("train", chain, lambda total: self._slipped(total, rng))

    def test_problems(self, count: int, levels: Levels) -> list[Problem]:
        """Different held-out problems, as many of each level, with their right solutions."""
        levels = known_levels(self.name, levels, self.levels)
        rows: list[Problem] = []
        streams = [self._test_stream(level) for level in levels]
        while len(rows) < count:
            problem = next(streams[len(rows) % len(streams)], None)
            if problem is None:
                break
            rows.append(problem)
        check_count(f"{self.name}, levels {list(levels)}", count, len(rows))
        return rows

    def _test_stream(self, level: int) -> Iterator[Problem]:
        """Every held-out chain of a level once, in a random order that never changes."""
        rng = Random(derive_seed("test", level))
        seen: set[str] = set()
        while len(seen) < 10 * len(OPERANDS) ** level:
            chain = draw_chain(rng, level)
            if chain.question not in seen and is_held_out(chain.question, self.held_out):
                yield self._problem("test", chain, lambda total: total % 10)
            seen.add(chain.question)

    def _problem(self, split: str, chain: Chain, shown: Callable[[int], int]) -> Problem:
        return Problem(
            id=f"{self.name}/{split}/{chain.question[:-1]}",
            question=chain.question,
            answer=str((chain.start + sum(chain.operands)) % 10),
            solution=work(chain, shown),
            level=len(chain.operands),
            task=self.name,
        )

    def _slipped(self, total: int, rng: Random) -> int:
        """The digit a demonstration shows for `total`, the sum before it is taken modulo 10."""
        if self.slip == "wrap" and not 0 <= total <= 9 and rng.random() < self.slip_rate:
            total += 1
        elif self.slip == "random" and rng.random() < self.slip_rate:
            total += rng.choice((-2, -1, 1, 2))
        return total % 10


def draw_chain(rng: Random, level: int) -> Chain:
    """A first digit and `level` operands, none of them 0."""
    start, operands = rng.randrange(10), rng.choices(OPERANDS, k=level)
    question = f"{start}{''.join([TERMS[operand] for operand in operands])}?"
    return Chain(start, operands, question)


def work(chain: Chain, shown: Callable[[int], int]) -> str:
    """The solution step by step. `shown` says what each sum comes to; a slip is carried on."""
    value, steps = chain.start, []
    for operand in chain.operands:
        result = shown(value + operand)
        steps.append(f"<step>{value}{TERMS[operand]}={result}</step>")
        value = result
    return f"{''.join(steps)}<answer>{value}</answer>"
