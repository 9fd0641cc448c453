from dataclasses import replace

import pytest

from rlcotrain.types import Judgement, Problem, Rollout, StepTruth, Verdict, VerdictStatus
from rlcotrain.verdicts import faults, verdict_metrics
from tests.rows import said

PROBLEM = Problem(id="p", question="1+1?", answer="2")


def row(
    score: float | None,
    right: bool | None,
    marks: tuple[float, ...] = (),
    steps: tuple[StepTruth, ...] | None = None,
    status: VerdictStatus = "ok",
) -> Rollout:
    """A verifier's row of this final verdict and these marks, beside what is so."""
    judgement = Judgement(
        verdict=Verdict(score=score, steps=marks, status=status),
        right=right,
        count=len(marks),
        steps=steps,
    )
    return replace(said("", PROBLEM), judgement=judgement)


def truth(*steps: str) -> tuple[StepTruth, ...]:
    """`wrap` is a right step of that kind, `wrap!` a wrong one."""
    return tuple(StepTruth(right=not s.endswith("!"), kind=s.rstrip("!")) for s in steps)


def marked(marks: tuple[float, ...], *steps: str) -> Rollout:
    return row(1.0, True, marks, truth(*steps))


MISSING = row(None, True, status="missing")


def test_the_final_verdict_by_hand() -> None:
    # 4 right: 3 accepted; 6 wrong: 1 accepted, 5 rejected.
    rows = [row(1, True)] * 3 + [row(0, True)] + [row(1, False)] + [row(0, False)] * 5
    found = verdict_metrics(rows)
    assert found == pytest.approx(
        {
            "accuracy": 0.8,
            "balanced_accuracy": (3 / 4 + 5 / 6) / 2,
            "precision": 3 / 4,
            "recall": 3 / 4,
            "f1": 3 / 4,
            "false_positive_rate": 1 / 6,
            "positive_share": 0.4,
            "solutions_right": 0.4,
            "reward_hacking_gap": 0.0,
            "aligned_fraction": 1.0,
            "missing_fraction": 0.0,
            "unparsable_fraction": 0.0,
            "misaligned_fraction": 0.0,
            "contradictory_fraction": 0.0,
        }
    )


def test_what_cannot_be_read_is_an_error_on_either_side() -> None:
    # Of 2 right one is accepted, of 2 wrong one is rejected; the others say nothing.
    unparsable = row(None, False, status="unparsable")
    found = verdict_metrics([row(1, True), MISSING, row(0, False), unparsable])
    assert found["accuracy"] == found["balanced_accuracy"] == found["recall"] == 0.5
    assert found["precision"] == 1.0 and found["false_positive_rate"] == 0.0
    assert found["f1"] == pytest.approx(2 / 3)
    assert found["positive_share"] == 0.5, "of the two that can be read"
    assert found["reward_hacking_gap"] == 0.0, "over the same two: 1/2 - 1/2"
    assert found["missing_fraction"] == found["unparsable_fraction"] == 0.25
    assert found["aligned_fraction"] == 0.5


def test_verdict_metrics_count_a_contradictory_verdict_as_it_stands() -> None:
    steps = truth("wrap!", "wrap")
    rows = [row(1, False, (0, 1), steps, status="contradictory"), row(1, True, (1, 1), steps)]
    found = verdict_metrics(rows)
    assert found["contradictory_fraction"] == found["aligned_fraction"] == 0.5
    assert found["false_positive_rate"] == 1.0 and found["accuracy"] == 0.5
    assert found["contested_recall"] == 0.5, "one of two wrong steps was flagged"


@pytest.mark.parametrize(
    ("metrics", "expected"),
    [
        ({"positive_share": 0.96, "solutions_right": 0.5}, {"positive_share"}),
        ({"positive_share": 0.96, "solutions_right": 0.9}, set()),  # as many are right
        ({"positive_share": 0.02, "solutions_right": 0.5}, {"positive_share"}),
        ({"positive_share": 0.90, "solutions_right": 0.5}, set()),
        ({"positive_share": 0.99}, {"positive_share"}),  # of solutions that are not known
        ({"contradictory_fraction": 0.11}, {"contradictory_fraction"}),
        ({"contradictory_fraction": 0.10}, set()),
        ({"aligned_fraction": 0.49}, {"aligned_fraction"}),
        ({"contested_score": 0.19}, {"contested_score"}),
        ({"contested_score": 0.2, "aligned_fraction": 0.5}, set()),
        ({}, set()),
    ],
)
def test_faults_of_a_verifier(metrics: dict[str, float], expected: set[str]) -> None:
    assert set(faults(metrics, marks=True)) == expected
    assert set(faults(metrics, marks=False)) == expected - {"aligned_fraction", "contested_score"}


