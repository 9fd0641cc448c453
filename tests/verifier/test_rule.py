from dataclasses import replace

import pytest

from rlcotrain.grader.number import Number
from rlcotrain.types import Problem
from rlcotrain.verifier.rule import Rule
from tests.grader.graded import Late
from tests.rows import said
from tests.verifier.speakers import Prepared, turn

RULE = Rule(grader=Number(tolerance=0.0))
SUM = Problem(id="sum/1", question="2+3?", answer="5")


def test_the_graders_score_is_the_verdict() -> None:
    texts = "<answer>5</answer>", "it is 6", "no idea"
    verdicts, rows = RULE.judge([said(text, SUM) for text in texts], Prepared(), turn())
    assert [verdict.score for verdict in verdicts] == [1.0, 0.0, 0.0]
    assert [verdict.extracted for verdict in verdicts] == ["5", "6", None]
    assert {verdict.status for verdict in verdicts} == {"ok"}
    assert rows == []
    assert RULE.streams == ("outcome",)


def test_rows_cut_at_the_limit_are_judged_too() -> None:
    verdicts, _ = RULE.judge([said("so it is 5", SUM, stop="length")], Prepared(), turn())
    assert verdicts[0].score == 1.0


def test_a_problem_without_an_answer_is_named() -> None:
    with pytest.raises(ValueError, match=r"problem 'sum/1' has no known answer"):
        RULE.judge([said("5", replace(SUM, answer=None))], Prepared(), turn())


def test_what_the_grader_could_not_find_out_is_no_zero() -> None:
    rows = [said(text, SUM) for text in ("5", "hang")]
    (right, late), _ = Rule(grader=Late()).judge(rows, Prepared(), turn())
    assert (right.score, right.status) == (1.0, "ok")
    assert (late.score, late.status) == (None, "missing")
    assert late.grade is not None and late.grade.status == "timeout"
