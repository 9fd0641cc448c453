"""The plan of a sweep, made by the launcher before it starts anything."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig

from hydra_plugins._rlcotrain_points import Outcomes, Point
from rlcotrain.signature import signature

if TYPE_CHECKING:
    from rlcotrain.plan.plan import Plan


@dataclass(frozen=True, kw_only=True)
class Planner:
    """How the points of a sweep would be run.

    resources: of one point, as submitit takes them. resolved: configurations by label.
    check: resolves a configuration, ValueError where it cannot run. run: runs points by signature.
    """

    folder: Path
    executor: str
    parallel: int | None
    resources: Mapping[str, Any]
    resolved: Mapping[str, dict[str, Any]]
    check: Callable[[DictConfig], dict[str, Any]]
    run: Callable[[Mapping[str, Point]], Outcomes]

    def plan(self, points: Mapping[str, Point]) -> Plan:
        """What the points take; measured first where `estimate.calibrate` asks for it."""
        from rlcotrain.plan.ahead import look_ahead

        by_label = {point.label: point for point in points.values()}
        apart = self.executor != "inline"
        return look_ahead(
            {label: self.resolved[label] for label in by_label},
            self.parallel if apart else 1,
            apart,
            lambda labels: self._calibrate([by_label[label] for label in labels]),
        )

    def hold_budget(self, points: Mapping[str, Point]) -> None:
        """Exit with one line where the estimate is above a limit that these points could reach."""
        from rlcotrain.plan.budget import binds, refuse

        configs = [self.resolved[point.label] for point in points.values()]
        if any(binds(config) or config["estimate"]["calibrate"] for config in configs):
            try:
                refuse(self.plan(points))
            except ValueError as error:
                sys.exit(f"nothing was started: {error}")

    def say(self, points: Mapping[str, Point]) -> None:
        """Print the plan, and the script where SLURM would run it; then as `hold_budget`."""
        from rlcotrain.plan.budget import refuse
        from rlcotrain.plan.report import report

        plan = self.plan(points)
        print(f"\n{report(plan, self._asks())}", flush=True)
        if self.executor == "slurm":
            from hydra_plugins._rlcotrain_script import sbatch_script

            logs = self.folder / ".submitit"
            print(
                f"\n{sbatch_script(logs, len(points), self.parallel, self.resources)}", flush=True
            )
        try:
            refuse(plan)
        except ValueError as error:
            sys.exit(f"this sweep would be refused: {error}")

    def _asks(self) -> str:
        """What a point asks for, as `1 GPUs, 8 CPUs, 64 GB, 1440 min`."""
        if self.executor == "inline":
            return "this process"
        units = {"gpus_per_node": "GPUs", "cpus_per_task": "CPUs", "mem_gb": "GB"}
        asked = {unit: self.resources.get(key) for key, unit in units.items()}
        numbers = [f"{number:g} {unit}" for unit, number in asked.items() if number]
        return ", ".join([*numbers, f"{self.resources['timeout_min']} min"])

    def _calibrate(self, points: Sequence[Point]) -> None:
        """Run a few steps of each, as the points themselves would run. Exits if any fails."""
        from rlcotrain.plan.calibrate import folder_of, shortened
        from rlcotrain.plan.plan import prelude_kept

        short: dict[str, Point] = {}
        for point in points:
            whole = self.resolved[point.label]
            config = shortened(point.config, prelude_kept(whole))
            name = signature(self.check(config))
            folder = folder_of(whole, name).absolute()
            config.hydra.sweep.dir, config.hydra.sweep.subdir = str(folder.parent), name
            label = f"calibration of {point.label}"
            short[name] = Point(label, config, point.task, point.context)
        failed = [f"  {short[name].label}: {why}" for name, why in self.run(short) if why]
        if failed:
            sys.exit("\n".join(["nothing was started, no estimate could be made:", *failed]))
