"""Rows made from worked solutions; nothing is sampled. With the loss nll this is SFT."""

from rlcotrain.model.agents import Agents
from rlcotrain.types import Problem, Prompt, Rollout, Turn, Verifier


class Imitate:
    """One row a problem: its worked solution, as the generator should have said it.

    The verifier's verdict is recorded on the stream `outcome`: how much of the corpus is right.
    """

    streams = ("outcome",)
    samples = False

    def __init__(self, verifier: Verifier) -> None:
        self.verifier = verifier

    def play(self, problems: list[Problem], agents: Agents, turn: Turn) -> list[Rollout]:
        """ValueError for a problem without a worked solution."""
        prompts = [
            Prompt(
                problem=problem,
                messages=turn.messages(problem),
                peers=f"{turn.step}/{position}/generator",
                episode=f"{turn.step}/{position}",
            )
            for position, problem in enumerate(problems)
        ]
        rows = agents.say("generator", prompts, [_solution(problem) for problem in problems])
        verdicts, _ = self.verifier.judge(rows)
        return [
            row if verdict.score is None else row.give("outcome", verdict.score, part="correct")
            for row, verdict in zip(rows, verdicts, strict=True)
        ]


def _solution(problem: Problem) -> str:
    if problem.solution is None:
        raise ValueError(
            f"game=imitate: problem {problem.id} has no worked solution; "
            "choose a data set that has them or a schedule without imitation"
        )
    return problem.solution
