"""The ledger: what each phase of the experiment plan has used, one line an ended life of a run.

    python -m rlcotrain.plan.ledger [FILE]

A line tells the whole of its run, so that the last one of a run counts and no run counts twice.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from fcntl import LOCK_EX, flock
from pathlib import Path
from typing import Any

from rlcotrain.files import read_lines

FILE = "multirun/ledger.jsonl"
AMOUNTS = ("gpu_hours", "cpu_hours", "usd")
CURE = "mend or delete that line"


@dataclass(frozen=True, kw_only=True)
class Entry:
    """What a run has used over all its lives."""

    run: str
    phase: str
    folder: str
    gpu_hours: float
    cpu_hours: float
    usd: float


def entry(config: Mapping[str, Any], run: str, folder: Path, seconds: float) -> Entry:
    """The line of a run whose machine was taken for so many seconds."""
    gpus, cores = occupied(config)
    gpu_hours = gpus * seconds / 3600
    return Entry(
        run=run,
        phase=config["budget"]["phase"],
        folder=str(folder.absolute()),
        gpu_hours=gpu_hours,
        cpu_hours=cores * seconds / 3600,
        usd=gpu_hours * config["hardware"]["price_per_gpu_hour"],
    )


def occupied(config: Mapping[str, Any]) -> tuple[int, int]:
    """GPUs and CPU cores that a run of this configuration has to itself."""
    hardware = config["hardware"]
    gpus = hardware["gpus"] if hardware["device"] == "cuda" else 0
    return gpus, hardware["gpus"] * hardware["threads"]  # a process each, of so many threads


def append(file: Path, line: Entry) -> None:
    """Add a line; runs that end together wait for each other. What a full disk left of a line that
    could not be written goes first: the new one must not be glued to it."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("a+b") as stream:
        flock(stream, LOCK_EX)
        stream.seek(0)
        stream.truncate(stream.read().rfind(b"\n") + 1)
        stream.write(json.dumps(asdict(line)).encode() + b"\n")
        stream.flush()
        os.fsync(stream.fileno())


def read(file: Path) -> list[Entry]:
    """One entry a run, the newest; a line that a full disk cut off is none.

    ValueError, naming file and line, where one is no entry.
    """
    names = [each.name for each in fields(Entry)]
    found = {}
    for number, line in enumerate(read_lines(file, keys=names, cure=CURE), 1):
        if set(line) != set(names) or not all(
            isinstance(line[name], int | float) for name in AMOUNTS
        ):
            raise ValueError(f"{file}: line {number} is no entry; {CURE}")
        found[line["run"]] = Entry(**line)
    return list(found.values())


def used_usd(entries: Iterable[Entry], phase: str) -> float:
    """Dollars of a phase so far."""
    return sum(entry.usd for entry in entries if entry.phase == phase)


def table(entries: Iterable[Entry]) -> Iterator[str]:
    """A line a phase."""
    entries = list(entries)
    for phase in sorted({entry.phase for entry in entries}):
        mine = [entry for entry in entries if entry.phase == phase]
        gpu, cpu = sum(one.gpu_hours for one in mine), sum(one.cpu_hours for one in mine)
        yield (
            f"{phase}: {used_usd(mine, phase):.2f} dollars, {gpu:.2f} GPU-hours, "
            f"{cpu:.2f} CPU core-hours, {len(mine)} runs"
        )


if __name__ == "__main__":
    given = Path(sys.argv[1] if len(sys.argv) > 1 else FILE)
    try:
        print("\n".join(table(read(given))) or f"{given}: nothing used yet")
    except (ValueError, OSError) as error:
        sys.exit(f"error: {error}")
