"""Run folders as a training leaves them, and what MLflow has of them."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rlcotrain.tracking import prepare
from rlcotrain.tracking.store import find

ROOT = Path(__file__).parents[2]
EXPERIMENT = "tests"
T0 = 1_700_000_000.125  # seconds


def make_folder(folder: Path, uri: str | None, **tracking: Any) -> Path:
    """A run folder as a training leaves it before its first step."""
    folder.mkdir(parents=True)
    run = {
        "id": folder.as_posix(),
        "signature": "0123456789ab",
        "name": "start-s0",
        "started": T0,
        "tracking": {"uri": uri, "experiment": EXPERIMENT, "parent": None, **tracking},
        "tags": {"git_commit": "abc", "git_dirty": "false"},
    }
    (folder / "run.json").write_text(json.dumps(run))
    (folder / "config.yaml").write_text("optimizer: {lr: 1.0e-06, betas: [0.9, 0.95]}\nsweep: x\n")
    return folder


def write_lines(folder: Path, steps: range, **more: float) -> None:
    with open(folder / "metrics.jsonl", "a") as stream:
        for step in steps:
            line = {"step": step, "time": T0 + step, "phase": "solve", "generator/loss": step / 3}
            stream.write(json.dumps(line | more) + "\n")


def write_result(folder: Path, status: str = "finished", reason: str | None = None) -> None:
    (folder / "result.json").write_text(json.dumps({"status": status, "reason": reason}))


def stored(folder: Path, key: str = "generator/loss") -> list[tuple[int, float, int]]:
    """What MLflow has of one metric: (step, value, time in ms), in order."""
    client, run_id = opened(folder)
    history = client.get_metric_history(run_id, key)
    return sorted((metric.step, metric.value, metric.timestamp) for metric in history)


def opened(folder: Path) -> tuple[Any, str]:
    tracking = json.loads((folder / "run.json").read_text())["tracking"]
    client, experiment = prepare(tracking["uri"], tracking["experiment"])
    run_id = find(client, experiment, folder.as_posix())
    assert run_id is not None
    return client, run_id


def as_written(steps: range) -> list[tuple[int, float, int]]:
    return [(step, step / 3, round((T0 + step) * 1000)) for step in steps]


def wait_until(happened: Callable[[], bool], limit_s: float = 60.0) -> None:
    end = time.monotonic() + limit_s
    while not happened():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.1)
