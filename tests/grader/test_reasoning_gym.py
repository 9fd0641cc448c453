from importlib.util import find_spec

import pytest

from rlcotrain.data.reasoning_gym import ReasoningGym
from rlcotrain.data.wording import Wording
from rlcotrain.grader.reasoning_gym import ReasoningGymScorer
from rlcotrain.types import Problem
from tests.grader.graded import POOL, assert_unusable

needs_package = pytest.mark.skipif(
    find_spec("reasoning_gym") is None, reason="the package reasoning-gym is not installed"
)


def drawn(task: str) -> Problem:
    wording = Wording()
    gym = ReasoningGym(seed=0, tasks={task: {}}, held_out=0.2, stages={}, wording=wording)
    return gym.train_problem(0, None)


@needs_package
def test_the_packages_own_scorers_grade_a_mixture_of_tasks() -> None:
    scorer = ReasoningGymScorer(**POOL)
    sums, grid = drawn("chain_sum"), drawn("arc_agi")
    scorer.check(sums)
    texts = [
        f"So it is <answer>{sums.answer}</answer>.",
        f"<think>1?</think>{sums.answer}",
        "<answer>none</answer>",
        "",
        "<answer>" + "1" * 30_000 + "</answer>",
        f"<answer>{grid.answer}</answer>",
    ]
    grades = scorer.grade(texts, [sums] * 5 + [grid])
    assert [grade.score for grade in grades] == [1.0, 1.0, 0.0, 0.0, 0.0, 1.0]
    assert [grade.status for grade in grades] == [
        *("ok", "ok", "ok"),
        *("no_answer", "unparsable", "ok"),
    ]
    assert grades[0].extracted == sums.answer and grades[0].rule == "answer_tag"


@needs_package
def test_a_scorer_that_raises_says_that_the_answer_is_none() -> None:
    factors = drawn("prime_factorization")
    (grade,) = ReasoningGymScorer(**POOL).grade(["<answer>x</answer>"], [factors])
    assert (grade.score, grade.status) == (0.0, "unparsable")


def test_a_problem_of_another_data_set() -> None:
    message = "problem p/1: is none of the package reasoning-gym, as grader=reasoning_gym needs"
    assert_unusable(ReasoningGymScorer(**POOL), "5", message)
