import json
import math
from pathlib import Path
from typing import Any

import matplotlib.image
import numpy as np
import pytest

from rlcotrain.plots import draw_curves, series


def write(folder: Path, lines: list[dict[str, Any]]) -> None:
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


def trained(steps: int) -> list[dict[str, Any]]:
    """What a run leaves that trains for `steps` and evaluates every tenth."""
    found: list[dict[str, Any]] = [{"step": 0, "phase": "imitate", "imitate/generator/loss": 2.0}]
    for step in range(steps):
        share = step / steps
        found.append(
            {
                "step": step,
                "phase": "solve",
                "generator/reward/outcome": share,
                "generator/entropy": 1 - share,
                "generator/approx_kl": 0.0,
                "generator/mismatch_kl": 1e-9 * step,
                "generator/reference_kl": 0.01 * share,
                "generator/length_mean": 20.0 + step,
                "generator/zero_signal_fraction": 0.5,
                "generator/stop_length_fraction": 0.0,
                "generator/clip_fraction": 0.1,
            }
        )
        if step % 10 == 0:
            line: dict[str, Any] = {"step": step, "phase": "evaluate"}
            for mode in ("sampled", "greedy"):
                line |= {f"accuracy/{mode}{end}": share + plus for end, plus in ENDS.items()}
            found.append(line)
    return found


ENDS = {"": 0.0, "_low": -0.02, "_high": 0.03}


@pytest.mark.parametrize(
    "lines",
    [
        pytest.param(trained(40), id="a whole run"),
        pytest.param([], id="a run that failed before its first line"),
        pytest.param(trained(40)[:1], id="a run that failed in its prelude"),
        pytest.param([{"step": 0, "generator/entropy": math.nan}], id="a run that broke"),
    ],
)
def test_curves_are_drawn_of_whatever_there_is(tmp_path: Path, lines: list[dict[str, Any]]) -> None:
    write(tmp_path, lines)
    assert draw_curves(tmp_path, "start-s0") == tmp_path / "curves.png"
    picture = matplotlib.image.imread(tmp_path / "curves.png")
    height, width, _ = picture.shape
    assert 500 < height < 1000 < width < 2000  # pixels
    assert np.ptp(picture[..., :3]) == pytest.approx(1.0, abs=0.1), "dark on light"


def test_a_series_holds_the_steps_that_have_it(tmp_path: Path) -> None:
    lines = trained(40)
    assert series(lines, "accuracy/sampled") == ([0, 10, 20, 30], [0.0, 0.25, 0.5, 0.75])
    assert series(lines, "nothing") == ([], [])
