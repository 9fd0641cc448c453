"""The mirror beside a training: a process of its own, so that the training thread pays nothing."""

from __future__ import annotations

import os
import select
import shlex
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterable
from fcntl import LOCK_EX, LOCK_NB, flock
from pathlib import Path
from typing import IO

from rlcotrain.tracking.delivery import Delivery
from rlcotrain.tracking.receipt import Receipt
from rlcotrain.tracking.store import one_line
from rlcotrain.tracking.sweep import sync_sweep
from rlcotrain.tracking.uri import redacted

POLL_S = 2.0
BACKOFF_S = 60.0  # the longest wait between two tries
LAST_TRIES_S = (0.0, 1.0, 3.0)  # waits before the tries that are left when the training has ended
ROOT = Path(__file__).parents[2]


class Mirror:
    """Delivers a run folder while the run goes on. `start` returns at once, nothing here raises
    because of a tracker; what could not be delivered waits for `sync`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.child: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Spawn the follower in a session of its own: Ctrl-C and SIGTERM are not for it."""
        path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
        command = [sys.executable, "-m", "rlcotrain.tracking", "follow", str(self.folder)]
        with open(self.folder / "mirror.log", "ab") as log:
            self.child = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,  # its end tells the child that we are gone, however we went
                stdout=log,
                stderr=log,
                start_new_session=True,
                env={**os.environ, "PYTHONPATH": path},
            )

    def close(self, timeout_s: float) -> str | None:
        """Wait for the rest to be delivered: None when it is, else why not."""
        assert self.child is not None and self.child.stdin is not None, "close follows start"
        self.child.stdin.close()
        try:
            status = self.child.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.child.kill()  # harmless: the receipt tells the next delivery where to go on
            self.child.wait()
            reason = redacted(Receipt.read(self.folder).reason or "")
            return f"not delivered within {timeout_s:g} s" + (f": {reason}" if reason else "")
        reason = redacted(
            Receipt.read(self.folder).reason or f"the mirror ended with status {status}"
        )
        return None if status == 0 else f"{reason} (see {self.folder / 'mirror.log'})"


def deliver(folder: Path, timeout_s: float) -> str | None:
    """What an ended run still owes its tracker: None when it is delivered, else why not.

    The receipt is asked first, so that a run that owes nothing costs nothing.
    """
    try:
        delivery = Delivery(folder)
        if delivery.run["tracking"]["uri"] is None or delivery.delivered():
            return None
    except (ValueError, OSError) as error:
        return one_line(error)
    mirror = Mirror(folder)
    mirror.start()
    return mirror.close(timeout_s)


def sync_command(folder: Path) -> str:
    """What to type to deliver what a folder's runs still owe."""
    return shlex.join(["python", "-m", "rlcotrain.tracking", "sync", str(folder)])


def follow(folder: Path) -> int:
    """Deliver until the process at the other end of stdin has ended, then the rest. Exit status."""
    os.nice(5)
    for number in (signal.SIGTERM, signal.SIGUSR2):  # SLURM sends them to all of a job's processes
        signal.signal(number, signal.SIG_IGN)
    parent, failures = os.getppid(), 0
    with open(folder / "mirror.lock", "ab") as lock:
        flock(lock, LOCK_EX)  # the mirror of a killed run may still be delivering
        delivery = Delivery(folder)
        while not _ended(parent, min(POLL_S * 2**failures, BACKOFF_S)):
            failures = failures + 1 if attempt(delivery, final=False) else 0
        for wait_s in LAST_TRIES_S:
            time.sleep(wait_s)
            if attempt(delivery, final=True) is None:
                return 0
    return 1


def attempt(delivery: Delivery, final: bool) -> str | None:
    """One try, why it failed. A tracker can throw anything; no try may end the mirror."""
    try:
        delivery.catch_up(final)
    except Exception as error:
        reason = one_line(error)
        print(time.strftime("%F %T"), reason, flush=True)
        delivery.note(reason=reason)
        return reason
    return None


def sync(roots: Iterable[Path]) -> int:
    """Deliver what is missing of all runs below `roots`, then the tables of their sweeps; exit
    status 1 if anything stays."""
    counts: Counter[str] = Counter()
    roots = list(roots)
    for name, sync_one in (("run.json", _sync_one), ("sweep.json", sync_sweep)):
        for file in sorted(file for root in roots for file in root.rglob(name)):
            try:
                outcome, reason = sync_one(file.parent)
            except Exception as error:  # one folder that cannot be read stops no other
                outcome, reason = "failed", one_line(error)
            counts[outcome] += 1
            if outcome != "complete":
                print(f"{file.parent}: {outcome}{f': {reason}' if reason else ''}", flush=True)
    print(", ".join(f"{count} {outcome}" for outcome, count in counts.items()) or "no runs found")
    return 1 if counts["failed"] else 0


def _sync_one(folder: Path) -> tuple[str, str | None]:
    delivery = Delivery(folder)
    if delivery.run["tracking"]["uri"] is None:
        return "without a tracker", None
    with open(folder / "mirror.lock", "ab") as lock:
        if not _locked(lock):
            return "still running", "its own mirror delivers it"
        if delivery.complete():
            return "complete", None
        reason = attempt(delivery, final=True)
    return ("failed", reason) if reason else ("delivered", None)


def _locked(file: IO[bytes]) -> bool:
    try:
        flock(file, LOCK_EX | LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _ended(parent: int, wait_s: float) -> bool:
    """Wait; true as soon as stdin is closed, as by a death of any kind.

    A worker that the parent forked may hold the pipe open: then the new parent id tells.
    """
    ready, _, _ = select.select([sys.stdin], [], [], wait_s)
    return bool(ready) or os.getppid() != parent
