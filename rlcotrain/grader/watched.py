"""A grader with others beside it that pay nobody: format drift shows as the gap between them."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from rlcotrain.grader.single import is_usable, waits
from rlcotrain.types import Grade, Grader, Problem


class Watched:
    """Grades as `grader` does; what those of `watch` say rides along as `Grade.watched`.

    One of them that cannot use a problem's answer says nothing of that problem.
    """

    def __init__(self, *, grader: Grader, watch: Mapping[str, Grader]) -> None:
        self.grader = grader
        self.watch = dict(watch)
        self.waits = all(map(waits, (grader, *self.watch.values())))

    def grade(self, texts: Sequence[str], problems: Sequence[Problem]) -> list[Grade]:
        """One grade a text, in order."""
        watched: list[list[tuple[str, Grade]]] = [[] for _ in texts]
        for name, other in self.watch.items():
            places = [i for i, problem in enumerate(problems) if is_usable(other, problem)]
            beside = other.grade([texts[i] for i in places], [problems[i] for i in places])
            for i, grade in zip(places, beside, strict=True):
                watched[i].append((name, grade))
        return [
            replace(grade, watched=tuple(beside))
            for grade, beside in zip(self.grader.grade(texts, problems), watched, strict=True)
        ]

    def check(self, problem: Problem) -> None:
        """ValueError where the known answer is of no use to the grader; the others only watch."""
        self.grader.check(problem)

    def extract(self, text: str) -> str | None:
        """What the grader itself extracts. ValueError where it does not."""
        extract = getattr(self.grader, "extract", None)
        if extract is None:
            raise ValueError(
                f"grader: {type(self.grader).__name__} names no answer, as verifier=majority needs"
            )
        found: str | None = extract(text)
        return found
