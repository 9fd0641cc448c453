"""Results of a prelude, kept by the signature of all that they depend on.

Sweep points and later runs that share a prelude (the same imitation, say) load what it gave: the
policies, and the lines it wrote. One run pays; others that start meanwhile wait for it.
"""

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch


class Kept:
    """`folder/<signature>/` holds state.pt and metrics.jsonl, complete or not there."""

    def __init__(self, folder: Path, signature: str) -> None:
        self.folder = folder / signature
        self._lock = folder / f"{signature}.lock"

    def load(self) -> tuple[dict[str, Any], bytes] | None:
        """(state, lines) of the prelude, None where nobody has paid yet."""
        if not self.folder.exists():
            return None
        state = torch.load(self.folder / "state.pt", map_location="cpu", weights_only=False)
        return state, (self.folder / "metrics.jsonl").read_bytes()

    def save(self, state: dict[str, Any], lines: bytes) -> None:
        """Keep a prelude's result; the first one stays."""
        aside = self.folder.with_name(f".{self.folder.name}.{os.getpid()}")
        aside.mkdir(parents=True)
        torch.save(state, aside / "state.pt")
        (aside / "metrics.jsonl").write_bytes(lines)
        if self.folder.exists():
            shutil.rmtree(aside)
        else:
            os.rename(aside, self.folder)

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Hold the place of the one that pays; a dead holder's place is free at once."""
        self._lock.parent.mkdir(parents=True, exist_ok=True)
        with self._lock.open("w") as stream:
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                print("waiting for another run that is paying for the same prelude", flush=True)
                fcntl.flock(stream, fcntl.LOCK_EX)
            yield
