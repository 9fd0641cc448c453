"""Child processes that compute what may hang, crash or eat the memory, and that can be killed.

A library's own time limits do not do: its alarm works in the main thread only, its exception passes
for a wrong answer where something catches all, and no Python code interrupts one long C call
(verl-project/verl#5635, huggingface/Math-Verify#50). Here the watchdog is the caller, which waits
for all workers at once and kills the one that is late.
"""

from __future__ import annotations

import atexit
import json
import os
import selectors
import signal
import socket
import subprocess
import sys
import time
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any, Literal

START_SECONDS = 120.0  # importing the libraries, on a machine that is busy with something else
STARTS, PAUSE = 3, 0.5  # tries to start processes, and seconds between them
CACHED = 100_000  # results that are remembered
Job = tuple[str, ...]  # the name of a task and its arguments
SYMBOLIC = "rlcotrain.grader.symbolic"


@dataclass(frozen=True, slots=True)
class Result:
    """`value` is what the task returned; None where it was too late or could not end."""

    status: Literal["ok", "timeout", "crashed"]
    value: Any = None


Ended = tuple[Job, Result | None]  # None: its process has ended


class Worker:
    """One end of a socket; at the other a process, or the next that takes its place."""

    def __init__(self, line: socket.socket) -> None:
        self.line = line
        self.pid: int | None = None  # None: none is ready yet
        self.job: Job | None = None
        self.number = 0  # of the newest job: an answer to another one is too late
        self.deadline = 0.0  # of the job, on the monotonic clock
        self._received = b""

    def send(self, job: Job, timeout: float) -> None:
        self.job, self.deadline = job, time.monotonic() + timeout
        self.number += 1
        self.line.sendall(json.dumps([self.number, *job]).encode() + b"\n")

    def kill(self) -> None:
        assert self.pid is not None, "only a process that is ready has work"
        with suppress(ProcessLookupError):  # it has just ended by itself
            os.kill(self.pid, signal.SIGKILL)
        self.pid = self.job = None

    def messages(self) -> list[dict[str, Any]]:
        """What has come; EOFError where nothing will any more."""
        try:
            received = self.line.recv(1 << 16)
        except ConnectionError:
            received = b""
        if not received:
            raise EOFError
        *lines, self._received = (self._received + received).split(b"\n")
        # A process that is killed leaves half a line, which the next one ends before its first.
        return [json.loads(line) for line in lines if line.endswith(b"}") and line[:1] == b"{"]


