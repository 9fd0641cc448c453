"""Figures of one run, read from its folder."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from rlcotrain.files import read_lines
from rlcotrain.verdicts import LEAST_CONTESTED

Points = tuple[list[int], list[float]]
Lines = Sequence[Mapping[str, Any]]


class Curve(NamedTuple):
    """A metric, and what it is called beside the others of its panel."""

    key: str
    label: str


class Panel(NamedTuple):
    """Curves under one heading.

    share: a scale that holds 0..1; zeros: whether a curve that never leaves 0 is worth a line;
    level: a height to compare with, and what it means.
    """

    heading: str
    curves: Sequence[Curve]
    share: bool = False
    zeros: bool = False
    level: tuple[float, str] | None = None


def _of_both(key: str, label: str) -> tuple[Curve, Curve]:
    return Curve(f"generator/{key}", label), Curve(f"verifier/{key}", label)


# A verifier's curves come last: the colours of a generator's are the same without one.
_KL = (("approx_kl", "old policy"), ("mismatch_kl", "sampler to trainer"))
_SHARES = (
    ("zero_signal_fraction", "groups without signal"),
    ("stop_length_fraction", "cut by the length limit"),
    ("clip_fraction", "clipped tokens"),
)
CURVES: Sequence[Panel] = (
    Panel(
        "held-out accuracy",
        (Curve("accuracy/greedy", "greedy"), Curve("accuracy/sampled", "sampled")),
        share=True,
    ),
    Panel(
        "reward of the rollouts",
        (
            Curve("generator/reward/outcome", "outcome"),
            Curve("generator/reward/step", "step"),
            Curve("verifier/reward/verdict", "verdict"),
        ),
        share=True,
    ),
    Panel("entropy (nats)", _of_both("entropy", "")),
    Panel(
        "KL (nats)",
        tuple(
            Curve(f"{role}/{key}", label)
            for role in ("generator", "verifier")
            for key, label in (*_KL, ("reference_kl", "reference"))
        ),
    ),
    Panel("completion length (tokens)", _of_both("length_mean", "mean")),
    Panel(
        "shares",
        tuple(
            Curve(f"{role}/{key}", label)
            for role in ("generator", "verifier")
            for key, label in _SHARES
        ),
        share=True,
    ),
)
# Okabe-Ito: told apart by every eye.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#56B4E9", "#E69F00", "#CC79A7")
FEW = 30  # points of a series that each get a dot: evaluations
MANY = 60  # from here on a series is noise to the eye, and its running mean is drawn over it


def draw_curves(folder: Path, title: str) -> Path:
    """Write curves.png into a run folder and return its path."""
    lines = list(read_lines(folder / "metrics.jsonl"))
    both = any("verifier/length_mean" in line for line in lines)
    step = "step of its own phase" if both else "step"
    return _draw(folder / "curves.png", title, CURVES, lines, step, columns=3)


def draw_cotraining(folder: Path, title: str) -> Path | None:
    """Write cotraining.png into the folder of a run with a verifier; None where nothing is known.

    All of it is on the axis of the leading phase, as evaluations are.
    """
    lines = list(read_lines(folder / "metrics.jsonl"))
    name, lines = _leading(lines)
    if not any(key.startswith("verifier/") for line in lines for key in line):
        return None
    step = f"step of phase {name}" if name else "step"
    return _draw(folder / "cotraining.png", title, _cotraining(lines), lines, step, columns=2)


def _leading(lines: Lines) -> tuple[str | None, list[dict[str, Any]]]:
    """The leading phase, its lines and those of evaluations, all roles by their plain names."""
    # What a prelude records has its phase before it, so this is the first line of the cycle.
    name = next((str(line["phase"]) for line in lines if "reward/alpha" in line), None)
    return name, [
        {key.removeprefix(f"{name}/"): value for key, value in line.items()}
        for line in lines
        if line.get("phase") in (name, "evaluate")
    ]


def _cotraining(lines: Lines) -> Sequence[Panel]:
    """Panels with what was measured on labelled solutions, else on the generator's own."""
    balanced = any("verifier/balanced_accuracy/sampled" in line for line in lines)
    accuracy, word = (
        ("balanced_accuracy", "balanced accuracy") if balanced else ("accuracy", "accuracy")
    )
    return (
        Panel(
            "accuracy, held out",
            (
                Curve("accuracy/sampled", "answers, sampled"),
                Curve("accuracy/greedy", "answers, greedy"),
                Curve(f"verifier/{accuracy}/sampled", f"verdicts, sampled ({word})"),
                Curve(f"verifier/{accuracy}/greedy", f"verdicts, greedy ({word})"),
            ),
            share=True,
            zeros=True,
        ),
        Panel(
            "marks of the verifier on contested steps",
            (
                _measured(lines, "contested_score", "score = recall - false flags"),
                _measured(lines, "contested_recall", "recall"),
                _measured(lines, "contested_false_flags", "false flags"),
                Curve("verifier/processbench_f1/mean/sampled", "ProcessBench F1"),
            ),
            share=True,
            zeros=True,
            level=(LEAST_CONTESTED, f"little better than none below {LEAST_CONTESTED}"),
        ),
        Panel(
            "is the verifier fooled?",
            (
                Curve(
                    "verifier/reward_hacking_gap", "reward-hacking gap: mean verdict - share right"
                ),
                Curve("verifier/false_positive_rate/greedy", "wrong ones accepted, greedy"),
                Curve("verifier/false_positive_rate/sampled", "wrong ones accepted, sampled"),
                Curve("verifier/contradictory_fraction/sampled", "verdicts against their marks"),
                Curve("verifier/canary_accept_rate/sampled", "canaries accepted"),
            ),
            share=True,
            zeros=True,
            level=(0.0, "not at all"),
        ),
        Panel(
            "reward and verdicts",
            (
                Curve("reward/alpha", "alpha, weight of step marks"),
                Curve("verifier/parse_failures/sampled", "judgements that cannot be read"),
                Curve("verifier/positive_share", "verdicts that say right"),
                Curve("verifier/solutions_right", "judged solutions that are right"),
            ),
            share=True,
            zeros=True,
        ),
    )


