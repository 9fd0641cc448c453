"""What became of a sweep: a table for the screen and one for a program."""

import csv
from collections.abc import Sequence
from pathlib import Path

from rlcotrain.sweep.rows import MEASURES, MOMENTS, UNCHANGED, Row, varying


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
