"""A sweep's own MLflow run, delivered after the sweep: its status, table and plot."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rlcotrain.files import read_json
from rlcotrain.tracking.store import close_sweep, prepare, sweep_run

FILES = ("table.csv", "sweep.png")


def sync_sweep(folder: Path) -> tuple[str, str | None]:
    """Outcome, and why, of closing the run of the sweep in `folder`, if all of its points have
    ended; whoever delivered them has made it. Raises what the tracker raises."""
    noted = _read(folder / "sweep.json")
    points = [folder / signature for signature in noted["points"]]
    statuses = [_read(point / "result.json").get("status") for point in points]
    runs = [run for point in points if (run := _read(point / "run.json"))]
    tracking: dict[str, Any] = runs[0]["tracking"] if runs else {"uri": None}
    if tracking["uri"] is None:
        return "without a tracker", None
    if None in statuses:
        return "unfinished", "some of its points have no result"
    status = "FINISHED" if set(statuses) == {"finished"} else "FAILED"
    tracker = tracking["uri"], tracking["experiment"]
    run_id = sweep_run(*tracker, noted["id"], noted["name"], {})
    if prepare(*tracker)[0].get_run(run_id).info.status == status:
        return "complete", None
    files = [folder / name for name in FILES if (folder / name).exists()]
    close_sweep(*tracker, run_id, status, files)
    return "delivered", None


def _read(file: Path) -> dict[str, Any]:
    return read_json(file) or {}