def _measured(lines: Lines, name: str, label: str) -> Curve:
    """A verifier's metric as evaluations measure it; without such, as the rollouts do."""
    key = f"verifier/{name}/sampled"
    if any(key in line for line in lines):
        return Curve(key, label)
    return Curve(f"verifier/{name}", f"{label}, of the rollouts")


def _draw(
    file: Path, title: str, panels: Sequence[Panel], lines: Lines, step: str, columns: int
) -> Path:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    size = (13 / 3 * max(columns, 3), 7.5 if columns == 3 else 9.5)  # inches
    figure, axes = plt.subplots(2, columns, figsize=size, layout="constrained")
    for axis, panel in zip(axes.flat, panels, strict=True):
        _panel(axis, panel, lines)
        axis.set_xlabel(step)
    figure.suptitle(title)
    figure.savefig(file, dpi=110)
    plt.close(figure)
    return file


def _panel(axis: Any, panel: Panel, lines: Lines) -> None:
    found = [series(lines, curve.key) for curve in panel.curves]
    shown = [
        i
        for i, (_, values) in enumerate(found)
        if values and (panel.zeros or len(panel.curves) == 1 or any(values))
    ]
    labels = _labels([panel.curves[i] for i in shown])
    for i, label in zip(shown, labels, strict=True):
        _curve(axis, found[i], label, COLOURS[i])
        _band(axis, lines, panel.curves[i].key, COLOURS[i])
    if shown and panel.level is not None:
        height, meaning = panel.level
        axis.axhline(height, color="0.35", linestyle=":", linewidth=1.2, label=meaning)
    axis.set_title(panel.heading, fontsize=11)
    axis.grid(alpha=0.3)
    if panel.share:
        low, high = axis.get_ylim()
        axis.set_ylim(min(low, -0.03), max(high, 1.03))
    if shown and len(panel.curves) > 1:
        # Under the axis: over it there is no corner that no curve ever comes to.
        axis.legend(
            fontsize=8, frameon=False, ncols=2, loc="upper center", bbox_to_anchor=(0.5, -0.13)
        )
    if not shown:
        words = "nothing but zero" if any(steps for steps, _ in found) else "nothing recorded"
        axis.text(0.5, 0.5, words, ha="center", transform=axis.transAxes)


def _labels(curves: Sequence[Curve]) -> list[str]:
    """Labels that name the role as well, where both roles are shown or there is nothing else."""
    roles = [curve.key.split("/")[0] for curve in curves]
    if not {"generator", "verifier"} <= set(roles):
        return [curve.label or role for role, curve in zip(roles, curves, strict=True)]
    return [
        f"{role}: {curve.label}" if curve.label else role
        for role, curve in zip(roles, curves, strict=True)
    ]


def _curve(axis: Any, points: Points, label: str, colour: str) -> None:
    steps, values = points
    if len(steps) >= MANY:
        axis.plot(steps, values, color=colour, alpha=0.25, linewidth=0.8)
        values = smoothed(values, len(values) // 60)
    axis.plot(steps, values, color=colour, label=label, marker="o" if len(steps) < FEW else "")


def _band(axis: Any, lines: Lines, key: str, colour: str) -> None:
    """The interval that a metric was recorded with."""
    steps, lows = series(lines, f"{key}_low")
    highs = series(lines, f"{key}_high")[1]
    if len(lows) == len(highs):
        axis.fill_between(steps, lows, highs, color=colour, alpha=0.2, linewidth=0)


def series(lines: Lines, key: str) -> Points:
    """(steps, values) of one metric."""
    found = [(int(line["step"]), float(line[key])) for line in lines if key in line]
    return [step for step, _ in found], [value for _, value in found]


def smoothed(values: Sequence[float], reach: int) -> list[float]:
    """Each value's mean with up to `reach` neighbours on either side."""
    windows = [values[max(i - reach, 0) : i + reach + 1] for i in range(len(values))]
    return [sum(window) / len(window) for window in windows]
