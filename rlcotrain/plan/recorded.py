"""What recorded runs took: run folders -> seconds of the parts of a run."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from rlcotrain.files import RESTORE, read_json, read_lines
from rlcotrain.plan import lives
from rlcotrain.plan.work import EVALUATE, REST, SAVE, STARTUP, Part, parts
from rlcotrain.screen import say

NEWEST = 50  # runs that are read: code and machine change
CALIBRATION = "calibration"  # name of runs that were made to be measured


@dataclass(frozen=True, kw_only=True)
class Timing:
    """What one piece of a kind of work took in a run. calibration: in a few steps of it only."""

    kind: str
    rows: int
    seconds: float
    calibration: bool


def recorded(roots: Iterable[Path]) -> list[Timing]:
    """Timings of the newest runs below the folders, the newest run first."""
    found = {file.resolve() for root in roots for file in root.rglob(lives.FILE)}
    newest = sorted(found, key=lambda file: file.stat().st_mtime, reverse=True)[:NEWEST]
    return [timing for file in newest for timing in _timings(file.parent)]


def _timings(folder: Path) -> Iterator[Timing]:
    try:
        config = _config(folder / "config.yaml")
        known = {(part.name, part.rows): part for part in parts(config)}
        measured = dict(_measured(folder, config, known))
    except KeyError:  # written by another version: nothing runs like it now
        return
    except (ValueError, OSError) as error:
        say(f"warning: no estimate is made from a run: {error}")
        return
    for key, seconds in measured.items():
        yield Timing(
            kind=known[key].kind,
            rows=known[key].rows,
            seconds=seconds,
            calibration=config["name"] == CALIBRATION,
        )


def _measured(
    folder: Path, config: Mapping[str, Any], known: Mapping[tuple[str, int], Part]
) -> Iterator[tuple[tuple[str, int], float]]:
    """Seconds of one piece of each part that the folder tells of."""
    result, lived = read_json(folder / "result.json") or {}, lives.read(folder)
    if not lived:
        return
    if lived[0].startup is not None:
        yield (STARTUP, 1), lived[0].startup
    timing = result.get("timing") or {}
    taken = timing.get("wait_seconds", 0.0) > 0  # the lines of its prelude are another's
    total = 0.0
    for key, seconds in _lines(folder, config, known).items():
        if not (taken and known[key].prelude):
            # The first of its kind is slow; what it takes above the others is no step's but the
            # run's, and so is left in `rest`.
            typical = fmean(seconds[1:] or seconds)
            total += typical * len(seconds)
            yield key, typical
    if result.get("status") != "finished" or len(lived) > 1 or lived[0].ended is None:
        return
    total += timing["save_seconds"] + timing["wait_seconds"]
    yield (SAVE, 1), timing["save_seconds"] / timing["saves"]
    yield (REST, 1), max(0.0, lived[0].ended - lived[0].began - total)


def _lines(
    folder: Path, config: Mapping[str, Any], known: Mapping[tuple[str, int], Part]
) -> dict[tuple[str, int], list[float]]:
    """Seconds by part of every step and evaluation that metrics.jsonl tells of."""
    rows = {name: count for name, count in known if name != EVALUATE}
    whole, *between = (count for name, count in known if name == EVALUATE)
    last = config["schedule"]["steps"]
    found = defaultdict[tuple[str, int], list[float]](list)
    for line in read_lines(folder / "metrics.jsonl"):
        phase = line["phase"]
        if phase == EVALUATE:
            at_an_end = line["step"] in (0, last) or not between
            found[EVALUATE, whole if at_an_end else between[0]].append(line["time/evaluate"])
        else:
            key = "time/step" if "time/step" in line else f"{phase}/time/step"
            found[phase, rows[phase]].append(line[key])
    return found


def _config(file: Path) -> dict[str, Any]:
    import yaml

    try:
        config = yaml.load(file.read_bytes(), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except yaml.YAMLError:
        config = None
    if not isinstance(config, dict):
        raise ValueError(f"{file}: is no table in YAML; {RESTORE}")
    return config
