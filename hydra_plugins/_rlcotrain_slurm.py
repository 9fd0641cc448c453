"""The points of a sweep as one job array on a SLURM cluster, submitted by submitit.

submitit's job saves and requeues itself where SLURM announces a preemption or the end of its time.
Of a node that is lost, or a preemption that is not announced, SLURM requeues the job. A task that
is killed is requeued by the job's own script. A job that raises is FAILED, and stays so.
"""

from __future__ import annotations

import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping
from contextlib import redirect_stderr
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any

from hydra_plugins._rlcotrain_points import Point
from rlcotrain.snapshot import environment
from rlcotrain.sweep.job import Job
from rlcotrain.sweep.notes import Sweep
from rlcotrain.sweep.slurm import SlurmSilent, Watcher
from rlcotrain.sweep.standing import LOGS

# In the job's script. A status above 128 is a signal's; 255 is submitit's own way out, requeued
# already. Where a task raised, which leaves its error, the others were killed because of it.
REQUEUE = """requeue_if_killed() {{
    local status=$? job=${{SLURM_ARRAY_JOB_ID:+${{SLURM_ARRAY_JOB_ID}}_$SLURM_ARRAY_TASK_ID}}
    [ $status -gt 128 ] && [ $status -lt 255 ] && [ ${{SLURM_RESTART_COUNT:-0}} -lt {most} ] &&
        ! compgen -G {logs}/"${{job:-$SLURM_JOB_ID}}_*_result.pkl" >/dev/null &&
        scontrol requeue $SLURM_JOB_ID
}}
trap requeue_if_killed EXIT"""
# Seconds between two questions at first, and in a sweep of an hour: SLURM serves others, too.
POLL_S = (1.0, 15.0)
PATIENCE = 1 / 240  # of the time that the sweep has taken so far


class Refused(Exception):
    """Why nothing can be submitted, in one line."""


class Slurm:
    """Submits points, and tells what became of them and of those submitted before."""

    def __init__(
        self, folder: Path, resources: Mapping[str, Any], sweep: Sweep, code: Path
    ) -> None:
        if shutil.which("sbatch") is None:
            raise Refused("there is no sbatch here; start it on a login node of the cluster")
        self._folder, self._resources, self._sweep, self._code = folder, resources, sweep, code
        self._watcher = Watcher()
        self._began = time.monotonic()

    @property
    def poll_s(self) -> float:
        return min(max(POLL_S[0], (time.monotonic() - self._began) * PATIENCE), POLL_S[1])

    def submit(self, points: Mapping[str, Point]) -> None:
        """One job array. Raises Refused with what sbatch says."""
        import submitit
        from submitit.core.utils import FailedJobError

        asked = parameters(self._resources, self._sweep.name, self._code, len(points))
        executor = submitit.SlurmExecutor(self._folder, self._resources["max_requeues"])
        executor.update_parameters(**asked)
        try:
            with redirect_stderr(StringIO()), executor.batch():  # submitit would repeat sbatch
                jobs = {name: executor.submit(point) for name, point in points.items()}
        except FailedJobError as error:
            words = [line.removeprefix("sbatch: error: ") for line in str(error).splitlines()]
            raise Refused(f"sbatch says: {'; '.join(words)}") from None
        for name, job in jobs.items():
            self._sweep.points[name].job = job.job_id

    def active(self, names: Iterable[str]) -> set[str]:
        """Those whose job of an earlier launch waits or runs. Refused where nobody can tell."""
        try:
            jobs = self.poll()
        except SlurmSilent as silent:
            raise Refused(str(silent)) from None
        return {name for name in names if name in jobs and jobs[name].state != "ended"}

    def poll(self) -> dict[str, Job]:
        """What each submitted point is doing; what would wait for ever is cancelled.

        SlurmSilent if SLURM does not answer.
        """
        points = self._sweep.points.items()
        ids = {name: point.job for name, point in points if point.job is not None}
        found = self._watcher(ids.values())
        jobs = {name: self._ended(id, found[id]) for name, id in ids.items()}
        self.cancel(name for name, job in jobs.items() if job.hopeless)
        return jobs

    def _ended(self, id: str, job: Job) -> Job:
        """A job that has left its result has ended, though its process may take seconds to."""
        left = job.state == "running" and (self._folder / f"{id}_0_result.pkl").exists()
        return replace(job, state="ended", ended_s=0.0) if left else job

    def cancel(self, names: Iterable[str]) -> None:
        """End the jobs of these points."""
        if ids := [job for name in names if (job := self._sweep.points[name].job) is not None]:
            subprocess.run(["scancel", *ids], check=False)


def parameters(resources: Mapping[str, Any], name: str, code: Path, points: int) -> dict[str, Any]:
    """`hydra.launcher` as submitit's SlurmExecutor takes it; what is null is the cluster's.

    code: the snapshot in the sweep's folder.
    """
    most, memory = resources["max_requeues"], resources["mem_gb"]
    exports = [f"export {key}={shlex.quote(value)}" for key, value in environment(code).items()]
    logs = shlex.quote(str(code.parents[1] / LOGS))
    requeue = [REQUEUE.format(most=most, logs=logs)] if most else []
    asked = {
        "job_name": name,
        "nodes": resources["nodes"],
        "ntasks_per_node": resources["tasks_per_node"],
        "cpus_per_task": resources["cpus_per_task"],
        "gpus_per_node": resources["gpus_per_node"] or None,
        "mem": memory and f"{int(memory * 1024)}M",
        "time": resources["timeout_min"],
        "signal_delay_s": resources["signal_delay_s"],
        "partition": resources["partition"],
        "account": resources["account"],
        "qos": resources["qos"],
        "array_parallelism": resources["parallel"] or points,
        "setup": [*resources["setup"], *exports, *requeue],
        "additional_parameters": {"requeue" if most else "no-requeue": True},
        "srun_args": ["--kill-on-bad-exit=1"],  # of several tasks: those left would wait for ever
        "stderr_to_stdout": True,
    }
    return {key: value for key, value in asked.items() if value is not None}


def script(folder: Path, resources: Mapping[str, Any], points: int) -> str:
    """What sbatch would be given for a sweep in `folder`, also where there is no SLURM."""
    from submitit.slurm.slurm import _make_sbatch_string

    logs, code = folder / LOGS, folder / ".code" / "HASH"
    command = shlex.join([sys.executable, "-u", "-m", "submitit.core._submit", str(logs)])
    asked = parameters(resources, folder.name, code, points)
    return _make_sbatch_string(command=command, folder=logs, map_count=points, **asked)
