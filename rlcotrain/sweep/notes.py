"""`sweep.json`: what a sweep knows of itself beyond the folders of its runs."""

import json
import os
import uuid
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass
class Noted:
    """What a sweep notes of a point.

    reason: why its last try failed; steps: of the whole run; job: SLURM's id of its newest job.
    """

    overrides: list[str]
    reason: str | None = None
    steps: int | None = None
    job: str | None = None


@dataclass
class Sweep:
    """`sweep.json`: the points of a folder, and the MLflow run they hang on."""

    id: str
    name: str
    parent: str | None
    points: dict[str, Noted]  # by signature

    @classmethod
    def read(cls, folder: Path) -> "Sweep":
        """The sweep of a folder, a new one where there is none."""
        file = folder / "sweep.json"
        if not file.exists():
            return cls(id=uuid.uuid4().hex, name=folder.name, parent=None, points={})
        noted = json.loads(file.read_text())
        points = {signature: Noted(**point) for signature, point in noted.pop("points").items()}
        return cls(**noted, points=points)

    def write(self, folder: Path) -> None:
        aside = folder / "sweep.json.new"
        aside.write_text(json.dumps(asdict(self), indent=1))
        os.replace(aside, folder / "sweep.json")
