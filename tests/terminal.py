"""A terminal of 40 lines and 160 columns, and what stands on it."""

import os
import pty
import threading
from collections.abc import Iterator
from contextlib import contextmanager

SIZE = {"LINES": "40", "COLUMNS": "160"}


class Terminal:
    """`end` is for the other process; what it writes gathers in `text`."""

    def __init__(self) -> None:
        self._ours, self.end = pty.openpty()
        self.text = ""
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def type(self, text: str) -> None:
        os.write(self._ours, text.encode())

    def _read(self) -> None:
        while True:
            try:
                self.text += os.read(self._ours, 4096).decode(errors="replace")
            except OSError:  # nobody holds the other end any more
                return

    def close(self) -> None:
        """Wait for what is still on its way."""
        os.close(self.end)
        self._reader.join(10)
        os.close(self._ours)


@contextmanager
def terminal() -> Iterator[Terminal]:
    made = Terminal()
    try:
        yield made
    finally:
        made.close()
