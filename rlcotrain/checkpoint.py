"""The whole state of a run, saved aside and renamed, restored exactly.

checkpoints/000040/state.pt   complete or not there: a folder is renamed into place
checkpoints/latest            a file that names the newest, replaced last
checkpoints/best              a file that names the best by `metric`
"""

import os
import shutil
from pathlib import Path
from typing import Any

import torch


class Checkpoints:
    """Keeps the last `keep` states and the best by `metric`, saving every `every` steps."""

    def __init__(self, folder: Path, every: int, keep: int, metric: str) -> None:
        for key, value in (("every", every), ("keep", keep)):
            if value < 1:
                raise ValueError(f"checkpoint.{key}={value}: must be 1 or more")
        self.folder = folder / "checkpoints"
        self.every, self.keep, self.metric = every, keep, metric

    def save(self, state: dict[str, Any], step: int, best: bool = False) -> None:
        """Write the state of a run that has done `step` steps."""
        name = f"{step:06d}"
        if self._pointed("latest") == name:
            return  # a signal came in a step that had been saved already
        target, aside = self.folder / name, self.folder / f".saving-{name}"
        for leftover in self.folder.glob(".saving-*"):
            shutil.rmtree(leftover)
        aside.mkdir(parents=True)
        _write(state, aside / "state.pt")
        # A folder cannot be renamed over another. One that is there is of an earlier life of this
        # run: a kill came between its renaming and its naming in `latest`.
        if target.exists():
            shutil.rmtree(target)
        os.rename(aside, target)
        # `latest` comes last: it alone says where a run goes on, so what a kill leaves undone
        # before it, the best included, is done again.
        if best:
            self._point("best", name)
        self._point("latest", name)
        self._prune()

    def load(self) -> dict[str, Any] | None:
        """The newest state, None where none was saved."""
        name = self._pointed("latest")
        if name is None:
            return None
        state: dict[str, Any] = torch.load(
            self.folder / name / "state.pt", map_location="cpu", weights_only=False
        )
        return state

    def _prune(self) -> None:
        saved = sorted(path.name for path in self.folder.iterdir() if path.name.isdigit())
        kept = {self._pointed("latest"), self._pointed("best"), *saved[-self.keep :]}
        for name in saved:
            if name not in kept:
                shutil.rmtree(self.folder / name)

    def _point(self, pointer: str, name: str) -> None:
        aside = self.folder / f".{pointer}"
        aside.write_text(name + "\n")
        os.replace(aside, self.folder / pointer)

    def _pointed(self, pointer: str) -> str | None:
        file = self.folder / pointer
        return file.read_text().strip() if file.exists() else None


def _write(state: dict[str, Any], file: Path) -> None:
    """Surely on the disk, or no folder and an OSError."""
    try:
        with file.open("wb") as stream:
            torch.save(state, stream)
            stream.flush()
            os.fsync(stream.fileno())
    except (OSError, RuntimeError) as error:
        shutil.rmtree(file.parent)
        hidden = error.__context__  # torch says "unexpected pos" where the disk said "no space"
        raise hidden if isinstance(hidden, OSError) else error from None
