"""The sweep launcher: which points there are, which of them to run, what became of them.

A point is known by the signature of its effective configuration: its folder bears that name, equal
points are one, finished ones are not run again. Every command loads this module: light imports
only, and no postponed annotations, because Hydra executes plugins outside `sys.modules`.
"""

import copy
import os
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from fcntl import LOCK_EX, LOCK_NB, flock
from pathlib import Path
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import JobReturn, JobStatus, configure_log, setup_globals
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from hydra_plugins._rlcotrain_plan import Planner
from hydra_plugins._rlcotrain_points import Point, compose
from hydra_plugins._rlcotrain_running import EXECUTORS, Running
from hydra_plugins._rlcotrain_slurm import Refused
from hydra_plugins._rlcotrain_tracker import SweepTracker
from rlcotrain import sweep
from rlcotrain.signals import hear_interrupts

LEAST = {  # what a number of the launcher is at least
    **dict.fromkeys(("timeout_min", "nodes", "tasks_per_node"), 1),
    **dict.fromkeys(("gpus_per_node", "signal_delay_s", "max_requeues"), 0),
}


@dataclass
class LauncherConf:
    """`hydra/launcher: rlcotrain`. Resources are those of one point; null is the cluster's choice.

    parallel: points at once, null for all; inline runs one by one.
    signal_delay_s: seconds between SLURM's warning and the end of a job's time, for its last save.
    max_requeues: how often a job goes on that ran out of time; and up to how many restarts, those
        after preemptions included, one that was killed does.
    setup: lines of the job's script before Python starts.
    """

    _target_: str = "hydra_plugins.rlcotrain_launcher.RlcotrainLauncher"
    executor: str = "inline"
    parallel: int | None = None
    timeout_min: int = 1440
    nodes: int = 1
    tasks_per_node: int = 1
    cpus_per_task: int | None = None
    mem_gb: float | None = None
    gpus_per_node: int = 0
    signal_delay_s: int = 120
    max_requeues: int = 5
    setup: list[str] = field(default_factory=list)
    partition: str | None = None
    account: str | None = None
    qos: str | None = None


ConfigStore.instance().store(
    group="hydra/launcher", name="rlcotrain", node=LauncherConf, provider="rlcotrain"
)


