"""What SLURM says of jobs: `squeue` for those it remembers, `sacct` for older ones.

Accounting is a matter of the cluster: without it, a job that SLURM has forgotten has ended.
"""

import os
import subprocess
import time
from collections.abc import Collection, Iterator
from dataclasses import replace

from rlcotrain.sweep.job import DIED, Job

TIMEOUT_S = 60.0
WAITING = {"PENDING", "REQUEUED", "REQUEUE_FED", "REQUEUE_HOLD", "SPECIAL_EXIT", "REVOKED"}
ENDED = {
    *("BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "NODE_FAIL"),
    *("OUT_OF_MEMORY", "PREEMPTED", "TIMEOUT"),
}
# Reasons for waiting that no free node ends; squeue writes them with or without underscores.
HOPELESS = {
    *("AccountNotAllowed", "AssocMaxTimePerJob", "BadConstraints", "InvalidAccount", "InvalidQOS"),
    *("JobHeldAdmin", "PartitionNodeLimit", "PartitionTimeLimit", "QOSNotAllowed"),
    *("launchfailedrequeuedheld", "ReservationDeleted"),
}
FORMAT = "JobArrayID:40,State:24,RestartCnt:12,exit_code:12,Reason:120"


class SlurmSilent(OSError):
    """SLURM does not answer; it may again."""


class Watcher:
    """Asks for the states of jobs, remembering when each was first seen to have ended."""

    def __init__(self) -> None:
        self._ended: dict[str, float] = {}

    def __call__(self, ids: Collection[str]) -> dict[str, Job]:
        """Every job of `ids` (`12` or `12_3`). SlurmSilent if SLURM does not answer."""
        found = ask(ids)
        now = time.monotonic()
        for id, job in found.items():
            if job.state == "ended":
                since = self._ended.setdefault(id, now)
                found[id] = replace(job, ended_s=now - since)
            else:
                self._ended.pop(id, None)
        return found


def ask(ids: Collection[str]) -> dict[str, Job]:
    """Every job of `ids` (`12` or `12_3`). SlurmSilent if SLURM does not answer."""
    found = dict(_queue(set(ids))) if ids else {}
    if forgotten := set(ids) - set(found):
        found |= _accounted(forgotten)
    unknown = Job(state="ended", words=f"{DIED}: SLURM knows nothing of it any more")
    return {id: found.get(id, unknown) for id in ids}


def _queue(ids: Collection[str]) -> Iterator[tuple[str, Job]]:
    words = ("--noheader", "--array", "--states=all", f"--user={os.getuid()}", f"--Format={FORMAT}")
    for line in _run("squeue", *words).splitlines():
        id, state, restarts, status, reason = line.split(maxsplit=4)
        if id in ids:
            yield id, _job(state, status, reason.strip(), int(restarts))


def _accounted(ids: Collection[str]) -> dict[str, Job]:
    """Of the jobs that accounting knows, if there is any."""
    jobs = ",".join(sorted({id.partition("_")[0] for id in ids}))
    words = ("--noheader", "--parsable2", "--allocations", f"--jobs={jobs}")
    try:
        lines = _run("sacct", *words, "--format=JobID,State,ExitCode").splitlines()
    except SlurmSilent:
        return {}
    found = (line.split("|") for line in lines)
    return {id: _job(state.split()[0], status, "", 0) for id, state, status in found if id in ids}


def _job(state: str, status: str, reason: str, restarts: int) -> Job:
    if state in ENDED:
        how = "cancelled" if state == "CANCELLED" else DIED
        words = f"{how}: SLURM says {state}, exit status {status}"
        return Job(state="ended", words=words, restarts=restarts)
    if state in WAITING:
        lasting = reason.replace("_", "").replace(" ", "") in HOPELESS
        words = "" if reason in ("None", "Resources", "Priority") else reason
        return Job(state="queued", words=words, restarts=restarts, hopeless=lasting)
    return Job(state="running", restarts=restarts)


def _run(*words: str) -> str:
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=TIMEOUT_S)
    except FileNotFoundError:
        raise SlurmSilent(f"there is no {words[0]} here") from None
    except subprocess.TimeoutExpired:
        raise SlurmSilent(f"{words[0]} did not answer within {TIMEOUT_S:g} s") from None
    if done.returncode != 0:
        said = " ".join(done.stderr.split()) or f"exit status {done.returncode}"
        raise SlurmSilent(f"{words[0]}: {said}")
    return done.stdout
