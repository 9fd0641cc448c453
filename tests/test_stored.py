"""State as tensors and plain data: everything comes back, and nothing that is read runs code."""

import os
import pickle
from dataclasses import replace
from datetime import date, datetime
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from rlcotrain import stored
from rlcotrain.files import seal
from rlcotrain.model.optimizer import Optimizer
from rlcotrain.types import Grade, Judgement, Problem, StepTruth, Verdict
from tests.rows import spoken
from tests.test_resume import assert_equal


def full_row() -> Any:
    """A row in which every field holds something."""
    columns = {
        "when": datetime(2026, 12, 1, 2, 3),
        "day": date(2026, 1, 2),
        "nested": [{"a": (1,)}],
    }
    columns |= {"price": Decimal("0.10"), "share": Fraction(1, 3), "kinds": {"a", "b"}, "n": None}
    grade = Grade(score=0.5, extracted="2", rule="number", status="ok")
    truth = (StepTruth(right=True, kind="sum"), StepTruth(right=False, kind="sum"))
    verdict = Verdict(score=1.0, steps=(1.0, 0.0), grade=grade)
    row = spoken([1, 2], [5, 6, 7], text="2").give("outcome", 1.0, part="correct")
    return replace(
        row,
        problem=Problem(id="p", question="1+1?", tests=("a", "b"), columns=columns),
        advantages=np.array([0.5, np.nan, -0.0], np.float32),
        reference=np.zeros(3, np.float32),
        grade=replace(grade, watched=(("strict", grade),)),
        judgement=Judgement(verdict=verdict, right=None, count=2, steps=truth),
    )


SETTINGS = Optimizer(
    algorithm="adamw",
    lr=0.1,
    betas=(0.9, 0.95),
    eps=1e-8,
    momentum=0.0,
    weight_decay=0.0,
    warmup_steps=0,
    schedule="constant",
    decay_steps=None,
    final_lr_share=0.0,
    max_grad_norm=1.0,
)


@pytest.mark.parametrize(
    "value",
    [
        pytest.param([full_row(), full_row()], id="rows"),
        pytest.param(SETTINGS, id="settings"),
        {"a": (1, "b", (None,)), 3: [True, 2.5, b"raw"], True: {}},
        {("a", 1): frozenset({1, 2})},
        np.array([[True], [False]]),
        np.array(3.5),
        np.zeros((0, 2), np.int32),
        np.arange(6, dtype=np.float64)[::2],
        torch.tensor([0.1, float("nan"), -0.0], dtype=torch.bfloat16),
        ["tuple", "array", {"Rollout": 1}, ("array", "no tensor")],
    ],
)
def test_what_is_written_comes_back_to_the_bit(value: Any, tmp_path: Path) -> None:
    stored.write(tmp_path / "state.pt", value)
    torch.load(tmp_path / "state.pt", weights_only=True)  # as anybody may read it
    found = stored.read(tmp_path / "state.pt")
    if isinstance(value, torch.Tensor):
        assert found.dtype == value.dtype and str(found) == str(value)
    else:
        assert_equal(found, value)


def test_tensors_that_share_memory_still_do(tmp_path: Path) -> None:
    weights = torch.arange(10.0)
    stored.write(tmp_path / "state.pt", {"one": weights, "two": weights})
    found = stored.read(tmp_path / "state.pt")
    assert found["one"].data_ptr() == found["two"].data_ptr()


def test_what_is_no_data_is_refused_when_it_is_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"a state cannot hold a pathlib\.PosixPath"):
        stored.write(tmp_path / "state.pt", {"columns": {"image": Path("a.png")}})


class Code:
    """What runs as it is read."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.marker}",)


@pytest.mark.parametrize("how", ["torch", "legacy", "pickle"])
def test_code_in_a_state_does_not_run(how: str, tmp_path: Path) -> None:
    folder, marker = tmp_path / "000001", tmp_path / "marker"
    folder.mkdir()
    value = {"step": 1, "code": Code(marker)}
    if how == "pickle":
        (folder / "state.pt").write_bytes(pickle.dumps(value))
    else:
        torch.save(value, folder / "state.pt", _use_new_zipfile_serialization=how == "torch")
    seal(folder)  # whoever plants it can write digests as well
    with pytest.raises(ValueError, match=r"000001/state\.pt: .*(not read|damaged)"):
        stored.load(folder)
    assert not marker.exists()
    torch.load(folder / "state.pt", weights_only=False) if how == "torch" else None
    assert marker.exists() == (how == "torch"), "or this tests nothing"


@pytest.mark.parametrize("value", [[1], 3, None, torch.zeros(2)])
def test_a_state_that_is_no_table_is_refused(value: Any, tmp_path: Path) -> None:
    stored.write(tmp_path / "state.pt", value)
    seal(tmp_path)
    with pytest.raises(ValueError, match=r"state\.pt: holds no state"):
        stored.load(tmp_path)


@pytest.mark.parametrize("raw", [b"", b"PK\x03\x04", os.urandom(64), b"\x80\x02K\x01."])
def test_bytes_that_are_no_state_are_one_line(raw: bytes, tmp_path: Path) -> None:
    (tmp_path / "nonfinite_000001.pt").write_bytes(raw)
    with pytest.raises(ValueError, match=r"nonfinite_000001\.pt: ") as raised:
        stored.read(tmp_path / "nonfinite_000001.pt")
    assert "\n" not in str(raised.value)
