from collections.abc import Sequence

import numpy as np
import pytest
from scipy.stats import beta

from rlcotrain.types import Judgement, StepTruth, Verdict
from rlcotrain.verdict_intervals import METRICS, changes, counts, intervals
from rlcotrain.verdicts import verdict_metrics
from tests.test_verdicts import row, truth


def judgement(
    score: float | None, right: bool, marks: Sequence[float] = (), steps: tuple[StepTruth, ...] = ()
) -> Judgement:
    return Judgement(
        verdict=Verdict(score=score, steps=tuple(marks)),
        right=right,
        count=len(steps),
        steps=steps,
    )


def judged(right: tuple[int, int], wrong: tuple[int, int]) -> list[Judgement]:
    """(accepted, count) of right solutions and of wrong ones."""
    return [
        judgement(float(place < accepted), known)
        for known, (accepted, count) in ((True, right), (False, wrong))
        for place in range(count)
    ]


def test_values_are_those_of_verdict_metrics() -> None:
    steps = truth("wrap!", "wrap", "plain", "wrap")
    rows = [
        row(1, True, (1, 1, 1, 1), truth("wrap", "wrap", "plain", "wrap")),
        row(0, True, (1, 0, 1, 1), truth("wrap", "wrap", "plain", "wrap")),
        row(0, False, (0, 1, 0, 1), steps),
        row(1, False, (1, 1, 1, 1), steps),
        row(None, False, status="missing"),
        row(0, False, (1, 1, 0, 1), truth("wrap!", "wrap", "plain!", "wrap")),
    ]
    plain = verdict_metrics(rows)
    found = intervals(counts([j for r in rows if (j := r.judgement) is not None]), seed=0)
    assert {name: one.mean for name, one in found.items()} == pytest.approx(
        {name: plain[name] for name in METRICS}
    )
    assert all(one.low <= one.mean <= one.high and one.count == 6 for one in found.values())


def test_the_interval_of_a_rate_is_jeffreys() -> None:
    # 7 of 60 accepted: the quantiles of Beta(7.5, 53.5).
    found = intervals(counts(judged((60, 60), (7, 60))), seed=0)["false_positive_rate"]
    assert found.mean == pytest.approx(7 / 60)
    assert found.low == pytest.approx(beta.ppf(0.025, 7.5, 53.5), abs=0.006)
    assert found.high == pytest.approx(beta.ppf(0.975, 7.5, 53.5), abs=0.006)


def test_an_interval_has_width_where_nothing_was_missed() -> None:
    found = intervals(counts(judged((60, 60), (0, 60))), seed=0)
    assert found["false_positive_rate"].low == 0.0 < found["false_positive_rate"].high < 0.06
    assert found["balanced_accuracy"].high == 1.0 > found["balanced_accuracy"].low > 0.95
    assert found["f1"].high == 1.0 > found["f1"].low > 0.95
    unchanged = changes(*[counts(judged((60, 60), (0, 60)))] * 2, seed=0)["false_positive_rate"]
    assert unchanged.low < 0.0 == unchanged.mean < unchanged.high


def test_a_change_is_paired_by_solution() -> None:
    """With the same solutions accepted but for six, the interval is that of the six."""
    before, after = judged((30, 60), (20, 60)), judged((36, 60), (20, 60))
    paired = changes(counts(before), counts(after), seed=0)["balanced_accuracy"]
    assert paired.mean == pytest.approx(0.05)
    # McNemar: of 60 right ones 6 changed to accepted: sd of recall sqrt(6 - 36/60) / 60 = 0.0387,
    # so half of it, 0.0194, of the balanced accuracy. Unpaired it would be 0.062.
    assert (paired.high - paired.low) / (2 * 1.96) == pytest.approx(0.0194, abs=0.004)
    other = [*after[30:60], *after[:30], *after[60:]]  # accepts others: 24 lost, 30 won
    apart = changes(counts(before), counts(other), seed=0)["balanced_accuracy"]
    assert apart.mean == paired.mean and apart.high - apart.low > 2 * (paired.high - paired.low)


def test_coverage_of_the_paired_change_of_a_balanced_accuracy() -> None:
    """Recall .8 > .9, specificity .9 > .95, half of the solutions as before: seen in 95 %."""
    random, hits, trials = np.random.default_rng(0), 0, 200
    for trial in range(trials):
        sides: list[list[Judgement]] = [[], []]
        for known, first, last in ((True, 0.8, 0.9), (False, 0.1, 0.05)):
            for _ in range(60):
                shared = random.random() < 0.5
                draw = random.random(2)
                draws = (draw[0], draw[0] if shared else draw[1])
                for side, chance, value in zip(sides, (first, last), draws, strict=True):
                    side.append(judgement(float(value < chance), known))
        found = changes(counts(sides[0]), counts(sides[1]), seed=trial)["balanced_accuracy"]
        hits += found.low <= 0.075 <= found.high
    assert 0.92 <= hits / trials <= 0.99


def test_what_lacks_solutions_of_either_sort_has_no_metric() -> None:
    assert intervals({}, seed=0) == changes({}, {}, seed=0) == {}
    assert intervals(counts([judgement(1.0, True)]), seed=0) == {}
    assert set(intervals(counts([judgement(1.0, False)]), seed=0)) == {"false_positive_rate"}
