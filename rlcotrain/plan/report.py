"""A plan for a person to read."""

from __future__ import annotations

from collections.abc import Iterator

from rlcotrain.plan import ledger
from rlcotrain.plan.budget import CALIBRATE, phases
from rlcotrain.plan.plan import Plan
from rlcotrain.plan.work import EVALUATE, REST, SAVE, STARTUP, parts

NO_PHASE = {STARTUP, EVALUATE, SAVE, REST}


def report(plan: Plan, asks: str) -> str:
    """The runs, what each asks for, what all of them take and cost, and what is not known.

    GPU-hours and dollars are told where GPUs are used, else CPU core-hours.
    """
    uses_gpus = any(ledger.occupied(config)[0] for config in plan.configs.values())
    units = ["GPU-hours", "dollars"] if uses_gpus else ["CPU core-hours"]
    lines = [["run", "steps", "asks for", "time", *units, "from"]]
    for label in plan.configs:
        lines.append([label, _steps(plan, label), asks, *_figures(plan, label, uses_gpus)])
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    padded = (zip(line, widths, strict=True) for line in lines)
    table = ["  ".join(cell.ljust(width) for cell, width in line).rstrip() for line in padded]
    return "\n".join([*table, "", _together(plan, uses_gpus), *_of_phases(plan)])


def _steps(plan: Plan, label: str) -> str:
    """`400 pretrain, 25 solve`."""
    found = (part for part in parts(plan.configs[label]) if part.name not in NO_PHASE)
    return ", ".join(f"{part.count} {part.name}" for part in found) or "none"


def _figures(plan: Plan, label: str, uses_gpus: bool) -> list[str]:
    found = plan.estimates[label]
    if not found.unknown:
        hours = (
            [f"{plan.gpu_hours_of(label):.2f}", f"{plan.usd_of(label):.2f}"]
            if uses_gpus
            else [f"{plan.cpu_hours_of(label):.3f}"]
        )
        return [duration(plan.taken[label]), *hours, found.basis]
    named = {part.name for part in parts(plan.configs[label]) if part.count}
    what = "it" if named <= set(found.unknown) else f"its {', '.join(found.unknown)}"
    return [*["unknown"] * (3 if uses_gpus else 2), f"no recorded run is like {what}"]


def _together(plan: Plan, uses_gpus: bool) -> str:
    if plan.unknown:
        known = len(plan.configs) - len(plan.unknown)
        return f"estimate: none, {known} of {len(plan.configs)} runs are known; {CALIBRATE}"
    costs = f"{plan.gpu_hours:.2f} GPU-hours, {plan.usd:.2f} dollars"
    hours = costs if uses_gpus else f"{plan.cpu_hours:.3f} CPU core-hours"
    return f"estimate: {duration(plan.wall)} with {plan.width} at once, {hours}"


def _of_phases(plan: Plan) -> Iterator[str]:
    for phase, (limit, file) in phases(plan).items():
        used = ledger.used_usd(ledger.read(file), phase)
        of = "" if limit is None else f" of {limit:.2f}"
        yield f"{phase} has used {used:.2f}{of} dollars ({file})"


def duration(seconds: float) -> str:
    """`45 s`, `3 min 20 s`, `2 h 5 min`."""
    if seconds < 99.5:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, left = divmod(minutes, 60)
    return f"{hours} h {left} min" if hours else f"{minutes} min {rest} s"
