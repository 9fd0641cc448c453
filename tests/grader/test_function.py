from dataclasses import replace

import pytest

from rlcotrain.contradictions import refuse_ungraded
from rlcotrain.grader.function import Function
from rlcotrain.grader.gsm8k import Gsm8k
from rlcotrain.grader.watched import Watched
from tests.game.turns import chains
from tests.grader.graded import graded, problem

REWARDS = "tests.grader.rewards"


def test_a_reward_function_gets_texts_and_columns() -> None:
    grader = Function(path=f"{REWARDS}.holds_answer", low=0.0, high=1.0)
    grades = grader.grade(["it is 5", "it is 6"], [problem("5"), problem("5")])
    assert [grade.score for grade in grades] == [1.0, 0.0]
    assert {(grade.rule, grade.status) for grade in grades} == {(f"{REWARDS}.holds_answer", "ok")}
    assert grader.grade([], []) == []


def test_it_gets_the_columns_of_the_data_sets_own_rows() -> None:
    """A raw column goes before what is built in under its name, but for prompts, completions."""
    hard = replace(problem("5"), columns={"difficulty": 3, "answer": "#### 5", "prompts": "?"})
    grader = Function(path=f"{REWARDS}.as_hard", low=0.0, high=1.0)
    grades = grader.grade(["it is #### 5", "it is 5", "it is 5"], [hard, hard, problem("5")])
    assert [grade.score for grade in grades] == [pytest.approx(0.3), 0.0, None]
    assert grader.grade(["it is 5"], [problem("5")])[0].status == "no_answer"


def test_its_scores_are_laid_onto_0_to_1_and_none_is_no_score() -> None:
    grader = Function(path=f"{REWARDS}.shortness", low=-1.0, high=1.0)
    grades = grader.grade(["12345", "1" * 20, " "], [problem("5")] * 3)
    assert [grade.score for grade in grades] == [0.5, 0.0, None]
    assert grades[2].status == "no_answer"


def test_a_crash_costs_only_its_own_row_and_is_no_zero() -> None:
    grader = Function(path=f"{REWARDS}.breaks_on_bang", low=0.0, high=1.0)
    with pytest.warns(UserWarning, match="breaks_on_bang raised ZeroDivisionError"):
        grades = grader.grade(["a", "b!", "c"], [problem("5")] * 3)
    assert [grade.score for grade in grades] == [1.0, None, 1.0]
    assert [grade.status for grade in grades] == ["ok", "crashed", "ok"]


def test_scores_that_cannot_be_used_are_refused() -> None:
    with pytest.raises(ValueError, match="one_too_few: gave 0 scores for 1 completions"):
        graded(Function(path=f"{REWARDS}.one_too_few", low=0.0, high=1.0), "a", "5")
    narrow = Function(path=f"{REWARDS}.holds_answer", low=0.0, high=0.5)
    with pytest.raises(ValueError, match=r"gave 1\.0, which is not between grader\.low=0\.0 and"):
        graded(narrow, "5", "5")


@pytest.mark.parametrize("name", ["asked_a_service", "asks_a_service"])
def test_coroutine_functions_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match=rf"{name}: is a coroutine function \(async def\)"):
        Function(path=f"{REWARDS}.{name}", low=0.0, high=1.0)


def test_a_column_that_the_data_lack_is_refused() -> None:
    grader = Function(path=f"{REWARDS}.by_rubric", low=0.0, high=1.0)
    with pytest.raises(ValueError, match="by_rubric: needs the column rubric, which the data do"):
        grader.check_columns(["difficulty"])
    grader.check_columns(["rubric", "difficulty"])


def test_a_function_without_further_columns_gets_what_it_names() -> None:
    rubric = replace(problem("5"), columns={"rubric": "five", "difficulty": 3})
    grader = Function(path=f"{REWARDS}.by_rubric", low=0.0, high=1.0)
    assert [grade.score for grade in grader.grade(["five", "5"], [rubric] * 2)] == [1.0, 0.0]


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("holds_answer", "is no function; expected package.module.function"),
        (f"{REWARDS}.missing", "cannot be imported"),
        ("no.such.module", "cannot be imported"),
        (f"{REWARDS}.NO_FUNCTION", "is no function"),
    ],
)
def test_a_path_that_leads_nowhere(path: str, message: str) -> None:
    with pytest.raises(ValueError, match=rf"grader\.path={path}: {message}"):
        Function(path=path, low=0.0, high=1.0)


def test_low_lies_below_high() -> None:
    with pytest.raises(ValueError, match=r"grader\.low=1\.0: must be below grader\.high=1\.0"):
        Function(path=f"{REWARDS}.shortness", low=1.0, high=1.0)


def test_columns_are_matched_with_the_data_at_start() -> None:
    by_rubric = Function(path=f"{REWARDS}.by_rubric", low=0.0, high=1.0)
    for grader in (by_rubric, Watched(grader=Gsm8k(mode="any"), watch={"rubric": by_rubric})):
        with pytest.raises(ValueError, match="by_rubric: needs the column rubric, which the data"):
            refuse_ungraded(grader, chains())
    refuse_ungraded(Function(path=f"{REWARDS}.holds_answer", low=0.0, high=1.0), chains())
