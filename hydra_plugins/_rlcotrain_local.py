"""The points of a sweep, run on this machine: one after another, or side by side."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra_plugins._rlcotrain_points import Point, PointFailed
from rlcotrain.snapshot import environment
from rlcotrain.sweep.job import DIED, Job
from rlcotrain.sweep.standing import raised

if TYPE_CHECKING:
    import submitit


def run_here(points: Mapping[str, Point]) -> Iterator[tuple[str, str | None]]:
    """One after another in this process: name of each, and why it failed if it did."""
    for name, point in points.items():
        print(f"\n{point.label} in {name}", flush=True)
        try:
            point.run()
        except PointFailed as error:
            yield name, str(error)
        else:
            yield name, None


class Local:
    """At most `parallel` points at once, each in a process of its own that imports from `code`,
    started as places become free."""

    poll_s = 0.5

    def __init__(self, folder: Path, resources: Mapping[str, Any], code: Path) -> None:
        import submitit

        os.environ.update(environment(code))
        self._executor = submitit.AutoExecutor(folder, cluster="local")
        self._executor.update_parameters(
            stderr_to_stdout=True, timeout_min=resources["timeout_min"]
        )
        self._parallel = resources["parallel"]
        self._waiting: dict[str, Point] = {}
        self._jobs: dict[str, submitit.Job[None]] = {}

    def poll(self) -> dict[str, Job]:
        """Start what there is room for; what each point is doing."""
        running = [job for job in self._jobs.values() if not job.done()]
        free = (self._parallel or len(self._waiting)) - len(running)
        for name in list(self._waiting)[:free]:
            self._jobs[name] = self._executor.submit(self._waiting.pop(name))
        found = {name: Job(state="queued") for name in self._waiting}
        return found | {name: _job(job) for name, job in self._jobs.items()}

    @contextmanager
    def running(self, points: Mapping[str, Point]) -> Iterator[Local]:
        """SIGTERM counts as Ctrl-C: whatever ends this early cancels what still runs, and waits.

        submitit cancels by SIGINT, which a launcher in a script's background is born to ignore, and
        would hand down so.
        """
        self._waiting |= points
        numbers = signal.SIGTERM, signal.SIGINT
        before = [signal.signal(number, signal.default_int_handler) for number in numbers]
        try:
            yield self
        finally:
            left = [job for job in self._jobs.values() if not job.done()]
            for job in left:
                job.cancel()
            for job in left:
                job.wait()
            for number, handler in zip(numbers, before, strict=True):
                signal.signal(number, handler)


def _job(job: submitit.Job[None]) -> Job:
    if not job.done():
        return Job(state="running")
    if job.paths.result_pickle.exists():
        words = raised(job.paths.result_pickle) or "it ended without a result"
        return Job(state="ended", words=words)
    return Job(state="ended", words=f"{DIED}, see {job.paths.stdout}")
