"""A sweep's folder -> rows, table, plot. It reads run folders and starts nothing."""

import csv
import json
import os
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

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


@dataclass
class Noted:
    """What a sweep notes of a point; `reason` tells why its last try failed."""

    overrides: list[str]
    reason: str | None = None


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


def read(folder: Path) -> list[Row]:
    """Every point that the folder's sweep ever had, in the order of their first appearance."""
    points = Sweep.read(folder).points
    return [_row(folder / signature, point) for signature, point in points.items()]


def result(folder: Path) -> dict[str, Any]:
    """What a run left in its folder; empty if nothing, or if it is another configuration's."""
    file = folder / "result.json"
    left: dict[str, Any] = json.loads(file.read_text()) if file.exists() else {}
    return left if left.get("signature") == folder.name else {}


def _row(folder: Path, point: Noted) -> Row:
    left = result(folder)
    finished = left.get("status") == "finished"
    reason = None if finished else point.reason or left.get("reason")
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


def varying(rows: Sequence[Row]) -> list[str]:
    """Keys of the overrides in which the rows differ."""
    keys = dict.fromkeys(key for row in rows for key in row.overrides)
    return [key for key in keys if len({row.overrides.get(key) for row in rows}) > 1]


def label(row: Row, keys: Iterable[str]) -> str:
    """`loss=grpo optimizer.lr=1e-6`; the signature where nothing varies."""
    named = [f"{key}={row.overrides[key]}" for key in keys if key in row.overrides]
    return " ".join(named) or row.signature


def table(rows: Sequence[Row]) -> str:
    """The sweep for the screen, one line a point."""
    keys = varying(rows)
    accuracy = [f"{name} {when}" for name in MEASURES for when in ("before", "after")]
    lines = [["point", *keys, *accuracy, "sampled change", "time", "status", "reason"]]
    for row in rows:
        overrides = [row.overrides.get(key, "") for key in keys]
        numbers = [str(row.accuracy.get((at, of), "")) for of in MEASURES for at in MOMENTS[:2]]
        seconds = "" if row.seconds is None else f"{row.seconds:.0f} s"
        end = [_change(row), seconds, row.status, row.reason or ""]
        lines.append([row.signature, *overrides, *numbers, *end])
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    padded = (zip(line, widths, strict=True) for line in lines)
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in line).rstrip() for line in padded
    )


def _change(row: Row) -> str:
    change = row.accuracy.get(("change", "sampled"))
    if change is None:
        return ""
    interval = f"[{change.low:+.3f} {change.high:+.3f}]"
    return f"{change.mean:+.3f} {UNCHANGED if change.verdict() == UNCHANGED else interval}"


def write_csv(rows: Sequence[Row], file: Path) -> None:
    """The table for a program: overrides that vary, every mean with low and high, verdicts."""
    keys = varying(rows)
    with open(file, "w", newline="") as stream:
        numbers = [
            f"{of}_{at}{end}" for of in MEASURES for at in MOMENTS for end in ("", "_low", "_high")
        ]
        verdicts = [f"{of}_verdict" for of in MEASURES]
        writer = csv.writer(stream)
        writer.writerow(["point", *keys, *numbers, *verdicts, "seconds", "status", "reason"])
        for row in rows:
            found = [row.accuracy.get((at, of)) for of in MEASURES for at in MOMENTS]
            values = [
                v for one in found for v in ((one.mean, one.low, one.high) if one else [""] * 3)
            ]
            changes = [row.accuracy.get(("change", of)) for of in MEASURES]
            ends = [change.verdict() if change else "" for change in changes]
            overrides = [row.overrides.get(key, "") for key in keys]
            line = [row.signature, *overrides, *values, *ends, row.seconds, row.status, row.reason]
            writer.writerow(line)


def plot(rows: Sequence[Row], file: Path) -> None:
    """Accuracy before and after with intervals, one line a point; legible up to some 40 points."""
    from matplotlib.figure import Figure

    keys = varying(rows)
    labels = [label(row, keys) for row in rows]
    size = (7.5 + 0.06 * max(map(len, labels)), 1.3 + 0.34 * max(3, len(rows)))  # inches
    figure = Figure(figsize=size, layout="constrained", dpi=150)
    axes = figure.subplots(1, len(MEASURES), sharex=True, sharey=True)
    for axis, measure in zip(axes, MEASURES, strict=True):
        _panel(axis, rows, measure)
    axes[0].set_yticks(range(len(rows)), labels, fontsize=8)
    axes[0].set_ylim(len(rows) - 0.5, -0.5)
    handles, names = axes[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside upper right", ncols=2, frameon=False, fontsize=8)
    figure.savefig(file)


def _panel(axis: Any, rows: Sequence[Row], measure: Measure) -> None:
    """One measure; colours of Okabe and Ito, shapes differ as well."""
    looks: tuple[tuple[Moment, str, str, str, float], ...] = (
        ("start", "before", "#0072B2", "o", -0.15),
        ("final", "after", "#D55E00", "D", 0.15),
    )
    for moment, name, colour, marker, shift in looks:
        found = [(y, row.accuracy.get((moment, measure))) for y, row in enumerate(rows)]
        shown = [(y + shift, one) for y, one in found if one]
        bars = [[one.mean - one.low for _, one in shown], [one.high - one.mean for _, one in shown]]
        means, heights = [one.mean for _, one in shown], [y for y, _ in shown]
        style = {"color": colour, "markersize": 4, "capsize": 2, "linewidth": 1.2, "label": name}
        axis.errorbar(means, heights, xerr=bars, fmt=marker, **style)
    for y, row in enumerate(rows):
        if row.status != "finished":
            at = axis.get_yaxis_transform()
            axis.text(0.02, y, row.status, transform=at, va="center", fontsize=8, color="#555555")
    axis.set_title(f"{measure} accuracy, 95 % intervals", fontsize=9, loc="left")
    axis.grid(axis="x", color="#dddddd", linewidth=0.6)
    axis.set_axisbelow(True)
    axis.spines[["top", "right", "left"]].set_visible(False)
    axis.tick_params(axis="y", length=0)
