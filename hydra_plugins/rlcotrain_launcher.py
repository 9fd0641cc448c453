"""The sweep launcher: which points there are, which of them to run, what became of them.

A point is known by the signature of its effective configuration: its folder bears that name, equal
points are one, finished ones are not run again. Every command loads this module: light imports
only, and no postponed annotations, because Hydra executes plugins outside `sys.modules`.
"""

import copy
import shutil
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

from hydra_plugins._rlcotrain_local import Local, run_here
from hydra_plugins._rlcotrain_plan import Planner
from hydra_plugins._rlcotrain_points import Point, compose
from hydra_plugins._rlcotrain_slurm import Slurm
from rlcotrain import sweep
from rlcotrain.snapshot import snapshot
from rlcotrain.sweep.screen import Screen, agreed
from rlcotrain.sweep.standing import LOGS
from rlcotrain.sweep.watch import Runner, watch

EXECUTORS = ("inline", "local", "slurm")
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
    max_requeues: restarts of a job that ran out of time or was killed; preemptions do not count.
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
        if self.config.launch.detach and self.executor != "slurm":
            raise ValueError("launch.detach=true: needs a cluster, as of hardware=slurm_cpu")
        setup_globals()
        HydraConfig.instance().set_config(self.config.copy())
        given = self.config, self.context, self.task
        names, points = compose(*given, job_overrides, initial_job_idx)
        if self.config.dry_run:
            self._say_plan(points)
            return []
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
        todo = {name: point for name, point in points.items() if not self._finished(name)}
        print(f"{self.folder}: {len(points)} points, {len(points) - len(todo)} finished already")
        if todo:
            self._planner.hold_budget(todo)
            self._open_parent(todo)
        self.sweep.write(self.folder)
        interrupted = not self._run(todo)
        rows = {row.signature: row for row in sweep.read(self.folder)}
        files = self._report(list(rows.values()))
        failed = [rows[name] for name in points if rows[name].status != "finished"]
        if self._live:
            finished = all(row.status == "finished" for row in rows.values())
            status = "KILLED" if interrupted else "FINISHED" if finished else "FAILED"
            self._close_parent(status, files)
            self._deliver(name for name in points if name not in todo)
        elif self.config.tracking.uri is not None:
            print(f"to deliver this sweep to MLflow: {self._sync_command}")
        if interrupted:
            sys.exit("interrupted; the same command goes on where this one stopped")
        if failed:
            named = [f"  {points[row.signature].label}: {row.reason}" for row in failed]
            sys.exit("\n".join([f"{len(failed)} of {len(points)} points failed:", *named]))

    def _say_plan(self, points: Mapping[str, Point]) -> None:
        """Print what the points take and start none; the folder is left as it was."""
        todo = {name: point for name, point in points.items() if not self._finished(name)}
        print(f"{self.folder}: {len(points)} points, {len(points) - len(todo)} finished already")
        if [file.name for file in self.folder.iterdir()] == ["multirun.yaml"]:  # Hydra's own
            shutil.rmtree(self.folder)
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

    def _note(self, name: str, point: Point) -> None:
        """A point anew; the job of an earlier launch is still its own."""
        job = self.sweep.points[name].job if name in self.sweep.points else None
        words = list(point.config.hydra.overrides.task)
        self.sweep.points[name] = sweep.Noted(words, steps=point.steps, job=job)

    def _finished(self, name: str) -> bool:
        return bool(sweep.result(self.folder / name).get("status") == "finished")

    def _run(self, todo: Mapping[str, Point]) -> bool:
        """Run the points, noting each outcome as it comes; false if interrupted."""
        if not todo:
            return True
        if self.executor == "slurm":
            return self._run_on_slurm(todo)
        try:
            if self.executor == "local":
                logs, code = self.folder / LOGS, snapshot(self.folder)
                with Local(logs, self.resources, code).running(todo) as local:
                    self._watch(local, todo)
            else:
                screen = Screen()
                for number, (name, reason) in enumerate(run_here(todo), 1):
                    self._ended(f"[{number}/{len(todo)}] {todo[name].label}", name, reason, screen)
        except KeyboardInterrupt:
            return False
        return True

    def _run_on_slurm(self, todo: Mapping[str, Point]) -> bool:
        """Submit what no job is at, and watch; false if the jobs were cancelled."""
        slurm = Slurm(self.folder / LOGS, self.resources, self.sweep, snapshot(self.folder))
        active = slurm.active(todo)
        if fresh := {name: point for name, point in todo.items() if name not in active}:
            for name in fresh:  # of a try that failed; it would look like this one's
                (self.folder / name / "result.json").unlink(missing_ok=True)
            slurm.submit(fresh)
            self.sweep.write(self.folder)
        print(f"{len(fresh)} points submitted, {len(active)} are in the queue or run", flush=True)
        look = f"look with: make status SWEEP={self.folder}"
        if self.config.launch.detach:
            print(look)
            sys.exit(0)
        try:
            self._watch(slurm, todo)
        except KeyboardInterrupt:
            left = [name for name in todo if self.sweep.points[name].reason is None]
            left = [name for name in left if not self._finished(name)]
            if not agreed(f"cancel the {len(left)} jobs that have not ended?"):
                sys.exit(f"the jobs go on; {look}; the same command watches them again")
            slurm.cancel(left)
            return False
        return True

    def _watch(self, runner: Runner, todo: Mapping[str, Point]) -> None:
        screen = Screen()
        ended = watch(self.folder, self.sweep, set(todo), runner, screen)
        for number, one in enumerate(ended, 1):
            point = f"[{number}/{len(todo)}] {todo[one.signature].label}"
            self._ended(point, one.signature, one.reason, screen)

    def _ended(self, point: str, name: str, reason: str | None, screen: Screen) -> None:
        """Note why a point failed, if it did, and say what became of it."""
        if reason is None and not self._finished(name):
            reason = "it ended without a result"
        self.sweep.points[name].reason = reason
        self.sweep.write(self.folder)
        row = next(row for row in sweep.read(self.folder) if row.signature == name)
        before, after = (row.accuracy.get((at, "sampled")) for at in sweep.MOMENTS[:2])
        found = f", sampled accuracy {before} -> {after}" if before and after else ""
        why = f": {row.reason}" if row.reason else ""
        configure_log(self.config.hydra.hydra_logging, self.config.hydra.verbose)  # a run's own
        screen.say(f"{point} {row.status}{found}{why}")

    def _open_parent(self, todo: Mapping[str, Point]) -> None:
        """Tell every point its sweep and, if the tracker has it already, the sweep's MLflow run."""
        from rlcotrain.tracking import resolve

        parent = None
        if self._live:
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
        from rlcotrain.tracking import deliver

        owed = (deliver(self.folder / name, SECONDS_TO_DELIVER) for name in finished)
        if reason := next(filter(None, owed), None):
            print(
                f"MLflow lacks a part of this sweep ({reason}); to deliver it: {self._sync_command}"
            )

    @property
    def _live(self) -> bool:
        """Whether the tracker is told while the sweep goes on."""
        return bool(self.config.tracking.uri is not None and self.config.tracking.live)

    @property
    def _sync_command(self) -> str:
        from rlcotrain.tracking import sync_command

        return sync_command(self.folder)

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
