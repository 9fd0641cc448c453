"""How sure a verifier's metrics are: 95 % intervals, and paired changes on the same solutions.

Every metric here is a function of proportions (wrong solutions that were accepted, wrong steps of
a kind that were flagged, ...). A proportion is drawn from a Bayesian bootstrap over solutions
(Rubin 1981), which keeps the steps of one solution together, with Jeffreys' prior: for one success
or failure a solution that is Beta(x + 1/2, n - x + 1/2), so an interval has width at 0 and 1, too.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from rlcotrain.evaluate import Interval
from rlcotrain.types import Judgement
from rlcotrain.verdicts import accepts, rejects

DRAWS = 2000
METRICS = ("balanced_accuracy", "f1", "contested_score", "false_positive_rate")
PRIOR = 0.5  # Jeffreys: of a success and of a failure, each

Counts = Mapping[str, np.ndarray]  # by proportion: [N, 2], successes and trials of each solution
Draws = Mapping[str, np.ndarray]  # by proportion: [DRAWS]


def counts(judgements: Sequence[Judgement]) -> dict[str, np.ndarray]:
    """Successes and trials of each judged solution [N, 2], by proportion.

    recall: accepted of the right ones; specificity, false_positives: rejected and accepted of the
    wrong ones; flags/KIND/right and flags/KIND/wrong: steps of a kind that were marked wrong.
    """
    found: dict[str, np.ndarray] = {}

    def add(place: int, name: str, success: bool) -> None:
        column = found.setdefault(name, np.zeros((len(judgements), 2), np.int32))
        column[place] += (success, 1)

    for place, judgement in enumerate(judgements):
        verdict, steps = judgement.verdict, judgement.steps
        if judgement.right:
            add(place, "recall", accepts(verdict))
        elif judgement.right is not None:
            add(place, "specificity", rejects(verdict))
            add(place, "false_positives", accepts(verdict))
        if verdict.score is not None and steps is not None and len(verdict.steps) == len(steps):
            for mark, step in zip(verdict.steps, steps, strict=True):
                add(place, f"flags/{step.kind}/{'right' if step.right else 'wrong'}", mark < 0.5)
    return found


def intervals(found: Counts, seed: int) -> dict[str, Interval]:
    """METRICS that can be measured, with 95 % intervals."""
    return {
        name: Interval(mean=value, **_ends(drawn, value), count=_solutions(found))
        for name, (value, drawn) in _paired(found, found, seed)[1].items()
    }


def changes(before: Counts, after: Counts, seed: int) -> dict[str, Interval]:
    """Change of each of METRICS on the same solutions, with its 95 % interval, paired."""
    first, last = _paired(before, after, seed)
    found = {}
    for name in (name for name in first if name in last):
        (start, drawn_start), (end, drawn_end) = first[name], last[name]
        ends = _ends(drawn_end - drawn_start, end - start)
        found[name] = Interval(mean=end - start, **ends, count=_solutions(after))
    return found


def _paired(
    before: Counts, after: Counts, seed: int
) -> tuple[dict[str, tuple[float, np.ndarray]], ...]:
    """(value, draws) of each metric, before and after, with the same weights of solutions."""
    random = np.random.default_rng(seed)
    weights = random.exponential(size=(DRAWS, _solutions(before)))
    drawn: tuple[dict[str, np.ndarray], ...] = ({}, {})
    for name in sorted({*before, *after}):
        # A trial of the prior failed or succeeded before and after, in four ways: each moment by
        # itself then has PRIOR of both.
        prior = random.gamma(PRIOR / 2, size=(2, 2, DRAWS))
        for moment, side, axis in ((before, drawn[0], 1), (after, drawn[1], 0)):
            if name in moment:
                successes, trials = (weights @ moment[name]).T
                side[name] = (successes + prior.sum(axis)[1]) / (trials + prior.sum((0, 1)))
    return tuple(
        {
            name: (float(value), _metrics(moment, side)[name])
            for name, value in _metrics(moment, _shares(moment)).items()
        }
        for moment, side in zip((before, after), drawn, strict=True)
    )


def _shares(found: Counts) -> dict[str, np.ndarray]:
    totals = {name: column.sum(0) for name, column in found.items()}
    return {name: successes / trials for name, (successes, trials) in totals.items()}


def _metrics(found: Counts, share: Draws) -> dict[str, np.ndarray]:
    """METRICS of proportions; without those that lack solutions or steps of either sort."""
    trials = {name: column[:, 1].sum() for name, column in found.items()}
    metrics: dict[str, np.ndarray] = {}
    if "recall" in found and "specificity" in found:
        right, wrong = trials["recall"], trials["specificity"]
        hits, fooled = right * share["recall"], wrong * share["false_positives"]
        metrics["balanced_accuracy"] = (share["recall"] + share["specificity"]) / 2
        metrics["f1"] = 2 * hits / (hits + fooled + right)
    if "false_positives" in found:
        metrics["false_positive_rate"] = share["false_positives"]
    kinds = {name.split("/")[1] for name in found if name.startswith("flags/")}
    kinds = {k for k in kinds if {f"flags/{k}/right", f"flags/{k}/wrong"} <= {*found}}
    if kinds:
        weight = {kind: trials[f"flags/{kind}/wrong"] for kind in kinds}
        scores = [
            weight[kind] * (share[f"flags/{kind}/wrong"] - share[f"flags/{kind}/right"])
            for kind in sorted(kinds)
        ]
        metrics["contested_score"] = np.sum(scores, axis=0) / sum(weight.values())
    return metrics


def _ends(drawn: np.ndarray, value: float) -> dict[str, float]:
    low, high = np.percentile(drawn, (2.5, 97.5))
    # At 0 and 1 an end of the interval is the value itself.
    return {"low": min(float(low), value), "high": max(float(high), value)}


def _solutions(found: Counts) -> int:
    return len(next(iter(found.values()))) if found else 0
