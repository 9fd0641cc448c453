"""`lives.json` in a run folder: when each process that worked at the run began and ended."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from rlcotrain.files import read_json, write_json

FILE = "lives.json"
CURE = "restore it, or delete it: the ledger then lacks the hours of earlier lives"
SIGNS = ("metrics.jsonl", "checkpoints")  # what changes while a run lives


@dataclass
class Life:
    """Unix times in seconds. startup: seconds that the process took to get here, None where it had
    run something before."""

    began: float
    startup: float | None
    ended: float | None = None

    @property
    def seconds(self) -> float:
        """What its machine was taken for; 0 while it lasts."""
        # A clock that is set back makes nothing cheaper.
        return (self.startup or 0.0) + max(0.0, (self.ended or self.began) - self.began)


def read(folder: Path) -> list[Life]:
    """The lives of a run, oldest first. ValueError, naming the file, where it cannot be read."""
    found = read_json(folder / FILE, CURE)
    try:
        return [Life(**life) for life in found["lives"]] if found is not None else []
    except (KeyError, TypeError):
        raise ValueError(f"{folder / FILE}: is not what a run writes there; {CURE}") from None


@contextmanager
def live(folder: Path) -> Iterator[None]:
    """A life of the run in `folder`, noted at both ends. One that was killed, and so could not note
    its end, ended with the last sign it gave."""
    before = read(folder)
    for life in before:
        if life.ended is None:
            signs = [folder / name for name in SIGNS if (folder / name).exists()]
            life.ended = max((sign.stat().st_mtime for sign in signs), default=life.began)
    life, start = Life(began=time.time(), startup=_startup()), time.monotonic()
    known = [*before, life]
    write_json(folder / FILE, {"lives": [asdict(each) for each in known]})
    try:
        yield
    finally:
        life.ended = life.began + time.monotonic() - start  # whatever became of the clock
        write_json(folder / FILE, {"lives": [asdict(each) for each in known]})


_first = True


def _startup() -> float | None:
    """Seconds since this process began, once; 0 where the system does not tell."""
    global _first
    if not _first:
        return None
    _first = False
    stat = Path("/proc/self/stat")
    if not stat.exists():
        return 0.0
    ticks = int(stat.read_text().rpartition(")")[2].split()[19])
    return time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")
