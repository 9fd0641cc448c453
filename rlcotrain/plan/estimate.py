"""How long a run will take, from what recorded runs took; what none tells of is said."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from heapq import heapreplace
from statistics import median
from typing import Any

from rlcotrain.plan.recorded import Timing
from rlcotrain.plan.work import STARTUP, Part, parts

RUNS = 5  # recorded runs, the newest, whose median counts


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """Seconds of one run. unknown: the parts that no recorded run tells of, which count nothing.

    startup: what its process does first; prelude: of its own, if nobody else pays; body: the rest.
    """

    startup: float
    prelude: float
    body: float
    unknown: tuple[str, ...]
    basis: str


def estimate(config: Mapping[str, Any], timings: Sequence[Timing], kept: bool) -> Estimate:
    """The estimate of a resolved configuration; `kept`: whether its prelude is paid already."""
    seconds = {"startup": 0.0, "prelude": 0.0, "body": 0.0}
    unknown, runs, notes = dict[str, None](), list[int](), dict[str, None]()
    for part in parts(config):
        if not part.count or (part.prelude and kept):
            continue
        alike = _alike(part, timings)
        if not alike:
            unknown[part.name] = None
            continue
        a_row = median(timing.seconds / timing.rows for timing in alike)
        kind = STARTUP if part.name == STARTUP else "prelude" if part.prelude else "body"
        seconds[kind] += part.count * part.rows * a_row
        runs.append(len(alike))
        if alike[0].calibration:
            notes["a calibration"] = None
        if alike[0].rows != part.rows:
            notes[f"{part.name} of {alike[0].rows} rows scaled to {part.rows}"] = None
    count = min(runs, default=0)
    basis = ", ".join([f"{count} recorded run{'s' * (count != 1)}", *notes])
    return Estimate(**seconds, unknown=tuple(unknown), basis=basis)


def _alike(part: Part, timings: Iterable[Timing]) -> list[Timing]:
    """The newest timings of a part's kind, of the nearest size, whole runs before calibrations."""
    alike = [timing for timing in timings if timing.kind == part.kind]
    if not alike:
        return []

    def unlike(timing: Timing) -> tuple[bool, float]:
        return timing.calibration, abs(math.log(timing.rows / part.rows))

    least = min(map(unlike, alike))
    return [timing for timing in alike if unlike(timing) == least][:RUNS]


def schedule(
    estimates: Sequence[Estimate], preludes: Sequence[str], width: int, apart: bool
) -> tuple[float, list[float]]:
    """Wall seconds of runs of which `width` go on at once, and how long each takes its machine.

    preludes: signature of each run's prelude; of equal ones the first to begin pays, and runs that
    begin meanwhile wait for it, machines and all. apart: whether each has a process of its own.
    """
    free = [0.0] * width
    ready: dict[str, float] = {}
    taken = []
    for number, (run, prelude) in enumerate(zip(estimates, preludes, strict=True)):
        began = at = free[0]
        if apart or number == 0:
            at += run.startup
        if run.prelude:
            at = ready[prelude] = max(at, ready.get(prelude, at + run.prelude))
        at += run.body
        heapreplace(free, at)
        taken.append(at - began)
    return max(free), taken
