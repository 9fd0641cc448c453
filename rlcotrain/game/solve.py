"""The generator answers, the verifier judges: most schemes live here."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from rlcotrain.game.outcome import ask, reward
from rlcotrain.types import Bonus, Problem, Rollout, Speakers, Turn, Verifier


class Solve:
    """`group_size` solutions a problem, each judged; verdicts are reward by stream.

    A solution and what was said of it are one episode.
    """

    samples = True

    def __init__(self, verifier: Verifier, bonuses: Mapping[str, Bonus] | None = None) -> None:
        """bonuses: what solutions earn beside the verdict, by stream."""
        self.verifier = verifier
        self.bonuses = dict(bonuses or {})
        for stream in self.bonuses:
            if stream in verifier.streams:
                raise ValueError(
                    f"bonus.{stream}: the verifier pays that stream; choose another name than "
                    f"{', '.join(verifier.streams)}"
                )
        self.streams = (*verifier.streams, *self.bonuses)
        self.needs_answers = verifier.needs_answers

    def play(self, problems: list[Problem], agents: Speakers, turn: Turn) -> list[Rollout]:
        """Rows of the generator, and the verifier's own where it spoke."""
        prompts = ask(problems, turn, "generator")
        rows = agents.sample(
            "generator", prompts, turn.group_size, turn.sampling, turn.seed, turn.step
        )
        rows = [
            replace(row, episode=f"{row.episode}/{i % turn.group_size}")
            for i, row in enumerate(rows)
        ]
        return self.review(rows, agents, turn)

    def review(self, rows: Sequence[Rollout], agents: Speakers, turn: Turn) -> list[Rollout]:
        """The same for solutions that are already there, without what they earned before."""
        rows = [replace(row, rewards=()) for row in rows]
        verdicts, judgements = self.verifier.judge(rows, agents, turn)
        rows = reward(rows, verdicts, agents, turn, "step" in self.verifier.streams)
        for stream, bonus in self.bonuses.items():
            rows = [
                row if value is None else row.give(stream, value)
                for row, value in zip(rows, bonus.pay(rows), strict=True)
            ]
        return rows + judgements
