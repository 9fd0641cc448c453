"""The points of a sweep, run: one after another in this process, or by submitit in their own.

The underscore keeps the module from Hydra, which would execute it a second time as a plugin: jobs
are unpickled by reference to the classes here.
"""

from __future__ import annotations

import logging
import signal
import time
from collections.abc import Generator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.singleton import Singleton
from hydra.core.utils import run_job, setup_globals
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

if TYPE_CHECKING:
    import submitit

log = logging.getLogger(__name__)

POLL_S = 0.5
# Name of a point that ended, and why it failed if it did.
Outcomes = Generator[tuple[str, str | None], None, None]


class PointFailed(Exception):
    """Why a point failed, in one line."""


class Point:
    """One run of a sweep. Picklable, with the *composed* configuration: a job may start hours after
    its submission, when conf/ says something else. Requeued as it is; the run itself resumes."""

    def __init__(
        self, label: str, config: DictConfig, task: TaskFunction, context: HydraContext
    ) -> None:
        self.label, self.config, self.task, self.context = label, config, task, context
        self.state: Any = Singleton.get_state()
        self.requeued = False

    def __call__(self) -> None:
        """Run in a process that knows nothing of Hydra yet."""
        Singleton.set_state(self.state)
        setup_globals()
        self.requeued = False
        # A launcher that a script put into the background hands down an ignored SIGINT, by which
        # jobs are cancelled.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        print(self.label, flush=True)  # the log of a job bears its number only
        self.run()

    def run(self) -> None:
        """Run as Hydra runs a job; raises PointFailed."""
        try:
            job = run_job(
                task_function=self.task,
                config=self.config,
                job_dir_key="hydra.sweep.dir",
                job_subdir_key="hydra.sweep.subdir",
                hydra_context=self.context,
            )
            _ = job.return_value  # raises what the run raised
        except SystemExit as end:
            if self.requeued:  # submitit's own way out
                raise
            raise PointFailed(f"exit: {end.code}") from end
        except Exception as error:
            log.error("this point failed", exc_info=error)
            words = " ".join(str(error).split())
            raise PointFailed(f"{type(error).__name__}: {words}") from error

    def checkpoint(self) -> submitit.helpers.DelayedSubmission:
        """Called by submitit where a job is preempted or out of time."""
        from submitit.helpers import DelayedSubmission

        self.requeued = True
        return DelayedSubmission(self)


def run_here(points: Mapping[str, Point]) -> Outcomes:
    """One after another in this process."""
    for name, point in points.items():
        print(f"\n{point.label} in {name}", flush=True)
        try:
            point.run()
        except PointFailed as error:
            yield name, str(error)
        else:
            yield name, None


def run_apart(
    points: Mapping[str, Point],
    executor: str,
    parallel: int | None,
    folder: Path,
    resources: Mapping[str, Any],
) -> Outcomes:
    """At most `parallel` at once, each in a process of its own, started as places become free.

    SIGTERM counts as Ctrl-C: whatever ends this early cancels what still runs, and waits for it.
    """
    import submitit

    jobs = submitit.AutoExecutor(folder, cluster=executor)
    jobs.update_parameters(stderr_to_stdout=True, **resources)
    waiting, running = list(points), dict[str, "submitit.Job[None]"]()
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        while waiting or running:
            free = (parallel or len(points)) - len(running)
            starting, waiting = waiting[:free], waiting[free:]
            if starting:
                with jobs.batch():
                    running |= {name: jobs.submit(points[name]) for name in starting}
            for name in [name for name, job in running.items() if job.done()]:
                yield name, _why(running.pop(name))
            time.sleep(POLL_S)
    finally:
        for job in running.values():
            job.cancel()
        for job in running.values():
            job.wait()
        signal.signal(signal.SIGTERM, before)


def _why(job: submitit.Job[None]) -> str | None:
    """Why a job failed, None if it did not."""
    if not job.paths.result_pickle.exists():
        return f"died without a result (killed, or out of memory?), see {job.paths.stdout}"
    error = job.exception()
    if error is None:
        return None
    trace = str(error).split("-" * 22)[1].strip()
    return trace.splitlines()[-1].removeprefix(f"{__name__}.PointFailed: ")
