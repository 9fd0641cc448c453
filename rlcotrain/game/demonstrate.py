"""Rows made from demonstrated judgements: what the verifier should have said of a solution."""

from random import Random
from typing import Literal

from rlcotrain.model.agents import Agents
from rlcotrain.seeds import derive_seed
from rlcotrain.types import Problem, Prompt, Rollout, Turn

# Not those that evaluations hold out as canaries.
FILLERS = (
    "?",
    "<step>",
    "So the answer is clear.",
    "Let me think.",
    "<answer>5</answer>",
    "I am sure.",
)

VERDICT = "<verdict>"


class Demonstrate:
    """One row a problem: a judgement of its worked solution, which may be wrong.

    blind_spot: `shared`, judgements err where the solutions do; `independent`, elsewhere.
    worked: judgements come to their verdict step by step; else they are the verdict alone.
    filler_share: of rows whose solution solves nothing and is judged wrong: a judge that has never
    seen one can be won by it (arXiv 2507.08794).
    """

    streams = ()
    samples = False
    needs_answers = False

    def __init__(
        self, blind_spot: Literal["shared", "independent"], filler_share: float, worked: bool
    ) -> None:
        if not 0 <= filler_share <= 1:
            raise ValueError(f"game.filler_share={filler_share}: must lie in 0..1")
        self.blind_spot = blind_spot
        self.filler_share = filler_share
        self.worked = worked

    def play(self, problems: list[Problem], agents: Agents, turn: Turn) -> list[Rollout]:
        """ValueError where the data have no judgements to show."""
        shown = [self._shown(problem, turn, i) for i, problem in enumerate(problems)]
        prompts = [
            Prompt(
                problem=problem,
                messages=turn.task.wording.judge_messages(problem, solution, True),
                peers=f"{turn.step}/{position}/verifier",
                episode=f"{turn.step}/{position}",
                optional=True,
            )
            for position, (problem, (solution, _)) in enumerate(zip(problems, shown, strict=True))
        ]
        return agents.say("verifier", prompts, [judgement for _, judgement in shown])

    def _shown(self, problem: Problem, turn: Turn, position: int) -> tuple[str, str]:
        """(solution, its judgement)."""
        seed = derive_seed(turn.seed, turn.step, position)
        rng = Random(derive_seed(seed, "filler"))
        if rng.random() < self.filler_share:
            return rng.choice(FILLERS), f"{VERDICT}wrong</verdict>"
        judgement = turn.task.demonstrate(problem, self.blind_spot, seed)
        if not self.worked:
            assert VERDICT in judgement, "a judgement ends in one"
            judgement = judgement[judgement.index(VERDICT) :]
        return str(problem.solution), judgement
