"""`sweep.json`: what a sweep knows of itself beyond the folders of its runs."""

import uuid
from dataclasses import asdict, dataclass
from pathlib import Path

from rlcotrain.files import RESTORE, read_json, write_json


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
        """The sweep of a folder, a new one where there is none.

        ValueError, naming the file, where it cannot be read.
        """
        noted = read_json(folder / "sweep.json")
        if noted is None:
            return cls(id=uuid.uuid4().hex, name=folder.name, parent=None, points={})
        try:
            points = {signature: Noted(**point) for signature, point in noted.pop("points").items()}
            return cls(**noted, points=points)
        except (KeyError, TypeError, AttributeError):
            raise ValueError(
                f"{folder / 'sweep.json'}: is not what a sweep writes there; {RESTORE}"
            ) from None

    def write(self, folder: Path) -> None:
        write_json(folder / "sweep.json", asdict(self))
