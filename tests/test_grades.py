import pytest

from rlcotrain.grades import grade_metrics
from rlcotrain.types import Grade, GradeStatus


def grade(status: GradeStatus, score: float | None, *watched: tuple[str, Grade]) -> Grade:
    return Grade(score=score, extracted=None, rule="r", status=status, watched=watched)


def test_the_share_of_each_status() -> None:
    grades = [
        *(grade("ok", 1.0), grade("ok", 0.0), grade("ok", 1.0), grade("no_answer", 0.0)),
        *(grade("timeout", None), grade("timeout", None), grade("crashed", None)),
        *(grade("unparsable", 0.0), grade("answer_timeout", 0.0)),
    ]
    found = grade_metrics(grades, ["a"] * 9)
    assert {name: round(share * 9) for name, share in found.items()} == {
        "grade/ok": 3,
        "grade/no_answer": 1,
        "grade/unparsable": 1,
        "grade/answer_timeout": 1,
        "grade/answer_crashed": 0,
        "grade/timeout": 2,
        "grade/crashed": 1,
    }
    assert grade_metrics([], []) == {}


def test_what_rides_along_has_its_mean_over_what_it_could_find_out() -> None:
    right, wrong, late = grade("ok", 1.0), grade("ok", 0.0), grade("timeout", None)
    grades = [grade("ok", 1.0, ("strict", other)) for other in (right, wrong, wrong, late)]
    found = grade_metrics(grades, ["a"] * 4)
    assert found["grade/watch/strict"] == pytest.approx(1 / 3)
    assert found["grade/ok"] == 1.0


def test_each_data_set_of_a_mixture_has_shares_of_its_own() -> None:
    grades = [
        grade("ok", 1.0, ("strict", grade("ok", 1.0))),
        grade("ok", 0.0),
        grade("crashed", None),
    ]
    found = grade_metrics(grades, ["a", "b", "b"])
    assert (found["grade/ok/a"], found["grade/ok/b"], found["grade/crashed/b"]) == (1.0, 0.5, 0.5)
    assert found["grade/ok"] == pytest.approx(2 / 3)
    assert found["grade/watch/strict/a"] == 1.0
    assert "grade/watch/strict/b" not in found, "it said nothing there"


def test_grades_that_all_crashed_are_refused() -> None:
    with pytest.raises(ValueError, match="grader: all 2 grades crashed, the first by r; expected"):
        grade_metrics([grade("crashed", None)] * 2, ["a", "a"])
    assert grade_metrics([grade("crashed", None), grade("ok", 0.0)], ["a"] * 2)["grade/ok"] == 0.5
