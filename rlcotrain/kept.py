"""Results of a prelude, kept by the signature of all that they depend on.

Sweep points and later runs that share a prelude (the same imitation, say) load what it gave: the
policies, and the lines it wrote. One run pays; others that start meanwhile wait for it.
"""

import fcntl
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import torch

from rlcotrain.screen import say


class Kept:
    """`folder/<signature>/` holds state.pt and the line files, complete or not there."""

    def __init__(self, folder: Path, signature: str) -> None:
        self.folder = folder / signature
        self._aside = folder / f".{signature}"
        self._lock = folder / f"{signature}.lock"
        self._mine = False

    def load(self) -> tuple[dict[str, Any], dict[str, bytes]] | None:
        """(state, lines by file) of the prelude, None where nobody has paid yet."""
        if not self.folder.exists():
            return None
        state = torch.load(self.folder / "state.pt", map_location="cpu", weights_only=False)
        return state, {file.name: file.read_bytes() for file in self.folder.glob("*.jsonl")}

    def save(self, state: dict[str, Any], lines: Mapping[str, bytes]) -> None:
        """Keep a prelude's result; the first one stays. Another's turn, or a full disk: do not."""
        if not self._mine or self.folder.exists():
            return
        shutil.rmtree(self._aside, ignore_errors=True)  # what a kill left
        try:
            self._aside.mkdir()
            with (self._aside / "state.pt").open("wb") as stream:
                torch.save(state, stream)
            for name, text in lines.items():
                (self._aside / name).write_bytes(text)
        except (OSError, RuntimeError) as error:
            shutil.rmtree(self._aside, ignore_errors=True)
            say(f"the prelude was not kept in {self.folder}: {error}")
        else:
            os.rename(self._aside, self.folder)

    @contextmanager
    def turn(self, wait: bool) -> Iterator[None]:
        """Hold the place of the one that pays; a dead holder's place is free at once.

        Without `wait` it is held only where it is free.
        """
        self._lock.parent.mkdir(parents=True, exist_ok=True)
        with self._lock.open("w") as stream:
            self._mine = _locked(stream, fcntl.LOCK_NB)
            if wait and not self._mine:
                say("waiting for another run that is paying for the same prelude")
                self._mine = _locked(stream, 0)
            try:
                yield
            finally:
                self._mine = False


def _locked(stream: IO[str], how: int) -> bool:
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | how)
    except BlockingIOError:
        return False
    return True
