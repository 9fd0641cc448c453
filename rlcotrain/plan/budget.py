"""Limits: a sweep whose estimate lies above one is refused before anything is started."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rlcotrain.plan import ledger
from rlcotrain.plan.plan import Plan

CALIBRATE = "estimate.calibrate=true measures them in a few steps"


def binds(config: Mapping[str, Any]) -> bool:
    """Whether a limit is set that a run of this configuration could come to."""
    budget, gpus = config["budget"], ledger.occupied(config)[0]
    costs = gpus and config["hardware"]["price_per_gpu_hour"]
    dollars = budget["max_usd"] is not None or budget["phase_usd"] is not None
    return bool((costs and dollars) or (gpus and budget["max_gpu_hours"] is not None))


def refuse(plan: Plan) -> None:
    """ValueError where the plan's estimate is above a limit, or a limit cannot be held against it.

    A limit of a phase is held against what is known: the ledger tells of the rest afterwards.
    """
    for key, found, unit in (
        ("max_usd", plan.usd, "dollars"),
        ("max_gpu_hours", plan.gpu_hours, "GPU-hours"),
    ):
        limits = [config["budget"][key] for config in plan.configs.values()]
        limit = min((limit for limit in limits if limit is not None), default=None)
        if limit is None:
            continue
        if found > limit:
            raise ValueError(f"budget.{key}={limit:g}: the estimate is {found:.2f} {unit}")
        if plan.unknown:
            label = plan.unknown[0]
            raise ValueError(
                f"budget.{key}={limit:g}: cannot be held, no recorded run tells how long "
                f"{label} takes ({', '.join(plan.estimates[label].unknown)}); {CALIBRATE}"
            )
    _refuse_phases(plan)


def _refuse_phases(plan: Plan) -> None:
    """What phases have used, and what this would add to it."""
    for phase, (limit, file) in phases(plan).items():
        if limit is None:
            continue
        used = ledger.used_usd(ledger.read(file), phase)
        more = sum(
            plan.usd_of(label)
            for label, config in plan.configs.items()
            if config["budget"]["phase"] == phase
        )
        if used + more > limit:
            raise ValueError(
                f"budget.phase_usd={limit:g}: {phase} has used {used:.2f} dollars ({file}), "
                f"the estimate is {more:.2f} more"
            )


def phases(plan: Plan) -> dict[str, tuple[float | None, Path]]:
    """Limit in dollars, and ledger, of every phase that the plan's runs belong to."""
    budgets = [config["budget"] for config in plan.configs.values()]
    return {
        budget["phase"]: (budget["phase_usd"], Path(budget["ledger"]))
        for budget in budgets
        if budget["phase"] is not None
    }
