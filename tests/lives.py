"""Runs in processes of their own that die where a test wants them to.

They are forked from a server that has imported everything heavy: a life costs its steps only.
"""

import multiprocessing
import os
import re
import resource
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import matplotlib.pyplot  # noqa: F401  imported by the server, for all lives
from omegaconf import OmegaConf
from transformers import Qwen3ForCausalLM  # noqa: F401

from rlcotrain.job import run

SERVER = multiprocessing.get_context("forkserver")
SERVER.set_forkserver_preload(["tests.lives"])
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT
WRITING = ("open", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.truncate", "shutil.rmtree")


@dataclass(frozen=True)
class Event:
    """What Python is about to do to a file, as its audit events tell; counted from 1."""

    name: str  # "" for everything that writes
    path: str  # a regular expression for one of the paths
    count: int
    then: Literal["kill", "half", "term", "usr2", "int"] = "kill"


class Watch:
    """Kills this process just before the event, or in the middle of the write that follows it."""

    def __init__(self, event: Event, folder: Path) -> None:
        self.event, self.folder, self.seen = event, str(folder), 0

    def __call__(self, name: str, args: tuple[Any, ...]) -> None:
        if name not in WRITING or (name == "open" and not args[2] & WRITES):
            return
        paths = [str(path) for path in args[:2] if str(path).startswith(self.folder)]
        found = any(re.search(self.event.path, path.removeprefix(self.folder)) for path in paths)
        if found and self.event.name in ("", name):
            self.seen += 1
            if self.seen == self.event.count:
                self.strike(paths[0])

    def strike(self, path: str) -> None:
        if self.event.then == "half":
            # The kernel writes up to the limit and kills at the byte after it.
            size = os.path.getsize(path) + 20 if os.path.exists(path) else 20
            signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
        else:
            name = f"SIG{self.event.then.upper()}"
            os.kill(os.getpid(), signal.Signals[name])


def live(folder: Path, config: dict[str, Any], event: Event | None = None) -> int:
    """One life of a run in folder/run; its exit status, below 0 for a signal that ended it."""
    with born(folder, config, event) as process:
        process.join(60)
        status = process.exitcode
    assert status is not None, "it hangs"
    return int(status)


@contextmanager
def born(folder: Path, config: dict[str, Any], event: Event | None = None) -> Iterator[Any]:
    """A life on its way. `config` is resolved: composing it takes as long as its steps."""
    process = SERVER.Process(target=_live, args=(folder, config, event))
    process.start()
    try:
        yield process
    finally:
        process.kill()
        process.join()


def _live(folder: Path, config: dict[str, Any], event: Event | None) -> None:
    # As at a terminal, though a script may have put the tests into the background.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    folder.mkdir(parents=True, exist_ok=True)
    screen = os.open(folder / f"screen-{os.getpid()}", os.O_WRONLY | os.O_CREAT)
    os.dup2(screen, 1)
    os.dup2(screen, 2)
    signal.signal(signal.SIGUSR2, requeue)
    if event is not None:
        sys.addaudithook(Watch(event, folder))
    run(OmegaConf.create({"cache_dir": f"{folder}/cache"} | config), folder / "run")


def requeue(number: int, frame: object) -> None:
    """A handler that was there before, as submitit's is."""
    sys.exit(7)
