from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from rlcotrain.measure import row_metrics, update_metrics
from rlcotrain.types import Rollout, UpdateStats
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
        row("three", 3, 0.0, role="verifier").give("verdict", 1.0),
    ]
    found = row_metrics(rows)
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


def test_what_an_update_does_not_know_is_left_out() -> None:
    numbers = dict.fromkeys(UpdateStats.__dataclass_fields__, 1.5)
    stats = UpdateStats(**numbers | {"mismatch_kl": None, "mismatch_max": None, "seconds": 9.0})
    found = update_metrics("generator", stats, age=2)
    assert found["generator/loss"] == 1.5 and found["generator/age"] == 2.0
    absent = {f"generator/{key}" for key in ("mismatch_kl", "mismatch_max", "seconds")}
    assert not absent & set(found) and len(found) == len(numbers) - 3 + 1
