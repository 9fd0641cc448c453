"""The sweep launcher: which points there are, which of them to run, what became of them.

A point is known by the signature of its effective configuration: its folder bears that name, equal
points are one, finished ones are not run again. Every command loads this module: light imports
only, and no postponed annotations, because Hydra executes plugins outside `sys.modules`.
"""

import shutil
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from fcntl import LOCK_EX, LOCK_NB, flock
from pathlib import Path
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import JobReturn, JobStatus, configure_log, setup_globals
from hydra.errors import HydraException
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from hydra_plugins._rlcotrain_plan import Planner
from hydra_plugins._rlcotrain_points import Outcomes, Point, run_apart, run_here
from rlcotrain import sweep
from rlcotrain.signature import signature

EXECUTORS = ("inline", "local")
SECONDS_TO_DELIVER = 30.0

# What belongs to the sweep as a whole. Hydra drops in silence what a point says of it.
SWEEP_WIDE = {
    "hydra.launcher": "choose hardware once, for the whole sweep",
    "hydra.sweeper": "an experiment that carries a grid is run alone, not swept over",
    "hydra.sweep.dir": "name the sweep once, for all of its points",
}


@dataclass
class LauncherConf:
    """`hydra/launcher: rlcotrain`. Resources are those of one point."""

    _target_: str = "hydra_plugins.rlcotrain_launcher.RlcotrainLauncher"
    executor: str = "inline"
    parallel: int | None = None  # points at once, null for all; inline runs one by one
    timeout_min: int = 1440
    cpus_per_task: int | None = None
    mem_gb: float | None = None
    gpus_per_node: int = 0


ConfigStore.instance().store(
    group="hydra/launcher", name="rlcotrain", node=LauncherConf, provider="rlcotrain"
)


class RlcotrainLauncher(Launcher):
    """Runs the points of a sweep that are not finished and reports all of them in one table."""

    def __init__(self, executor: str, parallel: int | None, **resources: Any) -> None:
        if executor not in EXECUTORS:
            raise ValueError(f"hydra.launcher.executor={executor}; allowed: {', '.join(EXECUTORS)}")
        if parallel is not None and parallel < 1:
            raise ValueError(f"hydra.launcher.parallel={parallel}; allowed: 1 or more, or null")
        self.executor, self.parallel, self.resources = executor, parallel, resources

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        self.context, self.task, self.config = hydra_context, task_function, config
        self.folder = Path(config.hydra.sweep.dir).absolute()

    def launch(
        self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int
    ) -> Sequence[JobReturn]:
        """Check all points, run what is not finished, report. Exits with 1 if any point failed."""
        setup_globals()
        HydraConfig.instance().set_config(self.config.copy())
        names, points = self._points(job_overrides, initial_job_idx)
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
            self.sweep.points[name] = sweep.Noted(list(point.config.hydra.overrides.task))
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

    def _points(
        self, job_overrides: Sequence[Sequence[str]], first: int
    ) -> tuple[list[str], dict[str, Point]]:
        """Signature of each job, and the points, equal ones once. Exits if any is refused."""
        names: list[str] = []
        points: dict[str, Point] = {}
        self.resolved: dict[str, dict[str, Any]] = {}  # by label
        refused = []
        common = set.intersection(*map(set, job_overrides))
        for number, words in enumerate(job_overrides, first):
            config = self.context.config_loader.load_sweep_config(self.config, list(words))
            label = " ".join(word for word in words if word not in common) or "the point"
            try:
                resolved = self._check(config)
                name = signature(resolved)
            except (ValueError, OSError, OmegaConfBaseException, HydraException) as error:
                refused.append(f"  {label}: {' '.join(str(error).split())}")
                continue
            names.append(name)
            if name in points:
                print(f"{label}: equal to another point, run once")
                continue
            with open_dict(config):
                config.hydra.job.num, config.hydra.job.id = number, name
                config.hydra.sweep.subdir = name
                config.tracking.label = label  # what MLflow calls the run
            points[name] = Point(label, config, self.task, self.context)
            self.resolved[label] = resolved
        if refused:
            count = f"{len(refused)} of {len(job_overrides)}"
            sys.exit("\n".join([f"nothing was started, {count} points are refused:", *refused]))
        return names, points

    def _check(self, config: DictConfig) -> dict[str, Any]:
        """A point's configuration, resolved; ValueError where it cannot run as it is asked to."""
        for key, remedy in SWEEP_WIDE.items():
            if found := list(_differences(key, _at(config, key), _at(self.config, key))):
                raise ValueError(f"{', '.join(found)}; {remedy}")
        from rlcotrain.build import check, resolved  # heavy, so after what is cheap to refuse

        before = HydraConfig.instance().cfg
        HydraConfig.instance().set_config(config.copy())  # which it locks
        task = OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"])
        try:
            check(task)
            return resolved(task)
        finally:
            HydraConfig.instance().cfg = before

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
            parallel=self.parallel,
            resources=self.resources,
            resolved=self.resolved,
            check=self._check,
            run=self._outcomes,
        )

    def _finished(self, name: str) -> bool:
        return bool(sweep.result(self.folder / name).get("status") == "finished")

    def _run(self, todo: Mapping[str, Point]) -> bool:
        """Run the points, noting each outcome as it comes; false if interrupted."""
        try:
            with closing(self._outcomes(todo)) as outcomes:
                for number, (name, reason) in enumerate(outcomes, 1):
                    if reason is None and not self._finished(name):
                        reason = "it ended without a result"
                    self.sweep.points[name].reason = reason
                    self.sweep.write(self.folder)
                    self._say(f"[{number}/{len(todo)}] {todo[name].label}", name)
        except KeyboardInterrupt:
            return False
        return True

    def _outcomes(self, todo: Mapping[str, Point]) -> Outcomes:
        if self.executor == "inline":
            return run_here(todo)
        logs = self.folder / ".submitit"
        return run_apart(todo, self.executor, self.parallel, logs, self.resources)

    def _say(self, point: str, name: str) -> None:
        """A plain line for a point that has ended."""
        configure_log(self.config.hydra.hydra_logging, self.config.hydra.verbose)
        row = next(row for row in sweep.read(self.folder) if row.signature == name)
        before, after = (row.accuracy.get((at, "sampled")) for at in sweep.MOMENTS[:2])
        found = f", sampled accuracy {before} -> {after}" if before and after else ""
        why = f": {row.reason}" if row.reason else ""
        print(f"{point} {row.status}{found}{why}", flush=True)

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
