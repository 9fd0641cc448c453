import pytest

from rlcotrain.grades import grade_metrics
from rlcotrain.types import Grade, GradeStatus


def grade(status: GradeStatus, score: float | None, *watched: tuple[str, Grade]) -> Grade:
    return Grade(score=score, extracted=None, rule="r", status=status, watched=watched)


def test_the_share_of_each_status() -> None:
    grades = [
        *(grade("ok", 1.0), grade("ok", 0.0), grade("ok", 1.0), grade("no_answer", 0.0)),
        *(grade("timeout", None), grade("timeout", None), grade("crashed", None)),
        grade("unparsable", 0.0),
    ]
    assert grade_metrics(grades, ["a"] * 8) == {
        "grade/ok": 0.375,
        "grade/no_answer": 0.125,
        "grade/unparsable": 0.125,
        "grade/timeout": 0.25,
        "grade/crashed": 0.125,
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