class Pool:
    """Runs tasks in `workers` processes, each call within `timeout` seconds and `memory` bytes.

    Processes start with `start` or the first call, stay, and end with `close` or with this process,
    however it ends; a call whose process dies is made once more. Equal calls are made once and
    their results remembered, late ones too; only a call whose processes died is made again when it
    is asked for again.
    Calls from several threads take turns. tasks: the module that holds them as TASKS.
    """

    def __init__(self, *, workers: int, timeout: float, memory: int, tasks: str = SYMBOLIC) -> None:
        if workers < 1:
            raise ValueError(f"grader.workers={workers}: must be 1 or more")
        if timeout <= 0:
            raise ValueError(f"grader.timeout={timeout}: must be above 0 (seconds)")
        if memory < 1 << 28:
            raise ValueError(f"grader.memory={memory}: must be {1 << 28} or more (bytes)")
        self.workers, self.timeout, self.memory, self.tasks = workers, timeout, memory, tasks
        self._lock = Lock()
        self._remembered: dict[Job, Result] = {}
        self._process: subprocess.Popen[bytes] | None = None
        self._line: list[Worker] = []
        self._heard = 0.0  # when a process last said something, on the monotonic clock
        self._works = False  # whether one has been ready since they were started
        self._failed = 0  # starts in a row without a ready one

    def run(self, jobs: Sequence[Job]) -> list[Result]:
        """One result a job, in the order of the jobs. RuntimeError where no worker starts."""
        with self._lock:
            known = {job: self._remembered[job] for job in jobs if job in self._remembered}
            try:
                known |= self._compute(list(dict.fromkeys(job for job in jobs if job not in known)))
            except BaseException:  # an interrupt leaves work behind that nobody waits for
                self.close()
                raise
            return [known[job] for job in jobs]

    def start(self) -> None:
        """Start the processes and do not wait: importing takes them seconds."""
        with self._lock:
            if self._process is None:
                self._start()

    def close(self) -> None:
        """End all processes. The next call starts new ones."""
        if self._process is not None:
            self._process.communicate()  # its input ends: it kills the workers and collects them
            for worker in self._line:
                worker.line.close()
            self._process, self._line = None, []

    @property
    def pids(self) -> list[int]:
        """Ids of the workers that are ready and of the process that forks them."""
        pids = [worker.pid for worker in self._line if worker.pid is not None]
        return pids if self._process is None else [*pids, self._process.pid]

    def _remember(self, job: Job, result: Result) -> None:
        self._remembered[job] = result
        if len(self._remembered) > CACHED:
            del self._remembered[next(iter(self._remembered))]  # the oldest

    def _compute(self, jobs: Sequence[Job]) -> dict[Job, Result]:
        waiting, results, died = deque(jobs), dict[Job, Result](), set[Job]()
        if self._process is not None:
            self._await(until=0)  # who died and was replaced while nobody looked
        while len(results) < len(jobs):
            if self._process is None:
                self._start()
            for worker in self._line:
                if waiting and worker.pid is not None and worker.job is None:
                    self._hand(worker, waiting)
            for job, result in self._await(self._next_deadline()):
                if result is None and job not in died:  # somebody else may have killed its process
                    died.add(job)
                    waiting.append(job)
                else:
                    results[job] = result or Result("crashed")
                    if result is not None:
                        self._remember(job, result)
        return results

    def _hand(self, worker: Worker, waiting: deque[Job]) -> None:
        try:
            worker.send(waiting[0], self.timeout)
        except OSError:  # it died idle: the job is not to blame, and goes to the next
            worker.pid = worker.job = None
        else:
            waiting.popleft()

    def _next_deadline(self) -> float:
        ends = [worker.deadline for worker in self._line if worker.job is not None]
        return min(ends, default=self._heard + START_SECONDS)

    def _await(self, until: float) -> list[Ended]:
        """What the workers have come to when one of them says something, or is late."""
        done: list[Ended] = []
        with selectors.DefaultSelector() as selector:
            for worker in self._line:
                selector.register(worker.line, selectors.EVENT_READ, worker)
            for key, _ in selector.select(max(until - time.monotonic(), 0)):
                try:
                    done += self._hear(key.data)
                except EOFError:
                    return done + self._lost()
        now = time.monotonic()
        for worker in self._line:
            if worker.job is not None and now >= worker.deadline:
                done.append((worker.job, Result("timeout")))
                worker.kill()
                self._heard = now
        if not any(worker.pid for worker in self._line) and now > self._heard + START_SECONDS:
            raise RuntimeError(f"no grading worker was ready after {START_SECONDS:.0f} s")
        return done

    def _hear(self, worker: Worker) -> list[Ended]:
        done: list[Ended] = []
        for message in worker.messages():
            self._heard = time.monotonic()
            if "ready" in message:
                self._works, self._failed = True, 0
                if worker.job is not None:  # the process that had it is no more, this is the next
                    done.append((worker.job, None))
                worker.pid, worker.job = message["ready"], None
            elif worker.job is not None and message["number"] == worker.number:
                value = Result("ok", message["value"]) if "value" in message else Result("crashed")
                done.append((worker.job, value))
                worker.job = None
        return done

    def _lost(self) -> list[Ended]:
        """All processes are gone, killed from outside; the next call starts them again."""
        done: list[Ended] = [(w.job, None) for w in self._line if w.job is not None]
        self.close()
        if not self._works:
            self._failed += 1
            if self._failed == STARTS:
                self._failed = 0
                raise RuntimeError(
                    f"grading workers ended as they started, {STARTS} times in a row; see what "
                    "they wrote above"
                )
            time.sleep(PAUSE * self._failed)
        return done

    def _start(self) -> None:
        pairs = [socket.socketpair() for _ in range(self.workers)]
        far = [theirs.fileno() for _, theirs in pairs]
        root = str(Path(__file__).parents[2])
        paths = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
        self._heard, self._works = time.monotonic(), False
        self._process = subprocess.Popen(
            # -P: a folder the run happens to stand in is no place to import from.
            [sys.executable, "-P", "-m", "rlcotrain.grader.worker", self.tasks, str(self.memory)]
            + [str(number) for number in far],
            pass_fds=far,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C is for the training alone, which ends its step
            # Sets are ordered by hashes: equal questions must get equal answers.
            env={**os.environ, "PYTHONPATH": paths, "PYTHONHASHSEED": "0"},
        )
        for _, theirs in pairs:
            theirs.close()
        self._line = [Worker(ours) for ours, _ in pairs]


def shared_pool(workers: int, timeout: float, memory: int, tasks: str = SYMBOLIC) -> Pool:
    """The pool of these settings that all graders of this process share."""
    # A forked copy of this process has the sockets, too, and must not talk into them.
    key = os.getpid(), workers, timeout, memory, tasks
    if key not in _pools:
        _pools[key] = Pool(workers=workers, timeout=timeout, memory=memory, tasks=tasks)
        atexit.register(_pools[key].close)
    return _pools[key]


_pools: dict[tuple[int, int, float, int, str], Pool] = {}


def start_shared_pools() -> None:
    """Start the processes that this process's graders will need, beside what it does meanwhile."""
    for (process, *_), pool in _pools.items():
        if process == os.getpid():
            pool.start()
