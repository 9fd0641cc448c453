"""The plan of a sweep, made by the launcher before it starts anything."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra_plugins._rlcotrain_points import Point, plain
from rlcotrain.signature import signature

if TYPE_CHECKING:
    from rlcotrain.plan.plan import Plan


@dataclass(frozen=True, kw_only=True)
class Planner:
    """How the points of a sweep would be run.

    resources: of the launcher. run: runs points, by signature, as a sweep in a folder.
    """

    folder: Path
    executor: str
    resources: Mapping[str, Any]
    run: Callable[[Mapping[str, Point], Path], None]

    def plan(self, points: Mapping[str, Point]) -> Plan:
        """What the points take; measured first where `estimate.calibrate` asks for it."""
        from rlcotrain.plan.ahead import look_ahead

        by_label = {point.label: point for point in points.values()}
        configs = {label: point.resolved for label, point in by_label.items()}
        apart = self.executor != "inline"

        def calibrate(labels: Sequence[str]) -> None:
            self._calibrate({label: by_label[label] for label in labels}, configs)

        return look_ahead(configs, self.resources["parallel"] if apart else 1, apart, calibrate)

    def hold_budget(self, points: Mapping[str, Point]) -> None:
        """Exit with one line where the estimate is above a limit that these points could reach."""
        from rlcotrain.plan.budget import binds, refuse

        configs = [point.resolved for point in points.values()]
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
            from hydra_plugins._rlcotrain_slurm import script

            print(f"\n{script(self.folder, self.resources, len(points))}", flush=True)
        try:
            refuse(plan)
        except ValueError as error:
            sys.exit(f"this sweep would be refused: {error}")

    def _asks(self) -> str:
        """What a point asks of SLURM, as `1 node, 8 GPUs, 12 CPUs a task, 96 GB, 1440 min`."""
        if self.executor != "slurm":
            return "this process" if self.executor == "inline" else "a process of its own"
        nodes, gpus = self.resources["nodes"], self.resources["gpus_per_node"]
        units = {"cpus_per_task": "CPUs a task", "mem_gb": "GB", "timeout_min": "min"}
        asked = {unit: self.resources[key] for key, unit in units.items()}
        return ", ".join(
            [
                f"{nodes} node{'s' * (nodes != 1)}",
                *([f"{gpus} GPU{'s' * (gpus != 1)} each"] if gpus else []),
                *(f"{number:g} {unit}" for unit, number in asked.items() if number is not None),
            ]
        )

    def _calibrate(self, points: Mapping[str, Point], configs: Mapping[str, Any]) -> None:
        """Run a few steps of each, where and as the points themselves would run."""
        from rlcotrain.plan.calibrate import folder_of, shortened
        from rlcotrain.plan.plan import prelude_kept

        short: dict[str, Point] = {}
        for label, point in points.items():
            folder = folder_of(configs[label]).absolute()
            config = shortened(point.config, prelude_kept(configs[label]))
            given = plain(config)
            name = signature(given)
            config.hydra.sweep.dir, config.hydra.sweep.subdir = str(folder), name
            config.tracking.label = f"calibration of {label}"
            short[name] = replace(point, label=config.tracking.label, config=config, resolved=given)
        self.run(short, folder)