class RlcotrainLauncher(Launcher):
    """Runs the points of a sweep that are not finished and reports all of them in one table."""

    def __init__(self, executor: str, **resources: Any) -> None:
        if executor not in EXECUTORS:
            raise ValueError(f"hydra.launcher.executor={executor}; allowed: {', '.join(EXECUTORS)}")
        parallel = resources["parallel"]
        if parallel is not None and parallel < 1:
            raise ValueError(f"hydra.launcher.parallel={parallel}; allowed: 1 or more, or null")
        for key, least in LEAST.items():
            if resources[key] < least:
                raise ValueError(f"hydra.launcher.{key}={resources[key]}; allowed: {least} or more")
        delay, limit = resources["signal_delay_s"], resources["timeout_min"]
        if executor == "slurm" and delay >= 60 * limit:
            raise ValueError(
                f"hydra.launcher.signal_delay_s={delay}: the warning would come before the start; "
                f"allowed: less than timeout_min, {60 * limit} s"
            )
        self.executor, self.resources = executor, resources

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        self.context, self.task, self.config = hydra_context, task_function, config
        self.folder = Path(config.hydra.sweep.dir).absolute()

    def launch(
        self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int
    ) -> Sequence[JobReturn]:
        """Check all points, run what is not finished, report. Exits with 1 if any point failed."""
        hear_interrupts()
        if self.config.launch.detach is True and self.executor != "slurm":
            raise ValueError("launch.detach=true: needs a cluster, as of hardware=slurm_cpu")
        if "RANK" in os.environ:
            sys.exit("a sweep starts the processes of its points itself: say it without torchrun")
        setup_globals()
        HydraConfig.instance().set_config(self.config.copy())
        given = self.config, self.context, self.task
        with self._nothing_left():
            names, points = compose(*given, job_overrides, initial_job_idx)
            if self.config.dry_run:
                self._say_plan(points)
                return []
            with self._alone():
                self._launch(points)
        return [self._return(name, words) for name, words in zip(names, job_overrides, strict=True)]

    @contextmanager
    def _nothing_left(self, *ours: str) -> Iterator[None]:
        """Where nothing was started no folder stays behind; Hydra has written a file there."""
        try:
            yield
        finally:
            if {file.name for file in self.folder.glob("*")} <= {"multirun.yaml", *ours}:
                shutil.rmtree(self.folder, ignore_errors=True)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Hold the sweep's folder: two launches would overwrite each other's notes of the points,
        and run them twice. The place of a dead one is free at once."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with open(self.folder / "sweep.lock", "ab") as lock:
            try:
                flock(lock, LOCK_EX | LOCK_NB)
            except BlockingIOError:
                sys.exit(
                    f"{self.folder}: another launch is at this sweep; let it end, or choose "
                    "another name with sweep=NAME"
                )
            with self._nothing_left("sweep.lock"):
                yield

    def _launch(self, points: Mapping[str, Point]) -> None:
        """Run what is not finished and report. Exits with 1 if any point failed."""
        self.sweep = sweep.Sweep.read(self.folder)
        self.tracker = SweepTracker(self.config.tracking, self.sweep, self.folder)
        for name, point in points.items():
            self._note(name, point)
        todo = {
            name: point for name, point in points.items() if not sweep.finished(self.folder / name)
        }
        print(f"{self.folder}: {len(points)} points, {len(points) - len(todo)} finished already")
        if todo:
            self._planner.hold_budget(todo)
            self.tracker.open(todo)
        self.sweep.write(self.folder)
        interrupted = bool(todo) and not self._run(todo)
        configure_log(self.config.hydra.hydra_logging, self.config.hydra.verbose)  # not a run's
        rows = {row.signature: row for row in sweep.read(self.folder)}
        files = self._report(list(rows.values()))
        failed = [rows[name] for name in points if rows[name].status != "finished"]
        finished = all(row.status == "finished" for row in rows.values())
        status = "KILLED" if interrupted else "FINISHED" if finished else "FAILED"
        self.tracker.close(status, files, (name for name in points if name not in todo))
        if interrupted:
            sys.exit("interrupted; the same command goes on where this one stopped")
        if failed:
            named = [f"  {points[row.signature].label}: {row.reason}" for row in failed]
            sys.exit("\n".join([f"{len(failed)} of {len(points)} points failed:", *named]))

    def _say_plan(self, points: Mapping[str, Point]) -> None:
        """Print what the points take and start none; the folder is left as it was."""
        todo = {
            name: point for name, point in points.items() if not sweep.finished(self.folder / name)
        }
        print(f"{self.folder}: {len(points)} points, {len(points) - len(todo)} finished already")
        if todo:
            self._planner.say(todo)

    @property
    def _planner(self) -> Planner:
        return Planner(
            folder=self.folder,
            executor=self.executor,
            resources=self.resources,
            run=self._run_beside,
        )

    def _run_beside(self, points: Mapping[str, Point], folder: Path) -> None:
        """Run points as a sweep of their own that no tracker hears of, and wait for them."""
        beside = RlcotrainLauncher(self.executor, **self.resources)
        config = copy.deepcopy(self.config)
        config.tracking.uri, config.launch.detach = None, False
        config.dry_run, config.estimate.calibrate = False, False
        beside.context, beside.task, beside.config = self.context, self.task, config
        beside.folder = folder
        with beside._alone():
            beside._launch(points)

    def _run(self, points: Mapping[str, Point]) -> bool:
        """Whether all of it came to its end. Exits where a cluster refuses it."""
        running = Running(self.folder, self.sweep, points)
        try:
            return running.run(self.executor, self.resources, self.config.launch.detach)
        except Refused as refused:
            self.tracker.close("FAILED", (), ())
            sys.exit(f"nothing was submitted: {refused}")

    def _note(self, name: str, point: Point) -> None:
        """A point anew; the job of an earlier launch is still its own."""
        job = self.sweep.points[name].job if name in self.sweep.points else None
        words = list(point.config.hydra.overrides.task)
        self.sweep.points[name] = sweep.Noted(words, steps=point.steps, job=job)

    def _report(self, rows: Sequence[sweep.Row]) -> list[Path]:
        """Table on the screen, as CSV and as a plot; the two files."""
        files = [self.folder / "table.csv", self.folder / "sweep.png"]
        sweep.write_csv(rows, files[0])
        sweep.plot(rows, files[1])
        print(f"\n{sweep.table(rows)}\n\n{files[0]}\n{files[1]}", flush=True)
        return files

    def _return(self, name: str, overrides: Sequence[str]) -> JobReturn:
        """What a sweeper optimises: the sampled accuracy at the end."""
        accuracy = sweep.result(self.folder / name)["accuracy"]["final"]["sampled"]["mean"]
        return JobReturn(overrides=overrides, status=JobStatus.COMPLETED, _return_value=accuracy)
