from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from rlcotrain.measure import row_metrics, update_metrics
from rlcotrain.types import (
    Grade,
    Judgement,
    Rollout,
    StepTruth,
    UpdateStats,
    Verdict,
    VerdictStatus,
)
from tests.rows import spoken


def row(peers: str, length: int, advantage: float, **changes: Any) -> Rollout:
    made = spoken([1], [2] * length, peers, **changes)
    return replace(made, advantages=np.full(length, advantage, np.float32))


def test_numbers_of_a_step_by_hand() -> None:
    rows = [
        row("one", 2, 1.0).give("outcome", 1.0, "correct").give("outcome", 0.5, "format"),
        row("one", 4, -1.0, stop="length").give("outcome", 0.0, "correct"),
        row("two", 6, 0.0).give("outcome", 1.0, "correct"),
        row("two", 8, 0.0),  # nobody judged it
        row("three", 3, 0.0, role="verifier", policy="verifier").give("verdict", 1.0),
    ]
    found = row_metrics(rows, "solve", ["generator", "verifier"])
    assert found == {
        "generator/length_mean": 5.0,
        "generator/length_max": 8.0,
        "generator/stop_length_fraction": 0.25,
        "generator/zero_signal_fraction": 0.5,
        "generator/reward/outcome": pytest.approx(2.5 / 3),
        "generator/reward/outcome_missing": 0.25,
        "verifier/length_mean": 3.0,
        "verifier/length_max": 3.0,
        "verifier/stop_length_fraction": 0.0,
        "verifier/zero_signal_fraction": 1.0,
        "verifier/reward/verdict": 1.0,
        "verifier/reward/verdict_missing": 0.0,
    }


def judged(said: float | None, right: bool | None, steps: str = "", marks: str = "") -> Rollout:
    """A judgement; `steps` and `marks` tell right (+) from wrong (-), all of one kind."""
    status: VerdictStatus = "ok" if said is not None else "missing"
    verdict = Verdict(score=said, steps=tuple(float(m == "+") for m in marks), status=status)
    truths = tuple(StepTruth(right=step == "+", kind="wrap") for step in steps)
    judgement = Judgement(verdict=verdict, right=right, count=len(steps), steps=truths)
    return row("p", 3, 0.5, role="verifier", policy="verifier", judgement=judgement)


def test_a_verifiers_numbers_by_hand() -> None:
    rows = [
        judged(1.0, True, "++", "+-"),
        judged(0.0, True),
        judged(1.0, False, "-+", "++"),
        judged(0.0, False, "--", "-+"),
        judged(None, False),
    ]
    found = row_metrics(rows, "verify", ["verifier"])
    expected = {
        "accuracy": 0.4,
        "balanced_accuracy": (1 / 2 + 1 / 3) / 2,
        "precision": 0.5,
        "recall": 0.5,
        "f1": 0.5,
        "false_positive_rate": 1 / 3,
        "positive_share": 0.5,
        "solutions_right": 0.4,
        "reward_hacking_gap": 0.0,  # 1 - 1, 0 - 1, 1 - 0, 0 - 0 over the four that can be read
        "aligned_fraction": 0.8,
        "missing_fraction": 0.2,
        "contested_recall": 1 / 3,  # of three wrong steps
        "contested_false_flags": 1 / 3,  # of three right steps
        "contested_score": 0.0,
    }
    shown = {key: found[f"verifier/{key}"] for key in expected}
    assert shown == {key: pytest.approx(value) for key, value in expected.items()}
    assert all(key.startswith("verifier/") for key in found)


def test_rewards_of_each_data_set_where_there_are_several() -> None:
    def earned(task: str, value: float) -> Rollout:
        made = row(task, 2, 0.0).give("outcome", value)
        return replace(made, problem=replace(made.problem, task=task))

    rows = [earned("math", 1.0), earned("math", 0.0), earned("math", 0.0), earned("gsm8k", 1.0)]
    found = row_metrics(rows, "solve", ["generator"])
    assert found["generator/reward/outcome"] == 0.5
    assert found["generator/reward/outcome/math"] == pytest.approx(1 / 3)
    assert found["generator/reward/outcome/gsm8k"] == 1.0
    alone = row_metrics(rows[:3], "solve", ["generator"])
    assert "generator/reward/outcome/math" not in alone, "there is but one"


def test_a_role_that_only_speaks_is_told_apart_by_its_phase() -> None:
    """In the verifier's step the generator's rows are on the verifier's axis."""
    rows = [row("one", 2, 0.0).give("outcome", 1.0), judged(1.0, True)]
    learned = row_metrics(rows, "verify", ["verifier"])
    assert learned["verify/generator/reward/outcome"] == 1.0
    assert learned["verifier/accuracy"] == 1.0
    other = row_metrics(rows, "solve", ["generator"])
    assert other["generator/reward/outcome"] == 1.0
    assert other["solve/verifier/accuracy"] == 1.0
    both = row_metrics(rows, "solve", ["generator", "verifier"])
    assert {key.split("/")[0] for key in both} == {"generator", "verifier"}


def test_what_an_update_does_not_know_is_left_out() -> None:
    numbers = dict.fromkeys(UpdateStats.__dataclass_fields__, 1.5)
    stats = UpdateStats(**numbers | {"mismatch_kl": None, "mismatch_max": None, "seconds": 9.0})
    found = update_metrics("generator", stats, age=2)
    assert found["generator/loss"] == 1.5 and found["generator/age"] == 2.0
    absent = {f"generator/{key}" for key in ("mismatch_kl", "mismatch_max", "seconds")}
    assert not absent & set(found) and len(found) == len(numbers) - 3 + 1


def test_grades_are_told_by_role() -> None:
    right = Grade(score=1.0, extracted="5", rule="r", status="ok")
    late = Grade(score=None, extracted=None, rule="r", status="timeout")
    rows = [row("a", 1, 0.0, grade=right), row("a", 1, 0.0, grade=late), row("b", 1, 0.0)]
    found = row_metrics(rows, "solve", ["generator"])
    assert (found["generator/grade/ok"], found["generator/grade/timeout"]) == (0.5, 0.5)
    assert found["generator/grade/no_answer"] == 0.0
