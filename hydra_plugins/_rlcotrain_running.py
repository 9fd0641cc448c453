"""A sweep's unfinished points, run by whoever is asked to, each outcome noted as it comes."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hydra_plugins._rlcotrain_local import Local, run_here
from hydra_plugins._rlcotrain_points import Point
from hydra_plugins._rlcotrain_slurm import Slurm
from rlcotrain import sweep
from rlcotrain.snapshot import snapshot
from rlcotrain.sweep.screen import Screen, agreed
from rlcotrain.sweep.standing import LOGS
from rlcotrain.sweep.watch import Runner, watch

EXECUTORS = ("inline", "local", "slurm")


class Running:
    """Of `points` in a sweep's folder; `noted` is told what became of each."""

    def __init__(self, folder: Path, noted: sweep.Sweep, points: Mapping[str, Point]) -> None:
        self.folder, self.noted, self.points = folder, noted, points
        self._screen = Screen()
        self._ended = 0

    def run(self, executor: str, resources: Mapping[str, Any], detach: bool) -> bool:
        """Whether it came to its end; false if it was interrupted."""
        if executor == "slurm":
            return self._on_slurm(resources, detach)
        try:
            if executor == "local":
                local = Local(self.folder / LOGS, resources, snapshot(self.folder))
                with local.running(self.points):
                    self._watch(local)
            else:
                for name, reason in run_here(self.points):
                    self._note(name, reason)
        except KeyboardInterrupt:
            return False
        return True

    def _on_slurm(self, resources: Mapping[str, Any], detach: bool) -> bool:
        """Submit what no job is at, and watch; false if the jobs were cancelled."""
        slurm = Slurm(self.folder / LOGS, resources, self.noted, snapshot(self.folder))
        active = slurm.active(self.points)
        if fresh := {name: point for name, point in self.points.items() if name not in active}:
            for name in fresh:  # of a try that failed; it would look like this one's
                (self.folder / name / "result.json").unlink(missing_ok=True)
            slurm.submit(fresh)
            self.noted.write(self.folder)
        print(f"{len(fresh)} points submitted, {len(active)} wait or run already", flush=True)
        look = f"look with: make status SWEEP={self.noted.name}"
        if detach:
            print(look)
            sys.exit(0)
        try:
            self._watch(slurm)
        except KeyboardInterrupt:
            left = slurm.active(self.points)
            if not agreed(f"cancel the {len(left)} jobs that have not ended?"):
                sys.exit(f"the jobs go on; {look}; the same command watches them again")
            slurm.cancel(left)
            return False
        return True

    def _watch(self, runner: Runner) -> None:
        for one in watch(self.folder, self.noted, set(self.points), runner, self._screen):
            self._note(one.signature, one.reason)

    def _note(self, name: str, reason: str | None) -> None:
        """Note why a point failed, if it did, and say what became of it."""
        if reason is None and not sweep.finished(self.folder / name):
            reason = "it ended without a result"
        self.noted.points[name].reason = reason
        self.noted.write(self.folder)
        self._ended += 1
        row = next(row for row in sweep.read(self.folder) if row.signature == name)
        before, after = (row.accuracy.get((at, "sampled")) for at in sweep.MOMENTS[:2])
        found = f", sampled accuracy {before} -> {after}" if before and after else ""
        why = f": {row.reason}" if row.reason else ""
        at = f"[{self._ended}/{len(self.points)}]"
        self._screen.say(f"{at} {self.points[name].label} {row.status}{found}{why}")
