import json
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import matplotlib.image
import numpy as np
import pytest

from rlcotrain.plots import draw_cotraining, draw_curves, series, smoothed


def write(folder: Path, lines: Iterable[dict[str, Any]]) -> None:
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


def learned(role: str, step: int, share: float) -> dict[str, Any]:
    """What a step records of a role that learns in it."""
    return {
        f"{role}/entropy": 1 - share,
        f"{role}/approx_kl": 0.0,
        f"{role}/mismatch_kl": 1e-9 * step,
        f"{role}/reference_kl": 0.01 * share,
        f"{role}/length_mean": 20.0 + step,
        f"{role}/zero_signal_fraction": 0.5,
        f"{role}/stop_length_fraction": 0.0,
        f"{role}/clip_fraction": 0.1,
    }


ENDS = {"": 0.0, "_low": -0.02, "_high": 0.03}
MODES = ("sampled", "greedy")


def trained(steps: int) -> list[dict[str, Any]]:
    """What a run leaves that trains for `steps` and evaluates every tenth."""
    found: list[dict[str, Any]] = [{"step": 0, "phase": "imitate", "imitate/generator/loss": 2.0}]
    for step in range(steps):
        share = step / steps
        rewards = {"generator/reward/outcome": share, "reward/alpha": 0.0}
        line = {"step": step, "phase": "solve", **rewards, **learned("generator", step, share)}
        found.append(line)
        if step % 10 == 0:
            accuracy = {
                f"accuracy/{mode}{end}": share + plus
                for mode in MODES
                for end, plus in ENDS.items()
            }
            found.append({"step": step, "phase": "evaluate", **accuracy})
    return found


