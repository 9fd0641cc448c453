"""The far side of the pool: a process that imports the heavy libraries once and forks the workers.

Started as `python -m rlcotrain.grader.worker TASKS MEMORY FD...`, the module that holds the tasks,
bytes a worker may use and a socket for each. It stays
single-threaded and computes nothing, so that forking a replacement is safe and takes milliseconds,
where a new interpreter would have to import sympy again. A worker that dies is replaced at once.
"""

import ctypes
import gc
import json
import logging
import os
import resource
import select
import signal
import socket
import sys
import warnings
from collections.abc import Callable, Mapping
from contextlib import suppress
from importlib import import_module
from typing import Any

POLL_SECONDS = 0.01
Tasks = Mapping[str, Callable[..., Any]]


def main(module: str, memory: int, descriptors: list[int]) -> None:
    """Keep one worker alive on each socket, for as long as the parent lives. memory: bytes each."""
    parent = os.getppid()
    logging.disable()  # the libraries warn of the time limits that the pool keeps in their place
    warnings.simplefilter("ignore")  # and of what they make of answers that are no expressions
    found = import_module(module)
    found.warm_up()
    gc.freeze()  # else the first collection of every worker would copy all of its memory
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    workers = {start(descriptor, found.TASKS): descriptor for descriptor in descriptors}
    # Our input ends when the parent wants us to end, or has ended. We watch its id as well, for a
    # forked copy of it may hold the other end open; the kernel's parent-death signal would come
    # when the *thread* that started us ends. A worker in one long C call notices nothing of this.
    while os.getppid() == parent and not select.select([0], [], [], POLL_SECONDS)[0]:
        while (pid := os.waitpid(-1, os.WNOHANG)[0]) != 0:
            descriptor = workers.pop(pid)
            workers[start(descriptor, found.TASKS)] = descriptor
    for pid in workers:
        os.kill(pid, signal.SIGKILL)
    for pid in workers:
        os.waitpid(pid, 0)  # an orphan's remains might stay for ever: not every init collects them


def start(descriptor: int, tasks: Tasks) -> int:
    """Fork a worker; returns its process id."""
    parent = os.getpid()
    pid = os.fork()
    if pid == 0:
        die_with(parent)
        serve(socket.socket(fileno=descriptor), tasks)
    return pid


def serve(line: socket.socket, tasks: Tasks) -> None:
    """Answer one request after the other; ends with the process."""
    # A request that is still there was meant for the process in whose place this one is.
    line.setblocking(False)
    with suppress(BlockingIOError):
        while line.recv(1 << 16):
            pass
    line.setblocking(True)
    with suppress(ConnectionError), line.makefile("rb") as requests:  # the other end may close
        # What was killed in the middle of a line must not swallow this one.
        line.sendall(b"\n" + json.dumps({"ready": os.getpid()}).encode() + b"\n")
        for request in requests:
            line.sendall(json.dumps(answer(tasks, *json.loads(request))).encode() + b"\n")
    os._exit(0)


def answer(tasks: Tasks, number: int, name: str, *arguments: str) -> dict[str, object]:
    """What a task returned, or the kind of error it raised, with the number of the request."""
    try:
        return {"number": number, "value": tasks[name](*arguments)}
    except Exception as error:  # of a library, on what a model wrote: the pool counts it
        return {"number": number, "error": type(error).__name__}


def die_with(parent: int) -> None:
    """Be killed by the kernel when the process that forks us ends: somebody may kill it."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
    if os.getppid() != parent:  # it ended before we could ask
        os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), [int(word) for word in sys.argv[3:]])
