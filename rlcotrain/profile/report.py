"""The parts of a run as people read them (profile.md) and as programs do (profile.json)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rlcotrain.files import write_json
from rlcotrain.profile.parts import Part, Parts
from rlcotrain.profile.parts import Path as Where

COLUMNS = ("part", "calls", "seconds a call", "seconds", "share", "tokens/s", "MFU")


def write(folder: Path, parts: Parts, machine: Mapping[str, Any]) -> None:
    """machine: what it ran on, `peak_tflops` among it."""
    peak = machine["peak_tflops"] * 1e12
    tables = {path[0]: table(parts, path[0], peak) for path in parts.found if len(path) == 1}
    write_json(folder / "profile.json", {**machine, "parts": tables})
    lines = ["# Where the time goes", ""]
    lines += [f"{key.replace('_', ' ')}: {_number(value)}  " for key, value in machine.items()]
    for name, rows in tables.items():
        lines += ["", f"## {name}", "", _line(COLUMNS), "|---|" + "---:|" * (len(COLUMNS) - 1)]
        lines += [_line(_cells(row)) for row in rows]
    lines += ["", "A part's share is of the first line. MFU: model FLOPs a second of the peak."]
    (folder / "profile.md").write_text("\n".join(lines) + "\n")


def table(parts: Parts, root: str, peak: float) -> list[dict[str, Any]]:
    """A row a part of `root`, outer ones before what is within; what no part names is `other`."""
    whole = parts.found[(root,)].seconds
    rows: list[dict[str, Any]] = []

    def add(path: Where, part: Part) -> None:
        rows.append(
            {
                "part": "/".join(path[1:]) or root,
                "depth": len(path) - 1,
                "calls": part.calls,
                "seconds": part.seconds,
                "share": part.seconds / whole,
                "tokens_per_second": part.tokens / part.seconds if part.tokens else None,
                "mfu": part.flops / part.seconds / peak if part.flops else None,
            }
        )

    def descend(path: Where) -> None:
        add(path, part := parts.found[path])
        within = [below for below in parts.found if below[:-1] == path]
        for below in within:
            descend(below)
        if within:
            rest = part.seconds - sum(parts.found[below].seconds for below in within)
            add((*path, "other"), Part(calls=part.calls, seconds=rest))

    descend((root,))
    return rows


def _cells(row: Mapping[str, Any]) -> tuple[str, ...]:
    speed, mfu = row["tokens_per_second"], row["mfu"]
    return (
        "&emsp;" * row["depth"] + row["part"].rpartition("/")[2],
        str(row["calls"]),
        _number(row["seconds"] / row["calls"]),
        _number(row["seconds"]),
        f"{row['share']:.1%}",
        "" if speed is None else f"{speed:,.0f}",
        "" if mfu is None else f"{mfu:.1%}",
    )


def _line(cells: tuple[str, ...]) -> str:
    return f"| {' | '.join(cells)} |"


def _number(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
