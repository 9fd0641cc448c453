"""The points of a sweep: which there are, whether each can run as asked, and what a job of one is.

The underscore keeps the module from Hydra, which would execute it a second time as a plugin: jobs
are unpickled by reference to the classes here.
"""

from __future__ import annotations

import logging
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hydra.core.hydra_config import HydraConfig
from hydra.core.singleton import Singleton
from hydra.core.utils import run_job, setup_globals
from hydra.errors import HydraException
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from rlcotrain.signature import signature

if TYPE_CHECKING:
    import submitit

log = logging.getLogger(__name__)

# What belongs to the sweep as a whole. Hydra drops in silence what a point says of it.
SWEEP_WIDE = {
    "hydra.launcher": "choose hardware once, for the whole sweep",
    "hydra.sweeper": "an experiment that carries a grid is run alone, not swept over",
    "hydra.sweep.dir": "name the sweep once, for all of its points",
}


class PointFailed(Exception):
    """Why a point failed, in one line."""


@dataclass(kw_only=True)
class Point:
    """One run of a sweep. Picklable, with the *composed* configuration: a job may start hours after
    its submission, when conf/ says something else. Requeued as it is; the run itself resumes.

    resolved: what the run is given, as plain data. state: of Hydra, in the launcher's process.
    """

    label: str
    steps: int
    config: DictConfig
    resolved: Mapping[str, Any]
    task: TaskFunction
    context: HydraContext
    state: Any
    requeued: bool = False

    def __call__(self) -> None:
        """Run in a process that knows nothing of Hydra yet."""
        Singleton.set_state(self.state)
        setup_globals()
        _forget_earlier_life()
        self.requeued = False
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

        # A second warning, as where a preemption follows on one, must not break into the first.
        signal.signal(signal.SIGUSR2, signal.SIG_IGN)
        self.requeued = True
        return DelayedSubmission(self)


def _forget_earlier_life() -> None:
    """submitit refuses to save beside a file that a kill left half-written, and what an earlier
    life of this job raised would look like this one's."""
    from submitit import JobEnvironment

    paths = JobEnvironment().paths
    for file in (paths.submitted_pickle, paths.result_pickle):
        file.with_suffix(f"{file.suffix}.save_tmp").unlink(missing_ok=True)
    paths.result_pickle.unlink(missing_ok=True)


def compose(
    config: DictConfig,
    context: HydraContext,
    task: TaskFunction,
    job_overrides: Sequence[Sequence[str]],
    first: int,
) -> tuple[list[str], dict[str, Point]]:
    """Signature of each job, and the points, equal ones once. Exits if any is refused."""
    names: list[str] = []
    points: dict[str, Point] = {}
    refused = []
    common = set.intersection(*map(set, job_overrides))
    shared = {"task": task, "context": context, "state": Singleton.get_state()}
    for number, words in enumerate(job_overrides, first):
        own = context.config_loader.load_sweep_config(config, list(words))
        label = " ".join(word for word in words if word not in common) or "the point"
        try:
            given, steps = _check(own, config)
        except (ValueError, OSError, OmegaConfBaseException, HydraException) as error:
            refused.append(f"  {label}: {' '.join(str(error).split())}")
            continue
        names.append(name := signature(given))
        if name in points:
            print(f"{label}: equal to another point, run once")
            continue
        with open_dict(own):
            own.hydra.job.num, own.hydra.job.id = number, name
            own.hydra.sweep.subdir = name
            own.tracking.label = label  # what MLflow calls the run
        points[name] = Point(label=label, steps=steps, config=own, resolved=given, **shared)
    if refused:
        count = f"{len(refused)} of {len(job_overrides)}"
        sys.exit("\n".join([f"nothing was started, {count} points are refused:", *refused]))
    return names, points


def _check(config: DictConfig, sweep: DictConfig) -> tuple[dict[str, Any], int]:
    """What a point is given, and its steps; ValueError where it cannot run as it is asked to."""
    for key, remedy in SWEEP_WIDE.items():
        if found := list(_differences(key, _at(config, key), _at(sweep, key))):
            raise ValueError(f"{', '.join(found)}; {remedy}")
    from rlcotrain.build import check_resolved  # heavy, so after what is cheap to refuse

    given = plain(config)
    steps = check_resolved(given).schedule.total
    _check_processes(given["hardware"]["gpus"], config.hydra.launcher)
    return given, steps


def _check_processes(gpus: int, launcher: DictConfig) -> None:
    """ValueError where a point would not get the processes that it is to have."""
    if launcher.executor != "slurm":
        if gpus > 1:
            raise ValueError(
                f"hardware.gpus={gpus}: a point has one process here; allowed: 1, or a cluster "
                "(hardware=slurm_h100x8), or a single run under torchrun"
            )
    elif gpus != launcher.nodes * launcher.tasks_per_node:
        raise ValueError(
            f"hardware.gpus={gpus}: must be the processes of a point, "
            f"hydra.launcher.nodes={launcher.nodes} x tasks_per_node={launcher.tasks_per_node}"
        )


def plain(config: DictConfig) -> dict[str, Any]:
    """What a job of this configuration is given, as plain data with interpolations followed."""
    from rlcotrain.build import resolved

    before = HydraConfig.instance().cfg
    # Its own part, to which the rest may refer; of that form, as what Hydra itself puts there.
    HydraConfig.instance().cfg = config  # type: ignore[assignment]
    try:
        return resolved(config)
    finally:
        HydraConfig.instance().cfg = before


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
