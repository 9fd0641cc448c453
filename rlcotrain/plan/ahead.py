"""Looking ahead: the plan from what is recorded, and from calibrations where they are asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rlcotrain.plan.calibrate import uncalibrated
from rlcotrain.plan.plan import Plan, make_plan
from rlcotrain.plan.recorded import recorded


def look_ahead(
    configs: Mapping[str, Mapping[str, Any]],
    width: int | None,
    apart: bool,
    calibrate: Callable[[Sequence[str]], None],
) -> Plan:
    """The plan of resolved configurations by label. `calibrate` is called with the labels of runs
    to be measured, where the configuration asks for it and any are."""
    asked = next(iter(configs.values()))["estimate"]
    roots = [Path(root) for root in asked["runs"]]
    timings = recorded(roots)
    plan = make_plan(configs, timings, width, apart)
    if asked["calibrate"] and (labels := uncalibrated(plan, timings)):
        calibrate(labels)
        plan = make_plan(configs, recorded(roots), width, apart)
    return plan
