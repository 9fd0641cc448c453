"""Verdicts that others have published, on real completions, and the cases of their own suites."""

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rlcotrain.grader.allenai import AllenaiGsm8k
from rlcotrain.grader.exact import Exact
from rlcotrain.grader.format import Format
from rlcotrain.grader.gsm8k import Gsm8k
from rlcotrain.grader.latex import normal
from rlcotrain.grader.math import Math
from rlcotrain.grader.minerva import Minerva
from rlcotrain.grader.minerva_form import normal as minerva_normal
from rlcotrain.grader.number import Number
from rlcotrain.types import Grader
from tests.grader.graded import POOL, graded, problem

SHARED = Path(__file__).parents[3] / "shared" / "data"
needs_shared = pytest.mark.skipif(not SHARED.is_dir(), reason=f"the data are not at {SHARED}")
MATH = Math(**POOL)
# Who is asked about the cases of which task.
CONVENTIONS: dict[str, list[Grader]] = {
    "gsm8k_number": [
        Gsm8k(mode="any"),
        Gsm8k(mode="flexible"),
        Number(tolerance=0),
        AllenaiGsm8k(),
    ],
    "normalized_text_match": [Exact(normalise=True)],
    "math_equal": [MATH],
    "think_format": [Format(form="think")],
}


def rows(name: str) -> list[dict[str, Any]]:
    file = SHARED / name
    with gzip.open(file, "rt") if file.suffix == ".gz" else file.open() as lines:
        return [json.loads(line) for line in lines]


@needs_shared
@pytest.mark.parametrize("mode", ["any", "flexible"])
def test_the_verdicts_published_with_gsm8k(mode: Any) -> None:
    found = rows("gsm8k/graded_completions_sample.jsonl")
    grader = Gsm8k(mode=mode)
    wrong = [
        row["completion"]
        for row in found
        if graded(grader, row["completion"], row["gold_answer"]).score != row["is_correct"]
    ]
    assert (len(found), wrong) == (400, [])


@needs_shared
def test_the_cases_of_other_graders_suites() -> None:
    cases = rows("verifier_cases/small_suite.jsonl")
    assert len(cases) == 52
    for case in cases:
        for grader in CONVENTIONS[case["task"]]:
            grade = graded(grader, case["pred"], case["gold"])
            assert grade.score == case["expected"], (case["name"], grader, grade)


def assert_right_by_their_own_answers_alone(
    grader: Grader, form: Callable[[str], str], same: set[tuple[str, str]]
) -> None:
    """Every fifth row; benchmarks/grading.py takes all. Two rows of the data have a blank answer.

    form: what makes answers one and the same; same: (extracted, known) that are right all the same.
    """
    found = [row for row in rows("math/train.jsonl.gz")[::5] if row["answer"].strip()]
    texts, own = [row["solution"] for row in found], [problem(row["answer"]) for row in found]
    assert {grade.score for grade in grader.grade(texts, own)} == {1.0}
    others = [*own[7:], *own[:7]]
    grades = grader.grade(texts, others)
    taken = {
        (str(grade.extracted), str(other.answer))
        for grade, other, mine in zip(grades, others, own, strict=True)
        if grade.score == 1.0 and form(str(other.answer)) != form(str(mine.answer))
    }
    assert taken <= same


@needs_shared
def test_worked_solutions_are_right_by_their_own_answer_and_no_other() -> None:
    # The question says in which base: its index may be left out, as in Math-Verify.
    assert_right_by_their_own_answers_alone(MATH, normal, {("33", "33_4")})


@needs_shared
def test_worked_solutions_by_minervas_rule() -> None:
    """What stands before the last = is no part of an answer."""
    assert_right_by_their_own_answers_alone(Minerva(**POOL), minerva_normal, {("33", "33_4")})
