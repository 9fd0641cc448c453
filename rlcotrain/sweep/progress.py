"""How far a run has come, from its metrics.jsonl; only what is new is read."""

from pathlib import Path

from rlcotrain.files import CUT, parse

REWARD = "generator/reward/outcome"


class Progress:
    """Steps done by the run of a folder, and the newest reward. fault: why they are unknown."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "metrics.jsonl"
        self._read = 0  # bytes
        self.steps = 0
        self.reward: float | None = None
        self.fault: str | None = None

    def update(self) -> "Progress":
        """Read on. A resumed run cuts its file: then from the start."""
        size = self._file.stat().st_size if self._file.exists() else 0
        if size < self._read or self.fault:
            self._read, self.steps, self.reward, self.fault = 0, 0, None, None
        if size == self._read:
            return self
        with self._file.open("rb") as stream:
            stream.seek(self._read)
            new = stream.read(size - self._read)
        whole = new[: new.rfind(b"\n") + 1]
        self._read += len(whole)
        try:
            for line in whole.splitlines():
                values = parse(line, f"{self._file}", CUT)
                self.steps += values.get("phase") != "evaluate"
                self.reward = values.get(REWARD, self.reward)
        except ValueError as error:
            self.fault = str(error)
        return self
