"""A rule for one completion and one known answer, as a grader of batches."""

from abc import ABC, abstractmethod
from collections.abc import Sequence

from rlcotrain.types import Grade, Grader, GradeStatus, Problem


class Single(ABC):
    """Grades each completion by itself: a grader then is its `grade_one`."""

    @abstractmethod
    def grade_one(self, text: str, answer: str) -> Grade:
        """The grade of one text. ValueError, whatever the text, where `answer` is of no use."""

    def grade(self, texts: Sequence[str], problems: Sequence[Problem]) -> list[Grade]:
        """One grade a text, in order. ValueError for a problem without a usable answer."""
        return [
            self.grade_one(text, known_answer(problem))
            for text, problem in zip(texts, problems, strict=True)
        ]

    def check(self, problem: Problem) -> None:
        """ValueError where the known answer is of no use."""
        self.grade_one("", known_answer(problem))


def known_answer(problem: Problem) -> str:
    """The known answer. ValueError where there is none."""
    if problem.answer is None:
        raise ValueError(f"problem {problem.id!r} has no known answer to grade by")
    return problem.answer


def is_usable(grader: Grader, problem: Problem) -> bool:
    """Whether the grader can use the problem's answer."""
    try:  # a border: what others wrote
        grader.check(problem)
    except ValueError:
        return False
    return True


def waits(grader: Grader) -> bool:
    """Whether other processes do its work, so that a thread may wait for it beside other work. One
    that does not say so may need the main thread, as a function of a user's may."""
    return bool(getattr(grader, "waits", False))


def verdict(right: bool, extracted: str, rule: str) -> Grade:
    """The grade of an answer that was found and compared."""
    return Grade(score=float(right), extracted=extracted, rule=rule, status="ok")


def nothing(rule: str, status: GradeStatus = "no_answer", extracted: str | None = None) -> Grade:
    """The grade of a text without an answer, or with one that cannot be read: wrong."""
    return Grade(score=0.0, extracted=extracted, rule=rule, status=status)
