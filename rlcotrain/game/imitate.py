"""Rows made from worked solutions; nothing is sampled. With the loss nll this is SFT."""

from rlcotrain.game.outcome import ask, reward
from rlcotrain.model.agents import Agents
from rlcotrain.types import Problem, Rollout, Turn, Verifier


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
        prompts = ask(problems, turn, "generator")
        rows = agents.say("generator", prompts, [_solution(problem) for problem in problems])
        verdicts, _ = self.verifier.judge(rows)
        return reward(rows, verdicts)


def _solution(problem: Problem) -> str:
    if problem.solution is None:
        raise ValueError(
            f"game=imitate: problem {problem.id} has no worked solution; "
            "choose a data set that has them or a schedule without imitation"
        )
    return problem.solution
