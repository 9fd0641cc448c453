"""The sweep launcher: which points there are, which of them to run, what became of them.

A point is known by the signature of its effective configuration: its folder bears that name, equal
points are one, finished ones are not run again. Every command loads this module: light imports
only, and no postponed annotations, because Hydra executes plugins outside `sys.modules`.
"""

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
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
from omegaconf import DictConfig, OmegaConf

from hydra_plugins._rlcotrain_points import Point, compose
from hydra_plugins._rlcotrain_running import EXECUTORS, Running
from hydra_plugins._rlcotrain_slurm import Refused
from rlcotrain import sweep

SECONDS_TO_DELIVER = 30.0
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
        if self.config.launch.detach is True and self.executor != "slurm":
            raise ValueError("launch.detach=true: needs a cluster, as of hardware=slurm_cpu")
        setup_globals()
        HydraConfig.instance().set_config(self.config.copy())
        given = self.config, self.context, self.task
        names, points = compose(*given, job_overrides, initial_job_idx)
        with self._alone():
            self._launch(points)
        return [self._return(name, words) for name, words in zip(names, job_overrides, strict=True)]

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
            yield

    def _launch(self, points: Mapping[str, Point]) -> None:
        """Run what is not finished and report. Exits with 1 if any point failed."""
        self.sweep = sweep.Sweep.read(self.folder)
        for name, point in points.items():
            self._note(name, point)
        todo = {
            name: point for name, point in points.items() if not sweep.finished(self.folder / name)
        }
        print(f"{self.folder}: {len(points)} points, {len(points) - len(todo)} finished already")
        if todo:
            self._open_parent(todo)
        self.sweep.write(self.folder)
        interrupted = bool(todo) and not self._run(todo)
        configure_log(self.config.hydra.hydra_logging, self.config.hydra.verbose)  # not a run's
        rows = {row.signature: row for row in sweep.read(self.folder)}
        files = self._report(list(rows.values()))
        failed = [rows[name] for name in points if rows[name].status != "finished"]
        if self.config.tracking.uri is not None:
            finished = all(row.status == "finished" for row in rows.values())
            status = "KILLED" if interrupted else "FINISHED" if finished else "FAILED"
            self._close_parent(status, files)
            self._deliver(name for name in points if name not in todo)
        if interrupted:
            sys.exit("interrupted; the same command goes on where this one stopped")
        if failed:
            named = [f"  {points[row.signature].label}: {row.reason}" for row in failed]
            sys.exit("\n".join([f"{len(failed)} of {len(points)} points failed:", *named]))

    def _run(self, points: Mapping[str, Point]) -> bool:
        """Whether all of it came to its end. Exits where a cluster refuses it."""
        running = Running(self.folder, self.sweep, points)
        try:
            return running.run(self.executor, self.resources, self.config.launch.detach)
        except Refused as refused:
            if self.config.tracking.uri is not None:
                self._close_parent("FAILED", ())
            sys.exit(f"nothing was submitted: {refused}")

    def _note(self, name: str, point: Point) -> None:
        """A point anew; the job of an earlier launch is still its own."""
        job = self.sweep.points[name].job if name in self.sweep.points else None
        words = list(point.config.hydra.overrides.task)
        self.sweep.points[name] = sweep.Noted(words, steps=point.steps, job=job)

    def _open_parent(self, todo: Mapping[str, Point]) -> None:
        """Tell every point its sweep and, if the tracker has it already, the sweep's MLflow run."""
        from rlcotrain.tracking import resolve

        parent = None
        if self.config.tracking.uri is not None:
            try:
                parent = self.sweep.parent = self._parent()
            except Exception as error:  # a tracker can throw anything, and stops no sweep
                print(f"MLflow has no run for this sweep yet, its points go on without: {error}")
        told = {"id": self.sweep.id, "name": self.sweep.name}
        for point in todo.values():
            uri = point.config.tracking.uri and resolve(point.config.tracking.uri)
            tracking = {"uri": uri, "parent": parent, "sweep": told}
            OmegaConf.update(point.config, "tracking", tracking, force_add=True)

    def _close_parent(self, status: str, files: Sequence[Path]) -> None:
        """Found again or made: the tracker may have been down at the launch, or at the last one."""
        from rlcotrain.tracking import close_sweep

        try:
            self.sweep.parent = self._parent()
            close_sweep(*self._tracker, self.sweep.parent, status, files)
        except Exception as error:
            print(f"MLflow did not get the table, the same command again delivers it: {error}")
        self.sweep.write(self.folder)

    def _parent(self) -> str:
        """Id of the sweep's MLflow run, now running."""
        from rlcotrain.provenance import git_tags
        from rlcotrain.tracking import open_sweep

        return open_sweep(*self._tracker, self.sweep.id, self.sweep.name, git_tags())

    def _deliver(self, finished: Iterable[str]) -> None:
        """What earlier launches still owe the tracker; one failure speaks for all."""
        from rlcotrain.tracking import deliver, sync_command

        owed = (deliver(self.folder / name, SECONDS_TO_DELIVER) for name in finished)
        if reason := next(filter(None, owed), None):
            print(
                f"MLflow lacks a part of this sweep ({reason}); to deliver it: "
                f"{sync_command(self.folder)}"
            )

    @property
    def _tracker(self) -> tuple[str, str]:
        from rlcotrain.tracking import resolve

        return resolve(self.config.tracking.uri), self.config.tracking.experiment

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


def _at(config: DictConfig, key: str) -> Any:
    found = OmegaConf.select(config, key)
    return OmegaConf.to_container(found, resolve=True) if OmegaConf.is_config(found) else found


def _differences(key: str, asked: Any, used: Any) -> Iterator[str]:
    """`hydra.launcher.parallel=2 (the sweep has 1)` for all that differs."""
    if isinstance(asked, dict) and isinstance(used, dict):
        for name in dict.fromkeys([*asked, *used]):
            yield from _differences(f"{key}.{name}", asked.get(name), used.get(name))
    elif asked != used:
        yield f"{key}={asked} (the sweep has {used})"
