"""The generator answers, the verifier judges: most schemes live here."""

from rlcotrain.model.agents import Agents
from rlcotrain.types import Problem, Prompt, Rollout, Turn, Verifier


class Solve:
    """`group_size` solutions a problem; a verdict is reward on the stream `outcome`."""

    streams = ("outcome",)
    samples = True

    def __init__(self, verifier: Verifier) -> None:
        self.verifier = verifier

    def play(self, problems: list[Problem], agents: Agents, turn: Turn) -> list[Rollout]:
        """Rows of the generator, and the verifier's own where it spoke."""
        prompts = [
            Prompt(
                problem=problem,
                messages=turn.messages(problem),
                peers=f"{turn.step}/{position}/generator",
                episode=f"{turn.step}/{position}",
            )
            for position, problem in enumerate(problems)
        ]
        rows = agents.sample(
            "generator", prompts, turn.group_size, turn.sampling, turn.seed, turn.step
        )
        verdicts, judgements = self.verifier.judge(rows)
        rewarded = [
            row if verdict.score is None else row.give("outcome", verdict.score, part="correct")
            for row, verdict in zip(rows, verdicts, strict=True)
        ]
        return rewarded + judgements
