"""The whole state of a run, saved aside and renamed, restored exactly.

checkpoints/000040/state.pt     complete or not there: a folder is renamed into place
checkpoints/000040/SHA256SUMS   its digest, checked before it is read
checkpoints/latest              a file that names the newest, replaced last
checkpoints/best                a file that names the best by `metric`
"""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from rlcotrain import stored
from rlcotrain.files import place, write
from rlcotrain.screen import say


class Checkpoints:
    """Keeps the last `keep` states and the best by `metric`, saving every `every` steps."""

    def __init__(self, folder: Path, every: int, keep: int, metric: str) -> None:
        for key, value in (("every", every), ("keep", keep)):
            if value < 1:
                raise ValueError(f"checkpoint.{key}={value}: must be 1 or more")
        self.folder = folder / "checkpoints"
        self.every, self.keep, self.metric = every, keep, metric
        self._whole: str | None = None  # the newest that this process wrote or read

    def save(self, state: dict[str, Any], step: int, best: bool = False) -> None:
        """Write the state of a run that has done `step` steps."""
        name = f"{step:06d}"
        if self._pointed("latest") == name == self._whole:
            return  # a signal came in a step that had been saved already
        target, aside = self.folder / name, self.folder / f".saving-{name}"
        for leftover in self.folder.glob(".saving-*"):
            shutil.rmtree(leftover)
        aside.mkdir(parents=True)
        try:
            stored.save(aside, state)
        except BaseException:
            shutil.rmtree(aside)
            raise
        # A folder cannot be renamed over another. One that is there is damaged, or of an earlier
        # life of this run: a kill came between its renaming and its naming in `latest`.
        if target.is_dir():
            shutil.rmtree(target)
        target.unlink(missing_ok=True)
        # `latest` comes last: it says where a run goes on, so what a kill leaves undone before it
        # is done again. Where it is lost the newest state counts, whose best must be named by then.
        if best:
            self._point("best", name)
        place(aside, target)
        self._point("latest", name)
        self._whole = name
        self._prune()

    def load(
        self, check: Callable[[dict[str, Any]], None] = lambda state: None
    ) -> dict[str, Any] | None:
        """The newest state, None where none was saved.

        One that is damaged, or that `check` refuses by a ValueError, is named and the next older
        one is used. ValueError where none is left.
        """
        refused = list(self._pointer_faults())
        for name in self._candidates():
            try:
                state = stored.load(self.folder / name)
                check(state)
            except (ValueError, OSError) as error:
                refused.append(" ".join(str(error).split()))
                continue
            if refused:
                say(f"warning: {'; '.join(refused)}; going on from {self.folder / name} instead")
            self._whole = name
            return state
        if not refused:
            return None
        raise ValueError(
            f"{'; '.join(refused)}; no whole checkpoint is left: restore one, or delete "
            f"{self.folder} to start this run over, or choose another folder="
        )

    def _pointer_faults(self) -> Iterator[str]:
        latest, name = self.folder / "latest", self._pointed("latest")
        if name is None and (latest.exists() or self._saved()):
            yield f"{latest}: {'names no checkpoint' if latest.exists() else 'missing'}"
        elif name is not None and not (self.folder / name).is_dir():
            yield f"{latest}: names {name}, which is not there"

    def _candidates(self) -> Iterator[str]:
        """The one that `latest` names, then the others, the newest first."""
        latest = self._pointed("latest")
        if latest is not None and (self.folder / latest).is_dir():
            yield latest
        yield from (name for name in reversed(self._saved()) if name != latest)

    def _saved(self) -> list[str]:
        names = (path.name for path in self.folder.glob("[0-9]*") if path.is_dir())
        return sorted((name for name in names if name.isdigit()), key=int)

    def _prune(self) -> None:
        """Drop older states, and newer ones: of a life whose lines this one has cut."""
        assert self._whole is not None, "a state has just been saved"
        older = [name for name in self._saved() if int(name) <= int(self._whole)]
        kept = {self._pointed("best"), *older[-self.keep :]}
        for name in self._saved():
            if name not in kept:
                shutil.rmtree(self.folder / name)

    def _point(self, pointer: str, name: str) -> None:
        write(self.folder / pointer, name + "\n")

    def _pointed(self, pointer: str) -> str | None:
        """The name in a pointer's file; what no save wrote there is none."""
        file = self.folder / pointer
        if not file.exists():
            return None
        name = file.read_text(encoding="utf-8", errors="replace").strip()
        return name if name.isdigit() else None
