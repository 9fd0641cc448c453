"""A sweep's folder -> what became of each point. It reads run folders and starts nothing."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

from rlcotrain.files import read_json
from rlcotrain.sweep.notes import Noted, Sweep

Measure = Literal["sampled", "greedy"]
Moment = Literal["start", "final", "change"]
MEASURES: tuple[Measure, ...] = ("sampled", "greedy")
MOMENTS: tuple[Moment, ...] = ("start", "final", "change")
UNCHANGED = "no change within the interval"


@dataclass(frozen=True, kw_only=True)
class Interval:
    """A mean with its 95 % interval."""

    mean: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.mean:.3f} [{self.low:.3f} {self.high:.3f}]"

    def verdict(self) -> str:
        """Of a change: its sign where the interval leaves 0 out."""
        return UNCHANGED if self.low <= 0 <= self.high else "rise" if self.low > 0 else "fall"


@dataclass(frozen=True, kw_only=True)
class Row:
    """One point of a sweep and what became of it."""

    signature: str
    overrides: dict[str, str]
    status: Literal["finished", "failed", "unfinished"]
    reason: str | None = None
    seconds: float | None = None
    accuracy: dict[tuple[Moment, Measure], Interval] = field(default_factory=dict)


def read(folder: Path) -> list[Row]:
    """Every point that the folder's sweep ever had, in the order of their first appearance."""
    points = Sweep.read(folder).points
    return [_row(folder / signature, point) for signature, point in points.items()]


def result(folder: Path) -> dict[str, Any]:
    """What a run left in its folder; empty if nothing, or if it is another configuration's.

    ValueError, naming the file, where it cannot be read.
    """
    left = read_json(folder / "result.json") or {}
    return left if left.get("signature") == folder.name else {}


def result_or_fault(folder: Path) -> tuple[dict[str, Any], str | None]:
    """As `result`, and why it cannot be read: one point stops no report of the others."""
    try:
        return result(folder), None
    except ValueError as error:
        return {}, str(error)


def finished(folder: Path) -> bool:
    """Whether the run of a folder came to its end."""
    return bool(result(folder).get("status") == "finished")


def _row(folder: Path, point: Noted) -> Row:
    left, fault = result_or_fault(folder)
    finished = left.get("status") == "finished"
    reason = None if finished else point.reason or left.get("reason") or fault
    pairs = (override.partition("=") for override in point.overrides)
    return Row(
        signature=folder.name,
        overrides={key: value for key, _, value in pairs},
        status="finished" if finished else "failed" if reason else "unfinished",
        reason=reason,
        seconds=left.get("seconds"),
        accuracy={
            (moment, measure): Interval(**{key: found[key] for key in ("mean", "low", "high")})
            for moment in MOMENTS
            for measure in MEASURES
            if (found := ((left.get("accuracy") or {}).get(moment) or {}).get(measure))
        },
    )


class Overridden(Protocol):
    """What is known by its overrides."""

    @property
    def signature(self) -> str: ...

    @property
    def overrides(self) -> dict[str, str]: ...


def varying(rows: Sequence[Overridden]) -> list[str]:
    """Keys of the overrides in which the rows differ."""
    keys = dict.fromkeys(key for row in rows for key in row.overrides)
    return [key for key in keys if len({row.overrides.get(key) for row in rows}) > 1]


def label(row: Overridden, keys: Iterable[str]) -> str:
    """`loss=grpo optimizer.lr=1e-6`; the signature where nothing varies."""
    named = [f"{key}={row.overrides[key]}" for key in keys if key in row.overrides]
    return " ".join(named) or row.signature
