"""What a cluster does to jobs, done on purpose. A job's id is `12_3`, or `12` if it is alone."""

import contextlib
import os
import subprocess
from pathlib import Path
from signal import SIGKILL
from time import sleep

ONE = ("--noheader", "--array")


def kill(job: str) -> None:
    """SIGKILL to the training process, as where memory runs out: SLURM is not told."""
    for pid in _processes(job):
        os.kill(pid, SIGKILL)


def warn(job: str) -> None:
    """The signal that comes before a preemption, or before the end of a job's time.

    Of an array that waits in part scancel may report a failure after it has sent the signal, and
    would send it again: it gets no time to.
    """
    with contextlib.suppress(subprocess.TimeoutExpired):
        subprocess.run(["scancel", "--signal=USR2", job], capture_output=True, timeout=3)


def requeue(job: str) -> None:
    """An operator puts it back into the queue."""
    _slurm("scontrol", "requeue", job)


def preempt(job: str) -> None:
    """A job of a higher partition takes the node."""
    node = _slurm("squeue", *ONE, f"--jobs={job}", "--format=%N").strip()
    words = ("--partition=urgent", "--exclusive", f"--nodelist={node}", "--output=/dev/null")
    _slurm("sbatch", *words, "--wrap=sleep 2")


KINDS = {"SIGKILL": kill, "scancel --signal": warn, "requeue": requeue, "preemption": preempt}


def _processes(job: str) -> list[int]:
    """The training processes of a job, tried for a second: not its script, srun or the mirror."""
    array, _, task = job.partition("_")
    of_array = {f"SLURM_ARRAY_JOB_ID={array}".encode(), f"SLURM_ARRAY_TASK_ID={task}".encode()}
    marks = of_array if task else {f"SLURM_JOB_ID={job}".encode()}
    for _ in range(10):
        found = []
        for process in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                command = (process / "cmdline").read_bytes().split(b"\0")
                ours = b"submitit.core._submit" in command and b"python" in command[0]
                if ours and marks <= set((process / "environ").read_bytes().split(b"\0")):
                    found.append(int(process.name))
        if found:
            return found
        sleep(0.1)
    raise AssertionError(f"no process runs job {job}")


def _slurm(*words: str) -> str:
    done = subprocess.run(words, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, (words, done.stderr)
    return done.stdout
