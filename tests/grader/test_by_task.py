from dataclasses import replace

import pytest

from rlcotrain.grader.by_task import ByTask
from rlcotrain.grader.exact import Exact
from rlcotrain.grader.number import Number
from tests.grader.graded import Late, problem

GRADER = ByTask(graders={"sums": Number(tolerance=0.0), "words": Exact(), "slow": Late()})


def test_every_task_is_graded_by_its_own_and_the_order_stays() -> None:
    tasks = ["words", "sums", "slow", "words", "sums"]
    problems = [replace(problem("5"), task=task) for task in tasks]
    grades = GRADER.grade(["5.0", "5.0", "hang", "5", "it is 6"], problems)
    assert [grade.score for grade in grades] == [0.0, 1.0, None, 1.0, 0.0]
    assert [grade.rule for grade in grades] == [
        "text",
        "last_number",
        "late",
        "text",
        "last_number",
    ]
    assert GRADER.grade([], []) == []


def test_an_answer_is_checked_by_the_one_that_grades_it() -> None:
    GRADER.check(replace(problem("five"), task="words"))
    with pytest.raises(ValueError, match="'five'"):
        GRADER.check(replace(problem("five"), task="sums"))


def test_a_task_without_a_grader() -> None:
    message = r"has none for aime, but for sums, words, slow; \+grader@grader\.graders\.aime=OPTION"
    with pytest.raises(ValueError, match=message):
        GRADER.grade(["5"], [replace(problem("5"), task="aime")])
