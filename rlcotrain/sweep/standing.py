"""What each point of a sweep is doing, from its run folder and from whoever runs its job."""

import io
import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from rlcotrain.sweep.job import Job
from rlcotrain.sweep.notes import Noted, Sweep
from rlcotrain.sweep.progress import Progress
from rlcotrain.sweep.rows import result_or_fault

LOGS = ".submitit"  # in a sweep's folder: scripts, logs and results of its jobs
SECONDS_OF_DOUBT = 15.0  # a file system may show late what a job has left


@dataclass(frozen=True, kw_only=True)
class Standing:
    """One point at this moment; `steps` of `total` are done."""

    signature: str
    overrides: dict[str, str]
    state: Literal["queued", "running", "done", "failed", "unfinished"]
    steps: int
    total: int | None
    reward: float | None
    restarts: int
    reason: str | None

    @property
    def over(self) -> bool:
        return self.state in ("done", "failed")


class Standings:
    """Of all points of a sweep's folder, as often as asked."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._progress: dict[str, Progress] = {}

    def __call__(self, sweep: Sweep, jobs: Mapping[str, Job]) -> list[Standing]:
        """`jobs` by signature, of the points that have one."""
        return [self._one(name, point, jobs.get(name)) for name, point in sweep.points.items()]

    def _one(self, name: str, point: Noted, job: Job | None) -> Standing:
        left, fault = result_or_fault(self.folder / name)
        progress = self._progress.setdefault(name, Progress(self.folder / name)).update()
        state: Literal["queued", "running", "done", "failed", "unfinished"]
        reason = None
        if left.get("status") == "finished":
            state = "done"
        elif job is None:
            reason = point.reason or left.get("reason") or fault or progress.fault
            state = "failed" if reason else "unfinished"
        elif job.state == "ended":
            reason = left.get("reason") or self._raised(point) or point.reason or fault
            state = "failed" if reason or job.ended_s > SECONDS_OF_DOUBT else "running"
            reason = reason or (f"{job.words}{self._see(point)}" if state == "failed" else None)
        elif job.hopeless:
            state, reason = "failed", f"it would wait for ever: {job.words}"
        else:
            state, reason = job.state, job.words or None
        pairs = (override.partition("=") for override in point.overrides)
        return Standing(
            signature=name,
            overrides={key: value for key, _, value in pairs},
            state=state,
            steps=progress.steps,
            total=point.steps,
            reward=progress.reward,
            restarts=job.restarts if job else 0,
            reason=reason,
        )

    def _raised(self, point: Noted) -> str | None:
        """What a job raised before its run could note it."""
        if point.job is None:
            return None
        left = sorted((self.folder / LOGS).glob(f"{point.job}_*_result.pkl"))  # one a task
        return next(filter(None, map(raised, left)), None)

    def _see(self, point: Noted) -> str:
        log = self.folder / LOGS / f"{point.job}_0_log.out"
        return f", see {log}" if log.exists() else ""


class _Plain(pickle.Unpickler):
    """Reads texts and numbers only: other objects could run code."""

    def find_class(self, module: str, name: str) -> Any:
        raise pickle.UnpicklingError(f"{module}.{name} is no plain data")


def raised(file: Path) -> str | None:
    """The error in what submitit left of a job, as one line; None if there is none."""
    if not file.exists():
        return None
    try:
        outcome, trace = _Plain(io.BytesIO(file.read_bytes())).load()
    except Exception:  # a border: a pickle can hold anything, and half of one is left by a kill
        return f"{file} cannot be read"
    if outcome != "error":
        return None
    line: str = trace.strip().splitlines()[-1]
    return line.partition("PointFailed: ")[2] or line
