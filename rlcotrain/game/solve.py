"""The generator answers, the verifier judges: most schemes live here."""

from rlcotrain.game.outcome import ask, reward
from rlcotrain.model.agents import Agents
from rlcotrain.types import Problem, Rollout, Turn, Verifier


class Solve:
    """`group_size` solutions a problem; a verdict is reward on the stream `outcome`."""

    streams = ("outcome",)
    samples = True

    def __init__(self, verifier: Verifier) -> None:
        self.verifier = verifier

    def play(self, problems: list[Problem], agents: Agents, turn: Turn) -> list[Rollout]:
        """Rows of the generator, and the verifier's own where it spoke."""
        prompts = ask(problems, turn, "generator")
        rows = agents.sample(
            "generator", prompts, turn.group_size, turn.sampling, turn.seed, turn.step
        )
        verdicts, judgements = self.verifier.judge(rows)
        return reward(rows, verdicts) + judgements
