"""A grader with others beside it that pay nobody: format drift shows as the gap between them."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from rlcotrain.types import Grade, Grader, Problem


class Watched:
    """Grades as `grader` does; what those of `watch` say rides along as `Grade.watched`."""

    def __init__(self, *, grader: Grader, watch: Mapping[str, Grader]) -> None:
        self.grader = grader
        self.watch = dict(watch)

    def grade(self, texts: Sequence[str], problems: Sequence[Problem]) -> list[Grade]:
        """One grade a text, in order."""
        beside = {name: other.grade(texts, problems) for name, other in self.watch.items()}
        return [
            replace(grade, watched=tuple((name, grades[i]) for name, grades in beside.items()))
            for i, grade in enumerate(self.grader.grade(texts, problems))
        ]

    def check(self, problem: Problem) -> None:
        """ValueError where the known answer is of no use to one of them."""
        for grader in (self.grader, *self.watch.values()):
            grader.check(problem)

    def extract(self, text: str) -> str | None:
        """What the grader itself extracts. ValueError where it does not."""
        extract = getattr(self.grader, "extract", None)
        if extract is None:
            raise ValueError(
                f"grader: {type(self.grader).__name__} names no answer, as verifier=majority needs"
            )
        found: str | None = extract(text)
        return found
