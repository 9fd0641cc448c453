"""The plan of a sweep, or of one run: what it takes, before anything is started."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from rlcotrain.build import prelude_signature
from rlcotrain.kept import Kept
from rlcotrain.plan.estimate import Estimate, estimate, schedule
from rlcotrain.plan.ledger import occupied
from rlcotrain.plan.recorded import Timing


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Runs by label, `width` of them at once. Times are in seconds.

    wall: from the first start to the last end, waiting in a queue not counted.
    taken: how long each run has its machine to itself.
    """

    configs: Mapping[str, Mapping[str, Any]]
    estimates: Mapping[str, Estimate]
    width: int
    wall: float
    taken: Mapping[str, float]

    def gpu_hours_of(self, label: str) -> float:
        return occupied(self.configs[label])[0] * self.taken[label] / 3600

    def cpu_hours_of(self, label: str) -> float:
        return occupied(self.configs[label])[1] * self.taken[label] / 3600

    def usd_of(self, label: str) -> float:
        price: float = self.configs[label]["hardware"]["price_per_gpu_hour"]
        return self.gpu_hours_of(label) * price

    @cached_property
    def gpu_hours(self) -> float:
        return sum(map(self.gpu_hours_of, self.configs))

    @cached_property
    def cpu_hours(self) -> float:
        return sum(map(self.cpu_hours_of, self.configs))

    @cached_property
    def usd(self) -> float:
        return sum(map(self.usd_of, self.configs))

    @property
    def unknown(self) -> list[str]:
        """Labels of the runs whose estimate lacks something."""
        return [label for label, found in self.estimates.items() if found.unknown]


def make_plan(
    configs: Mapping[str, Mapping[str, Any]],
    timings: list[Timing],
    width: int | None,
    apart: bool,
) -> Plan:
    """The plan of runs, given as resolved configurations by label; `width` None: all at once.

    apart: whether each run has a process of its own.
    """
    width = min(width or len(configs), len(configs))
    estimates = {
        label: estimate(config, timings, prelude_kept(config)) for label, config in configs.items()
    }
    preludes = [prelude_signature(config) for config in configs.values()]
    wall, taken = schedule(list(estimates.values()), preludes, width, apart)
    return Plan(
        configs=configs,
        estimates=estimates,
        width=width,
        wall=wall,
        taken=dict(zip(configs, taken, strict=True)),
    )


def prelude_kept(config: Mapping[str, Any]) -> bool:
    """Whether somebody has paid for the prelude of a resolved configuration."""
    return Kept(Path(config["cache_dir"]) / "prelude", prelude_signature(config)).folder.exists()