def cotrained(steps: int, labelled: bool = True) -> list[dict[str, Any]]:
    """The same of a run whose verifier learns after every fifth step, and is evaluated as well."""
    found: list[dict[str, Any]] = [{"step": 0, "phase": "warmup", "warmup/verifier/entropy": 3.0}]
    for line in trained(steps):
        step, share = line["step"], line["step"] / steps
        if line["phase"] == "solve":
            line |= judged(f"{line['phase']}/verifier/", share) | {
                "generator/reward/step": 0.5 - share,
                "reward/alpha": 0.5 * math.exp(-share),
            }
        if line["phase"] == "evaluate" and labelled:
            line |= {f"verifier/{key}/sampled": value for key, value in quality(share).items()}
        found.append(line)
        if line["phase"] == "solve" and step % 5 == 4:
            begin = {"step": step // 5, "phase": "verify", "verifier/reward/verdict": 1.0 + share}
            found.append(begin | learned("verifier", step, share) | judged("verifier/", share))
    return found


def judged(at: str, share: float) -> dict[str, float]:
    return {
        f"{at}length_mean": 57.0,
        f"{at}reward_hacking_gap": 0.4 - 0.3 * share,
        f"{at}positive_share": 0.6,
        f"{at}solutions_right": 0.2 + 0.3 * share,
        f"{at}contested_score": 0.1 + 0.4 * share,
    }


def quality(share: float) -> dict[str, float]:
    return {
        "accuracy": 0.5 + 0.2 * share,
        "balanced_accuracy": 0.5 + 0.3 * share,
        "contested_score": 0.1 + 0.5 * share,
        "contested_recall": 0.4 + 0.4 * share,
        "contested_false_flags": 0.3 - 0.1 * share,
        "parse_failures": 0.1 - 0.1 * share,
        "canary_accept_rate": 0.0,
    }


def drawn(file: Path | None) -> tuple[int, int]:
    """Height and width of a picture that shows something."""
    assert file is not None
    picture = matplotlib.image.imread(file)
    assert np.ptp(picture[..., :3]) == pytest.approx(1.0, abs=0.1), "dark on light"
    return picture.shape[0], picture.shape[1]


@pytest.mark.parametrize(
    "lines",
    [
        pytest.param(trained(40), id="a whole run"),
        pytest.param(cotrained(100), id="a run of two models"),
        pytest.param([], id="a run that failed before its first line"),
        pytest.param(trained(40)[:1], id="a run that failed in its prelude"),
        pytest.param([{"step": 0, "generator/entropy": math.nan}], id="a run that broke"),
    ],
)
def test_curves_are_drawn_of_whatever_there_is(tmp_path: Path, lines: list[dict[str, Any]]) -> None:
    write(tmp_path, lines)
    assert draw_curves(tmp_path, "start-s0") == tmp_path / "curves.png"
    height, width = drawn(tmp_path / "curves.png")
    assert 500 < height < 1000 < width < 2000  # pixels


@pytest.mark.parametrize(
    "lines",
    [
        pytest.param(cotrained(100), id="evaluated on labelled solutions"),
        pytest.param(cotrained(100, labelled=False), id="on rollouts alone"),
        pytest.param(
            [{"step": 0, "phase": "evaluate", "verifier/accuracy/sampled": 0.0}],
            id="a run that failed after its first evaluation",
        ),
        pytest.param(
            [{"step": 0, "phase": "verify", "reward/alpha": 0, "verifier/accuracy": math.nan}],
            id="a verifier that learns alone, and broke",
        ),
    ],
)
def test_cotraining_is_drawn_where_a_verifier_spoke(
    tmp_path: Path, lines: list[dict[str, Any]]
) -> None:
    write(tmp_path, lines)
    file = draw_cotraining(tmp_path, "tango-s0")
    assert file == tmp_path / "cotraining.png"
    height, width = drawn(file)
    assert 800 < height < 1100 < width < 2000


@pytest.mark.parametrize("lines", [trained(40), [], trained(40)[:1], cotrained(40)[:1]])
def test_without_a_verifier_there_is_no_cotraining(
    tmp_path: Path, lines: list[dict[str, Any]]
) -> None:
    write(tmp_path, lines)
    assert draw_cotraining(tmp_path, "rl-s0") is None
    assert not (tmp_path / "cotraining.png").exists()


class Shown:
    """The words and lines of every panel of a figure, caught as it is saved."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        from matplotlib.figure import Figure

        self.axes: list[Any] = []
        save = Figure.savefig

        def caught(figure: Any, *given: Any, **named: Any) -> None:
            self.axes = list(figure.axes)
            save(figure, *given, **named)

        monkeypatch.setattr(Figure, "savefig", caught)

    def labels(self, panel: int) -> list[str]:
        return self.axes[panel].get_legend_handles_labels()[1]

    def points(self, panel: int, label: str) -> dict[int, float]:
        (line,) = [one for one in self.axes[panel].lines if one.get_label() == label]
        return dict(zip(line.get_xdata(), line.get_ydata(), strict=True))


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> Shown:
    return Shown(monkeypatch)


def test_curves_of_one_model_name_no_role(tmp_path: Path, shown: Shown) -> None:
    write(tmp_path, trained(40))
    draw_curves(tmp_path, "rl-s0")
    assert [axis.get_xlabel() for axis in shown.axes] == ["step"] * 6
    assert shown.labels(0) == ["greedy", "sampled"] and shown.labels(1) == ["outcome"]
    assert shown.labels(3) == ["sampler to trainer", "reference"], "the old policy's are all 0"
    assert shown.points(1, "outcome")[10] == 0.25


def test_curves_of_two_models_stand_in_the_same_panels(tmp_path: Path, shown: Shown) -> None:
    write(tmp_path, cotrained(50))
    draw_curves(tmp_path, "tango-s0")
    assert {axis.get_xlabel() for axis in shown.axes} == {"step of its own phase"}
    rewards = ["generator: outcome", "generator: step", "verifier: verdict"]
    assert shown.labels(1) == rewards
    assert shown.labels(2) == ["generator", "verifier"], "entropy"
    assert shown.labels(4) == ["generator: mean", "verifier: mean"], "length"
    assert len(shown.labels(3)) == len(shown.labels(5)) == 4
    verdicts = shown.points(1, "verifier: verdict")
    assert list(verdicts) == list(range(10)) and verdicts[9] == 1.0 + 49 / 50
    assert shown.axes[1].get_ylim()[1] > 1.98, "verdicts earn their format as well"


def test_cotraining_shows_both_on_the_axis_of_the_leading_phase(
    tmp_path: Path, shown: Shown
) -> None:
    write(tmp_path, cotrained(50))
    draw_cotraining(tmp_path, "tango-s0")
    assert {axis.get_xlabel() for axis in shown.axes} == {"step of phase solve"}
    verdicts = shown.points(0, "verdicts, sampled (balanced accuracy)")
    assert verdicts == pytest.approx({step: 0.5 + 0.3 * step / 50 for step in range(0, 50, 10)})
    assert shown.points(0, "answers, greedy")[40] == 0.8
    score = shown.points(1, "score = recall - false flags")
    assert score[40] == pytest.approx(0.5)
    assert shown.labels(1)[1:3] == ["recall", "false flags"]
    gap = shown.points(2, "reward-hacking gap: mean verdict - share right")
    assert len(gap) == 50 and gap[25] == pytest.approx(0.25)
    assert shown.points(2, "canaries accepted") == dict.fromkeys(range(0, 50, 10), 0.0)
    assert shown.points(3, "alpha, weight of step marks")[0] == 0.5
    assert shown.points(3, "verdicts that say right")[49] == 0.6
    assert shown.points(3, "judgements that cannot be read")[0] == 0.1


def test_what_labelled_solutions_do_not_tell_rollouts_do(tmp_path: Path, shown: Shown) -> None:
    write(tmp_path, cotrained(50, labelled=False))
    draw_cotraining(tmp_path, "tango-s0")
    score = shown.points(1, "score = recall - false flags, of the rollouts")
    assert len(score) == 50 and score[25] == pytest.approx(0.3)


def test_an_empty_panel_says_so(tmp_path: Path, shown: Shown) -> None:
    write(tmp_path, [{"step": 0, "phase": "evaluate", "verifier/accuracy/sampled": 0.5}])
    draw_cotraining(tmp_path, "tango-s0")
    assert [[text.get_text() for text in axis.texts] for axis in shown.axes] == [
        [],
        *[["nothing recorded"]] * 3,
    ]
    assert shown.labels(0) == ["verdicts, sampled (accuracy)"]
    assert shown.labels(1) == [], "a level alone says nothing"


def test_a_series_holds_the_steps_that_have_it(tmp_path: Path) -> None:
    lines = trained(40)
    assert series(lines, "accuracy/sampled") == ([0, 10, 20, 30], [0.0, 0.25, 0.5, 0.75])
    assert series(lines, "nothing") == ([], [])


def test_a_running_mean_takes_the_neighbours_there_are() -> None:
    assert smoothed([0.0, 3.0, 6.0, 0.0], 1) == [1.5, 3.0, 3.0, 3.0]
    assert smoothed([0.0, 3.0], 0) == [0.0, 3.0]
