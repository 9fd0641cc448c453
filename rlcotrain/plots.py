"""Training curves of one run, read from its folder."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rlcotrain.record import read_lines

Points = tuple[list[int], list[float]]
PANELS: Sequence[tuple[str, Sequence[tuple[str, str]]]] = (
    ("held-out accuracy", (("accuracy/greedy", "greedy"), ("accuracy/sampled", "sampled"))),
    ("reward of the rollouts", (("generator/reward/outcome", "outcome"),)),
    ("entropy (nats)", (("generator/entropy", "generator"),)),
    (
        "KL (nats)",
        (
            ("generator/approx_kl", "old policy"),
            ("generator/mismatch_kl", "sampler to trainer"),
            ("generator/reference_kl", "reference"),
        ),
    ),
    ("completion length (tokens)", (("generator/length_mean", "mean"),)),
    (
        "shares",
        (
            ("generator/zero_signal_fraction", "groups without signal"),
            ("generator/stop_length_fraction", "cut by the length limit"),
            ("generator/clip_fraction", "clipped tokens"),
        ),
    ),
)
COLOURS = ("#0072B2", "#D55E00", "#009E73")  # Okabe-Ito: told apart by every eye


def draw_curves(folder: Path, title: str) -> Path:
    """Write curves.png into a run folder and return its path."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    lines = list(read_lines(folder / "metrics.jsonl"))
    figure, axes = plt.subplots(2, 3, figsize=(13, 6.5), layout="constrained")
    for axis, (heading, curves) in zip(axes.flat, PANELS, strict=True):
        _panel(axis, heading, curves, lines)
    figure.suptitle(title)
    file = folder / "curves.png"
    figure.savefig(file, dpi=110)
    plt.close(figure)
    return file


def _panel(
    axis: Any, heading: str, curves: Sequence[tuple[str, str]], lines: Sequence[Mapping[str, Any]]
) -> None:
    shown = found = 0
    for (key, label), colour in zip(curves, COLOURS, strict=False):
        steps, values = series(lines, key)
        found += len(steps)
        if not steps or (len(curves) > 1 and not any(values)):
            continue
        shown += 1
        # Few points are evaluations: show where they are.
        axis.plot(steps, values, color=colour, label=label, marker="o" if len(steps) < 30 else "")
        low, high = series(lines, f"{key}_low")[1], series(lines, f"{key}_high")[1]
        if len(low) == len(steps):
            axis.fill_between(steps, low, high, color=colour, alpha=0.2, linewidth=0)
    axis.set_title(heading, fontsize=11)
    axis.set_xlabel("step")
    axis.grid(alpha=0.3)
    if heading in ("held-out accuracy", "reward of the rollouts", "shares"):
        axis.set_ylim(-0.03, 1.03)
    if shown and len(curves) > 1:
        axis.legend(fontsize=9)
    if not shown:
        words = "nothing but zero" if found else "nothing recorded"
        axis.text(0.5, 0.5, words, ha="center", transform=axis.transAxes)


def series(lines: Sequence[Mapping[str, Any]], key: str) -> Points:
    """(steps, values) of one metric."""
    found = [(int(line["step"]), float(line[key])) for line in lines if key in line]
    return [step for step, _ in found], [value for _, value in found]