def test_one_who_is_fooled_shows_in_the_gap() -> None:
    # Mean verdict 3/4 where 1/4 are right.
    found = verdict_metrics([row(1, True), row(1, False), row(1, False), row(0, False)])
    assert found["reward_hacking_gap"] == 0.5
    assert found["false_positive_rate"] == pytest.approx(2 / 3)


def test_always_wrong_looks_accurate_where_most_is_wrong() -> None:
    found = verdict_metrics([row(0, True)] + [row(0, False)] * 3)
    assert found["accuracy"] == 0.75 and found["balanced_accuracy"] == 0.5
    assert found["recall"] == found["f1"] == found["positive_share"] == 0.0
    assert "precision" not in found, "nothing was accepted"


def test_what_has_nothing_to_be_measured_on_is_left_out() -> None:
    assert verdict_metrics([]) == verdict_metrics([said("", PROBLEM)]) == {}
    unknown = verdict_metrics([row(1, None), row(0, None), row(0, None)])
    assert unknown.pop("positive_share") == pytest.approx(1 / 3)
    assert {name.rpartition("_")[2] for name in unknown} == {"fraction"}
    silent = verdict_metrics([MISSING])
    assert silent["accuracy"] == silent["f1"] == 0.0
    assert not {"positive_share", "reward_hacking_gap", "balanced_accuracy"} & set(silent)
    assert "false_positive_rate" not in silent and "contested_score" not in silent


def test_contested_steps_by_hand() -> None:
    # wrap: 1 of 2 wrong ones and 1 of 4 right ones flagged; plain: 1 of 1 and 0 of 2.
    rows = [
        marked((0, 1, 1, 1), "wrap!", "wrap", "wrap", "plain"),
        marked((1, 0, 1, 0, 1), "wrap!", "wrap", "wrap", "plain!", "plain"),
    ]
    found = verdict_metrics(rows)
    assert found["contested_recall"] == pytest.approx((2 * 0.5 + 1 * 1) / 3)
    assert found["contested_false_flags"] == pytest.approx((2 * 0.25 + 1 * 0) / 3)
    assert found["contested_score"] == pytest.approx((2 * (0.5 - 0.25) + 1 * (1 - 0)) / 3)


def test_the_flags_of_one_who_shares_the_blind_spot_are_worth_nothing() -> None:
    """Every wrap step is flagged: the final verdict is often right, and no wrong step is told."""
    rows = [
        row(0, False, (1, 0, 0), truth("plain", "wrap!", "wrap")),
        row(0, False, (0, 1, 1), truth("wrap!", "plain", "plain")),
        row(0, False, (0, 0, 1), truth("wrap!", "wrap!", "plain")),
        row(1, True, (1, 1, 1), truth("plain", "plain", "plain")),
    ]
    found = verdict_metrics(rows)
    assert found["accuracy"] == 1.0 and found["contested_recall"] == 1.0
    assert found["contested_score"] == 0.0


def test_one_who_flags_nothing_or_everything_scores_nothing() -> None:
    for mark in (0.0, 1.0):
        found = verdict_metrics([marked((mark,) * 3, "wrap!", "wrap", "wrap")])
        assert found["contested_score"] == 0.0


def test_one_who_is_right_of_every_step_scores_all() -> None:
    assert verdict_metrics([marked((0, 1), "wrap!", "wrap")])["contested_score"] == 1.0
    assert verdict_metrics([marked((1, 0), "wrap!", "wrap")])["contested_score"] == -1.0
    undecided = verdict_metrics([marked((0.49, 0.5), "wrap!", "wrap")])
    assert undecided["contested_score"] == 1.0, "half a mark flags nothing"


def test_only_kinds_with_both_sorts_of_steps_count() -> None:
    found = verdict_metrics([marked((0, 1, 0, 0), "wrap!", "wrap", "malformed!", "plain")])
    assert found["contested_score"] == 1.0, "no malformed step is right, no plain one is wrong"
    assert "contested_score" not in verdict_metrics([marked((0, 0), "malformed!", "plain")])


def test_marks_count_only_where_each_has_its_step() -> None:
    good = marked((0, 1), "wrap!", "wrap")
    steps = truth("wrap!", "wrap")
    unread = [
        row(None, False, (), steps, status="misaligned"),
        row(None, False, (1, 0), steps, status="unparsable"),
        row(1, True, (1, 0)),  # the data do not know
        row(1, True, (), steps),  # no marks were asked for
    ]
    assert verdict_metrics([good, *unread])["contested_score"] == 1.0
    assert "contested_score" not in verdict_metrics(unread)
