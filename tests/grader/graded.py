"""Graders as their options make them, asked about one text."""

from collections.abc import Sequence
from typing import Any

import pytest

from rlcotrain.types import Grade, Grader, Problem

# A machine that does something else as well must not make a right answer late.
POOL: dict[str, Any] = {"workers": 1, "timeout": 60.0, "memory": 1 << 30}


def problem(answer: str | None, number: int = 1) -> Problem:
    return Problem(id=f"p/{number}", question="?", answer=answer)


def graded(grader: Grader, text: str, answer: str) -> Grade:
    (grade,) = grader.grade([text], [problem(answer)])
    return grade


def assert_unusable(grader: Grader, answer: str | None, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        grader.check(problem(answer))


class Late:
    """A grader that is too late for every text that says "hang"; the others are right."""

    def grade(self, texts: Sequence[str], problems: Sequence[Problem]) -> list[Grade]:
        return [
            Grade(score=None, extracted=text, rule="late", status="timeout")
            if "hang" in text
            else Grade(score=1.0, extracted=text, rule="late", status="ok")
            for text in texts
        ]

    def check(self, problem: Problem) -> None:
        pass
