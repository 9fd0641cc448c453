from typing import Any

import pytest

from rlcotrain.grader.format import Format
from rlcotrain.grader.math_verify import MathVerify
from rlcotrain.grader.number import Number
from rlcotrain.types import Problem
from rlcotrain.verifier.majority import Majority
from tests.grader.graded import POOL
from tests.rows import said
from tests.verifier.speakers import Prepared, turn

UNLABELLED = Problem(id="sum/1", question="2+3?")


def scores(*texts: str, min_ratio: float = 0.0) -> list[float | None]:
    majority = Majority(grader=Number(tolerance=0.0), min_ratio=min_ratio)
    rollouts = [said(text, UNLABELLED) for text in texts]
    verdicts, rows = majority.judge(rollouts, Prepared(), turn())
    assert rows == [] and majority.streams == ("outcome",)
    assert [verdict.status == "missing" for verdict in verdicts] == [
        verdict.score is None for verdict in verdicts
    ]
    return [verdict.score for verdict in verdicts]


def test_agreement_with_the_majority_however_it_is_written() -> None:
    assert scores("5", "#### 5.0", "7", "<answer>$5</answer>") == [1.0, 1.0, 0.0, 1.0]


def test_no_answer_never_wins_and_is_wrong_where_another_does() -> None:
    assert scores("dunno", "", "none", "5") == [0.0, 0.0, 0.0, 1.0]
    assert scores("dunno", "dunno") == [None, None]


def test_a_tie_at_the_top_elects_nobody() -> None:
    assert scores("5", "5", "7", "7", "1") == [None] * 5
    assert scores("5", "7") == [None, None]


@pytest.mark.parametrize(("min_ratio", "score"), [(0.5, 1.0), (0.51, None)])
def test_min_ratio_counts_every_peer(min_ratio: float, score: float | None) -> None:
    # Two of four agree; the row without an answer is one of the four.
    assert scores("5", "5", "7", "dunno", min_ratio=min_ratio)[0] == score


def test_each_group_votes_for_itself() -> None:
    votes = ("5", "a"), ("7", "b"), ("5", "a"), ("7", "b"), ("5", "b")
    rows = [said(text, UNLABELLED, peers) for text, peers in votes]
    majority = Majority(grader=Number(tolerance=0.0), min_ratio=0.0)
    verdicts, _ = majority.judge(rows, Prepared(), turn())
    assert [verdict.score for verdict in verdicts] == [1.0, 1.0, 1.0, 1.0, 0.0]
    assert [verdict.extracted for verdict in verdicts] == ["5", "7", "5", "7", "5"]


@pytest.mark.parametrize("min_ratio", [-0.1, 1.1])
def test_min_ratio_out_of_range_is_named(min_ratio: float) -> None:
    with pytest.raises(ValueError, match=rf"verifier\.min_ratio={min_ratio} must lie in 0\.\.1"):
        Majority(grader=Number(tolerance=0.0), min_ratio=min_ratio)


@pytest.mark.parametrize(
    ("grader", "message"),
    [
        (Format(form="boxed"), "verifier=majority: grader Format names no answer to vote on"),
        (MathVerify(**POOL), "grader=math_verify names no answer to vote on"),
    ],
)
def test_a_grader_that_names_no_answer_is_refused(grader: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Majority(grader=grader, min_ratio=0.0)
