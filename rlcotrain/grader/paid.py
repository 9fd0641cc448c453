"""What a grader says as a stream of its own, beside the outcome."""

from collections.abc import Sequence

from rlcotrain.types import Grader, Rollout


class Paid:
    """A row earns the grader's score; without a score it goes without the stream."""

    def __init__(self, *, grader: Grader) -> None:
        self.grader = grader

    def pay(self, rows: Sequence[Rollout]) -> list[float | None]:
        """One score a row, in order."""
        grades = self.grader.grade([row.text for row in rows], [row.problem for row in rows])
        return [grade.score for grade in grades]
