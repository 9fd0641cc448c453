"""What the launcher tells MLflow of a sweep: the run its points hang on, its table, its end."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from hydra_plugins._rlcotrain_points import Point
from rlcotrain.sweep import Sweep

SECONDS_TO_DELIVER = 30.0


@dataclass(frozen=True)
class SweepTracker:
    """The tracker of the sweep in `folder`. One that fails stops nothing, and it is said."""

    tracking: DictConfig
    sweep: Sweep
    folder: Path

    @property
    def live(self) -> bool:
        """Whether it is told while the sweep goes on."""
        return bool(self.tracking.uri is not None and self.tracking.live)

    def open(self, points: Mapping[str, Point]) -> None:
        """Tell every point its sweep and, if the tracker has it already, the sweep's MLflow run."""
        from rlcotrain.tracking import redacted, resolve

        parent = None
        if self.live:
            try:
                parent = self.sweep.parent = self._parent()
            except Exception as error:  # a tracker can throw anything, and stops no sweep
                why = redacted(str(error))
                print(f"MLflow has no run for this sweep yet, its points go on without: {why}")
        told = {"id": self.sweep.id, "name": self.sweep.name}
        for point in points.values():
            uri = point.config.tracking.uri and resolve(point.config.tracking.uri)
            tracking = {"uri": uri, "parent": parent, "sweep": told}
            OmegaConf.update(point.config, "tracking", tracking, force_add=True)

    def close(self, status: str, files: Sequence[Path], finished: Iterable[str]) -> None:
        """Give it the files and the status FINISHED, FAILED or KILLED, and what `finished` points
        of earlier launches still owe. Its run is found again or made: the tracker may have been
        down at the launch, or at the last one."""
        from rlcotrain.tracking import close_sweep, redacted

        if not self.live:
            if self.tracking.uri is not None:
                print(f"to deliver this sweep to MLflow: {self._sync}")
            return
        try:
            self.sweep.parent = self._parent()
            close_sweep(*self._at, self.sweep.parent, status, files)
        except Exception as error:
            why = redacted(str(error))
            print(f"MLflow did not get the table, the same command again delivers it: {why}")
        self.sweep.write(self.folder)
        self._deliver(finished)

    def _deliver(self, finished: Iterable[str]) -> None:
        """What earlier launches still owe the tracker; one failure speaks for all."""
        from rlcotrain.tracking import deliver

        owed = (deliver(self.folder / name, SECONDS_TO_DELIVER) for name in finished)
        if reason := next(filter(None, owed), None):
            print(f"MLflow lacks a part of this sweep ({reason}); to deliver it: {self._sync}")

    def _parent(self) -> str:
        """Id of the sweep's MLflow run, now running."""
        from rlcotrain.provenance import git_tags
        from rlcotrain.tracking import open_sweep

        return open_sweep(*self._at, self.sweep.id, self.sweep.name, git_tags())

    @property
    def _at(self) -> tuple[str, str]:
        from rlcotrain.tracking import resolve

        return resolve(self.tracking.uri), self.tracking.experiment

    @property
    def _sync(self) -> str:
        from rlcotrain.tracking import sync_command

        return sync_command(self.folder)
