"""Results of a prelude, kept by the signature of all that they depend on.

Sweep points and later runs that share a prelude (the same imitation, say) load what it gave: the
policies, and the lines it wrote. One run computes it; others that start meanwhile wait for it.
"""

import fcntl
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from rlcotrain import stored
from rlcotrain.files import place, sync
from rlcotrain.screen import say


class Kept:
    """`folder/<signature>/` holds state.pt, the line files and their digests: whole or not there.

    A folder that cannot be written is used as it is: nothing more is kept there.
    """

    def __init__(self, folder: Path, signature: str) -> None:
        self.folder = folder / signature
        self._aside = folder / f".{signature}"
        self._damaged = folder / f"{signature}.damaged"
        self._lock = folder / f"{signature}.lock"
        self._mine = False

    def load(self) -> tuple[dict[str, Any], dict[str, bytes]] | None:
        """(state, lines by file) of the prelude, None where it has to be computed: nothing is kept
        yet, or what is kept is damaged, which is then set aside."""
        if not self.folder.exists():
            return None
        try:
            state = stored.load(self.folder)
            return state, {file.name: file.read_bytes() for file in self.folder.glob("*.jsonl")}
        except (ValueError, OSError) as error:
            say(
                f"warning: the kept prelude cannot be used: {' '.join(str(error).split())}; "
                f"{self._set_aside()}, and the prelude is computed again"
            )
            return None

    def save(self, state: dict[str, Any], lines: Mapping[str, bytes]) -> None:
        """Keep a prelude's result; the first one stays. Another's turn, or a full disk: do not."""
        if not self._mine or self.folder.exists():
            return
        shutil.rmtree(self._aside, ignore_errors=True)  # what a kill left
        try:
            self._aside.mkdir()
            for name, text in lines.items():
                (self._aside / name).write_bytes(text)
            stored.save(self._aside, state)
            place(self._aside, self.folder)
        except (OSError, ValueError) as error:
            shutil.rmtree(self._aside, ignore_errors=True)
            say(f"the prelude was not kept in {self.folder}: {error}")

    @contextmanager
    def turn(self, wait: bool) -> Iterator[None]:
        """Hold the place of the one that computes; a dead holder's place is free at once.

        Without `wait` it is held only where it is free.
        """
        try:
            self._lock.parent.mkdir(parents=True, exist_ok=True)
            stream = self._lock.open("w")
        except OSError as error:
            say(f"warning: cache_dir cannot be written, no prelude is kept there: {error}")
            yield
            return
        with stream:
            self._mine = _locked(stream, fcntl.LOCK_NB)
            if wait and not self._mine:
                say("waiting for another run that is computing the same prelude")
                self._mine = _locked(stream, 0)
            try:
                yield
            finally:
                self._mine = False

    def _set_aside(self) -> str:
        """What became of a folder that is no use: the newest of them stays to be looked at."""
        if not self._mine:
            return "it stays where it is"
        try:
            shutil.rmtree(self._damaged, ignore_errors=True)
            os.rename(self.folder, self._damaged)
            sync(self.folder.parent)
        except OSError as error:
            return f"it stays where it is ({error})"
        return f"it is set aside as {self._damaged.name}"


def _locked(stream: IO[str], how: int) -> bool:
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | how)
    except BlockingIOError:
        return False
    return True
