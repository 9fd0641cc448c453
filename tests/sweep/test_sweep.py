"""A sweep's folder as rows, table, CSV and plot."""

import csv
import json
from pathlib import Path
from typing import Any

import matplotlib.image
import pytest

from rlcotrain import sweep
from rlcotrain.sweep import UNCHANGED, Interval, Noted, Sweep


def interval(mean: float, half: float) -> dict[str, float]:
    low, high = round(mean - half, 3), round(mean + half, 3)
    return {"mean": round(mean, 3), "low": low, "high": high, "count": 1000}


def add(folder: Path, name: str, status: str, rise: float, **more: Any) -> None:
    """What a run leaves: 0.1 before (greedy 0.2), higher by `rise` after."""
    (folder / name).mkdir(parents=True)
    accuracy = {
        "start": {"sampled": interval(0.1, 0.02), "greedy": interval(0.2, 0.02)},
        "final": {"sampled": interval(0.1 + rise, 0.03), "greedy": interval(0.2 + rise, 0.03)},
        "change": {"sampled": interval(rise, 0.04), "greedy": interval(rise, 0.04)},
    }
    left = {"status": status, "signature": name, "seconds": 61.4, "accuracy": accuracy, **more}
    (folder / name / "result.json").write_text(json.dumps(left))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Four points: one better, one unchanged, one failed, one never ended."""
    add(tmp_path, "aaa", "finished", 0.5)
    add(tmp_path, "bbb", "finished", 0.03)
    add(tmp_path, "ccc", "failed", 0.0, accuracy=None, seconds=None, reason="ValueError: no")
    names = {"aaa": "grpo", "bbb": "rloo", "ccc": "dapo", "ddd": "gspo"}
    points = {name: Noted(["data=arithmetic", f"loss={loss}"]) for name, loss in names.items()}
    Sweep(id="1", name="losses", parent=None, points=points).write(tmp_path)
    return tmp_path


def test_rows_tell_what_became_of_the_points(folder: Path) -> None:
    rows = sweep.read(folder)
    states = [row.status for row in rows]
    assert states == ["finished", "finished", "failed", "unfinished"]
    assert [row.reason for row in rows] == [None, None, "ValueError: no", None]
    assert rows[0].accuracy["final", "greedy"] == Interval(mean=0.7, low=0.67, high=0.73)
    assert sweep.varying(rows) == ["loss"]
    assert [sweep.label(row, ["loss"]) for row in rows[:2]] == ["loss=grpo", "loss=rloo"]
    assert sweep.label(rows[0], []) == "aaa"


def test_a_result_of_another_configuration_does_not_count(folder: Path) -> None:
    add(folder, "ddd", "finished", 0.5, signature="other")
    assert sweep.read(folder)[3].status == "unfinished"


def test_the_launchers_reason_is_newer_than_the_runs(folder: Path) -> None:
    noted = Sweep.read(folder)
    noted.points["ccc"].reason = "died without a result"
    noted.write(folder)
    assert sweep.read(folder)[2].reason == "died without a result"


@pytest.mark.parametrize(
    "low, high, verdict",
    [(0.01, 0.2, "rise"), (-0.2, -0.01, "fall"), (-0.01, 0.2, UNCHANGED), (0.0, 0.2, UNCHANGED)],
)
def test_verdict(low: float, high: float, verdict: str) -> None:
    assert Interval(mean=(low + high) / 2, low=low, high=high).verdict() == verdict


def test_table(folder: Path) -> None:
    head, *lines = sweep.table(sweep.read(folder)).splitlines()
    assert "loss" in head and "data" not in head
    assert "0.100 [0.080 0.120]  0.600 [0.570 0.630]" in lines[0]
    assert "+0.500 [+0.460 +0.540]" in lines[0] and "61 s" in lines[0]
    assert f"+0.030 {UNCHANGED}" in lines[1]
    assert lines[2].endswith("failed      ValueError: no")
    assert lines[3].endswith("unfinished")


def test_csv(folder: Path) -> None:
    sweep.write_csv(sweep.read(folder), folder / "table.csv")
    lines = list(csv.DictReader((folder / "table.csv").open()))
    assert [line["loss"] for line in lines] == ["grpo", "rloo", "dapo", "gspo"]
    assert (lines[0]["greedy_start_low"], lines[0]["greedy_start"]) == ("0.18", "0.2")
    assert [line["sampled_verdict"] for line in lines] == ["rise", UNCHANGED, "", ""]
    assert lines[2]["reason"] == "ValueError: no" and lines[3]["seconds"] == ""


@pytest.mark.parametrize("count", [1, 40])
def test_plot_leaves_every_point_room(tmp_path: Path, count: int) -> None:
    for number in range(count):
        add(tmp_path, f"{number:012x}", "finished", number / 100)
    points = {f"{number:012x}": Noted([f"seed={number}"]) for number in range(count)}
    Sweep(id="1", name="seeds", parent=None, points=points).write(tmp_path)
    sweep.plot(sweep.read(tmp_path), tmp_path / "sweep.png")
    height, width, _ = matplotlib.image.imread(tmp_path / "sweep.png").shape
    assert height >= 45 * count and 1000 < width < 2000  # pixels
