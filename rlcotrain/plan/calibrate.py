"""A few steps of a run, to be measured where no recorded run tells."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, open_dict

from rlcotrain.plan.plan import Plan
from rlcotrain.plan.recorded import CALIBRATION, Timing
from rlcotrain.plan.work import parts

STEPS = 3  # the first is slow and counts with what is no step
PROBLEMS = 64
SOLUTIONS = 16


def shortened(cfg: DictConfig, prelude_kept: bool) -> DictConfig:
    """The configuration with a few steps of every phase and few held-out problems.

    A prelude that is kept stays whole, since it costs nothing: answers then have the length they
    will have. Else the model answers as it came, and an untrained one writes up to the limit.
    """
    short = copy.deepcopy(cfg)
    with open_dict(short):
        short.name, short.dry_run, short.tracking.uri = CALIBRATION, False, None
        short.estimate.calibrate = False
        short.budget.max_usd = short.budget.max_gpu_hours = short.budget.phase_usd = None
        for phase in () if prelude_kept else (short.schedule.get("prelude") or {}).values():
            phase.steps = min(phase.steps, STEPS)
            if phase.get("optimizer") is not None:
                phase.optimizer.warmup_steps = 0
        for phase in short.schedule.cycle.values():
            phase.steps = min(phase.steps, STEPS)
        short.schedule.steps = min(short.schedule.steps, STEPS)
        _least(short.evaluation, ("num_problems", "between_problems"), PROBLEMS)
        if short.quality is not None:
            _least(short.quality, ("num_solutions", "between_solutions"), SOLUTIONS)
        short.pass_at_k = None  # all it asks is asked of every problem: nothing short is like it
    return short


def _least(node: DictConfig, keys: Sequence[str], most: int) -> None:
    for key in keys:
        node[key] = min(node[key], most)


def folder_of(config: Mapping[str, Any]) -> Path:
    """Where calibrations land: where recorded runs are looked for."""
    return Path(config["estimate"]["runs"][0]) / CALIBRATION


def uncalibrated(plan: Plan, timings: Sequence[Timing]) -> list[str]:
    """Labels of runs which together hold every kind of work that no timing tells of."""
    known, chosen = {timing.kind for timing in timings}, list[str]()
    for label in plan.unknown:
        kinds = {part.kind for part in parts(plan.configs[label]) if part.count}
        if kinds - known:
            chosen.append(label)
            known |= kinds
    return chosen
