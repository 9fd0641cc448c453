"""Seconds from recorded seconds, worked by hand."""

from pathlib import Path

import pytest

from rlcotrain.build import resolved
from rlcotrain.plan.estimate import Estimate, estimate, schedule
from rlcotrain.plan.recorded import Timing
from rlcotrain.plan.work import parts
from tests.runs import ALONE, compose

WORDS = (
    *(*ALONE, "schedule.steps=10", "evaluation.every=5", "evaluation.num_problems=100"),
    *("evaluation.between_problems=50", "checkpoint.every=1000"),
    *("schedule.prelude.pretrain.steps=0", "schedule.prelude.imitate.steps=40"),
)


def timings(folder: Path, calibration: bool = False, **seconds: float) -> list[Timing]:
    """One of each part of a run; seconds as given, else one."""
    config = resolved(compose(folder, *WORDS))
    return [
        Timing(
            kind=part.kind,
            rows=part.rows,
            seconds=seconds.get(part.name, 1.0),
            calibration=calibration,
        )
        for part in parts(config)
    ]


def test_a_run_is_the_sum_of_its_parts(tmp_path: Path) -> None:
    known = timings(tmp_path, startup=5, imitate=0.5, solve=2, evaluate=3, save=0.25, rest=7)
    config = resolved(compose(tmp_path, *WORDS))
    found = estimate(config, known, kept=False)
    # 10 steps of 2; evaluations of 100 problems twice and of 50 once, by the 50 nearest each; a
    # save of that evaluation and of the end.
    assert (found.startup, found.prelude) == (5, 20)
    assert found.body == pytest.approx(10 * 2 + 2 * 3 + 3 + 2 * 0.25 + 7)
    assert found.unknown == () and found.basis == "1 recorded run"
    assert estimate(config, known, kept=True).prelude == 0


def test_the_median_of_the_newest_five_of_the_nearest_size(tmp_path: Path) -> None:
    (first,) = (one for one in timings(tmp_path, solve=1) if one.rows == 128)
    sizes = [(64, 9.0), *((128, seconds) for seconds in (1.0, 2.0, 3.0, 4.0, 50.0, 70.0))]
    solved = [
        Timing(kind=first.kind, rows=rows, seconds=seconds, calibration=False)
        for rows, seconds in sizes
    ]
    others = [one for one in timings(tmp_path) if one.kind != first.kind]
    short = ("schedule.prelude.imitate.steps=0", "schedule.steps=1")
    config = resolved(compose(tmp_path, *WORDS, *short))
    rest = estimate(config, [*others, *solved], kept=False).body - 3.0
    assert rest == pytest.approx(2 + 1 + 1)  # evaluations, a save, the rest; and one step of 3
    wide = resolved(compose(tmp_path, *WORDS, *short, "schedule.cycle.solve.num_prompts=32"))
    found = estimate(wide, [*others, *solved], kept=False)
    assert found.body == pytest.approx(4 + 2 * 3)
    assert found.basis == "1 recorded run, solve of 128 rows scaled to 256"


def test_whole_runs_before_calibrations(tmp_path: Path) -> None:
    short, whole = timings(tmp_path, calibration=True, solve=100), timings(tmp_path, solve=1)
    config = resolved(compose(tmp_path, *WORDS))
    assert estimate(config, [*short, *whole], kept=True).body < 100
    found = estimate(config, short, kept=True)
    assert found.body > 1000 and found.basis == "1 recorded run, a calibration"


def test_what_no_run_tells_of_is_said(tmp_path: Path) -> None:
    config = resolved(compose(tmp_path, *WORDS, "loss.minibatches=2"))
    found = estimate(config, timings(tmp_path), kept=False)
    assert found.unknown == ("solve",)
    assert estimate(config, [], kept=False).basis == "0 recorded runs"


def runs(count: int, prelude: float = 10.0) -> list[Estimate]:
    return [
        Estimate(startup=1.0, prelude=prelude, body=5.0, unknown=(), basis="") for _ in range(count)
    ]


def test_one_after_another_the_first_pays(tmp_path: Path) -> None:
    assert schedule(runs(3), ["a"] * 3, 1, apart=False) == (26.0, [16.0, 5.0, 5.0])
    assert schedule(runs(2), ["a", "b"], 1, apart=True) == (32.0, [16.0, 16.0])


def test_side_by_side_the_others_wait_for_the_one_that_pays(tmp_path: Path) -> None:
    wall, taken = schedule(runs(3), ["a"] * 3, 2, apart=True)
    # Two begin at 0, have the prelude at 11 and end at 16; the third finds it there.
    assert (wall, taken) == (22.0, [16.0, 16.0, 6.0])
    assert schedule(runs(2, prelude=0.0), ["a", "a"], 2, apart=True) == (6.0, [6.0, 6.0])
