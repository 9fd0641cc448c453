"""What became of a sweep: a picture."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rlcotrain.sweep.rows import MEASURES, Measure, Moment, Row, label, varying


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
