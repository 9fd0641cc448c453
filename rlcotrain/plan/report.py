"""A plan for a person to read."""

from __future__ import annotations

from collections.abc import Iterator

from rlcotrain.plan import ledger
from rlcotrain.plan.budget import CALIBRATE, phases
from rlcotrain.plan.plan import Plan
from rlcotrain.plan.work import EVALUATE, REST, SAVE, STARTUP, parts

UNNAMED = {STARTUP, EVALUATE, SAVE, REST}


def report(plan: Plan, asks: str) -> str:
    """The runs, what each asks for, what all of them take and cost, and what is not known."""
    lines = [["run", "steps", "asks for", "time", "GPU-hours", "CPU core-hours", "dollars", "from"]]
    for label in plan.configs:
        lines.append([label, _steps(plan, label), asks, *_figures(plan, label)])
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    padded = (zip(line, widths, strict=True) for line in lines)
    table = ["  ".join(cell.ljust(width) for cell, width in line).rstrip() for line in padded]
    return "\n".join([*table, "", *_together(plan), *_of_phases(plan)])


def _steps(plan: Plan, label: str) -> str:
    """`400 pretrain, 25 solve`."""
    phases = (part for part in parts(plan.configs[label]) if part.name not in UNNAMED)
    return ", ".join(f"{part.count} {part.name}" for part in phases) or "none"


def _figures(plan: Plan, label: str) -> list[str]:
    found = plan.estimates[label]
    if found.unknown:
        return ["unknown"] * 4 + [f"no recorded run like its {', '.join(found.unknown)}"]
    hours = plan.gpu_hours_of(label), plan.cpu_hours_of(label)
    numbers = [f"{hour:.3f}" for hour in hours]
    return [duration(plan.taken[label]), *numbers, f"{plan.usd_of(label):.2f}", found.basis]


def _together(plan: Plan) -> Iterator[str]:
    known = len(plan.configs) - len(plan.unknown)
    if not plan.unknown:
        yield (
            f"estimate: {duration(plan.wall)} at {plan.width} at once, {plan.gpu_hours:.3f} "
            f"GPU-hours, {plan.cpu_hours:.3f} CPU core-hours, {plan.usd:.2f} dollars"
        )
    else:
        yield f"estimate: none of the whole, {known} of {len(plan.configs)} are known; {CALIBRATE}"


def _of_phases(plan: Plan) -> Iterator[str]:
    for phase, (limit, file) in phases(plan).items():
        used = ledger.used_usd(ledger.read(file), phase)
        of = "" if limit is None else f" of {limit:.2f}"
        yield f"{phase}: {used:.2f}{of} dollars used ({file})"


def duration(seconds: float) -> str:
    """`45 s`, `3 min 20 s`, `2 h 5 min`."""
    if seconds < 99.5:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, left = divmod(minutes, 60)
    return f"{hours} h {left} min" if hours else f"{minutes} min {rest} s"
