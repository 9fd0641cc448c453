"""`mlflow.json` in a run folder: how far its delivery has come."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import BinaryIO

from rlcotrain.files import read_json, write_json

FILE = "mlflow.json"
MARKS = 64  # places in metrics.jsonl that are remembered, dense at the end and thin before

Mark = tuple[int, str]  # offset in metrics.jsonl, digest of what precedes it


@dataclass(frozen=True)
class Receipt:
    """Losing it costs work, never a number.

    A resume cuts metrics.jsonl and writes on, so the marks tell how much of the file still is what
    was sent. All of it could be sent again, but repeats cost MLflow ten times what new numbers do.
    """

    run_id: str | None = None
    parameters: bool = False
    marks: list[Mark] = field(default_factory=list)
    finished: str | None = None  # the status that the run ended with
    reason: str | None = None  # why the last try failed

    def __post_init__(self) -> None:
        """TypeError where a file held something else."""
        texts = (self.run_id, self.finished, self.reason)
        if not all(isinstance(text, str | None) for text in texts):
            raise TypeError("run_id, finished and reason are texts")
        if not all(isinstance(end, int) and isinstance(digest, str) for end, digest in self.marks):
            raise TypeError("marks are pairs of an offset and a digest")

    @classmethod
    def read(cls, folder: Path) -> Receipt:
        """The folder's receipt; one that cannot be read is none, and that is told."""
        try:
            return cls(**(read_json(folder / FILE) or {}))
        except (ValueError, TypeError) as error:
            print(f"warning: no receipt, all is delivered again: {folder / FILE}: {error}")
            return cls()

    def write(self, folder: Path) -> None:
        """A crash leaves the old one or the new one."""
        write_json(folder / FILE, asdict(self))

    @property
    def delivered(self) -> int:
        """Bytes of metrics.jsonl that were sent."""
        return self.marks[-1][0] if self.marks else 0

    def marked(self, stream: BinaryIO) -> list[Mark]:
        """The marks and one more, where the stream stands."""
        end, old = stream.tell(), self.marks
        if len(old) >= MARKS:
            old = old[: -MARKS // 2 : 2] + old[-MARKS // 2 :]
        return [*old, (end, _digest(stream, end))]

    def as_far_as_true(self, stream: BinaryIO) -> Receipt:
        """With the marks up to which the file still is what was sent."""
        count = len(self.marks)
        while count and _digest(stream, self.marks[count - 1][0]) != self.marks[count - 1][1]:
            count -= 1
        if count < len(self.marks):
            print(f"metrics.jsonl was cut: {count} of {len(self.marks)} marks hold", flush=True)
        return replace(self, marks=self.marks[:count])


def _digest(stream: BinaryIO, end: int) -> str:
    """Of the 4 KiB (a few lines) before `end`, where it leaves the stream."""
    start = max(0, end - 4096)
    stream.seek(start)
    return hashlib.sha256(stream.read(end - start)).hexdigest()[:16]
