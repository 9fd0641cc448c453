"""How far a run has come, from its metrics.jsonl; only what is new is read."""

import json
from pathlib import Path

REWARD = "generator/reward/outcome"


class Progress:
    """Steps done by the run of a folder, and the newest reward."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "metrics.jsonl"
        self._read = 0  # bytes
        self.steps = 0
        self.reward: float | None = None

    def update(self) -> "Progress":
        """Read on. A resumed run cuts its file: then from the start."""
        size = self._file.stat().st_size if self._file.exists() else 0
        if size < self._read:
            self._read, self.steps, self.reward = 0, 0, None
        if size == self._read:
            return self
        with self._file.open("rb") as stream:
            stream.seek(self._read)
            new = stream.read(size - self._read)
        whole = new[: new.rfind(b"\n") + 1]
        self._read += len(whole)
        for line in map(json.loads, whole.splitlines()):
            self.steps += line["phase"] != "evaluate"
            self.reward = line.get(REWARD, self.reward)
        return self
