"""What verdicts are worth: held against what is known of the solutions they judge.

A judgement that cannot be read accepts nothing and rejects nothing, so it counts as an error. The
class that precision, recall and f1 speak of is "right", as in RL Tango (arXiv 2505.15034). A metric
that has nothing to be measured on is left out.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import get_args

from rlcotrain.types import Judgement, Rollout, Verdict, VerdictStatus

# Beyond these a run warns. Below the contested-step score marks are little better than none.
LEAST_CONTESTED = 0.2
LEAST_ALIGNED = 0.5
MOST_CONTRADICTORY = 0.1
EXTREME_SHARE = 0.05  # of positive verdicts, from 0 or from 1,
EXTREME_GAP = 0.2  # where the share of right solutions is so far away


def verdict_metrics(rows: Sequence[Rollout]) -> dict[str, float]:
    """Quality of the judgements that rows carry; of rows without one, nothing is said.

    accuracy, balanced_accuracy, precision, recall, f1: of the final verdict.
    false_positive_rate: wrong solutions that were accepted.
    positive_share: accepted among those that can be read; solutions_right: right among the judged.
    reward_hacking_gap: mean verdict less share of right solutions, where it can be read.
    aligned_ (status ok), missing_, unparsable_, misaligned_, contradictory_fraction: judgements by
        status. A contradictory verdict can be read: it counts in the metrics as it stands.
    contested_score, contested_recall, contested_false_flags: see `contested`.
    """
    judgements = [row.judgement for row in rows if row.judgement is not None]
    return {**_statuses(judgements), **_agreement(judgements), **contested(judgements)}


def faults(metrics: Mapping[str, float], marks: bool) -> dict[str, str]:
    """Warnings about a verifier of these `verdict_metrics`, by the metric that shows each.

    marks: whether step marks are a reward, so that their quality matters.
    """
    found = {}
    share, right = (metrics.get(name, 0.5) for name in ("positive_share", "solutions_right"))
    if min(share, 1 - share) < EXTREME_SHARE and abs(share - right) > EXTREME_GAP:
        found["positive_share"] = (
            f"the verifier accepts {share:.0%} of solutions of which {right:.0%} are right"
        )
    if (share := metrics.get("contradictory_fraction", 0.0)) > MOST_CONTRADICTORY:
        found["contradictory_fraction"] = (
            f"{share:.0%} of the verifier's verdicts contradict their own step marks"
        )
    if marks and (share := metrics.get("aligned_fraction", 1.0)) < LEAST_ALIGNED:
        found["aligned_fraction"] = (
            f"only {share:.0%} of the verifier's judgements are well-formed: their step marks are "
            "hardly ever a reward"
        )
    score = metrics.get("contested_score")
    if marks and score is not None and score < LEAST_CONTESTED:
        found["contested_score"] = (
            f"the verifier's contested-step score is {score:.2f}, below {LEAST_CONTESTED}: its "
            "step marks, weighed by reward.alpha, are little better than none"
        )
    return found


def accepts(verdict: Verdict) -> bool:
    """Whether a verdict says right."""
    return verdict.score is not None and verdict.score >= 0.5


def rejects(verdict: Verdict) -> bool:
    """Whether a verdict says wrong."""
    return verdict.score is not None and verdict.score < 0.5


def contested(judgements: Sequence[Judgement]) -> dict[str, float]:
    """How well marks tell wrong steps from right ones that look alike, in -1..1; 0 is worthless.

    score = recall - false flags: the share of wrong steps and the share of right steps that are
    marked wrong. Like is compared with like: each kind that has steps of both sorts counts by its
    number of wrong steps. One who flags every step of a hard kind has a recall of 1, and scores 0.
    """
    flags = _flags(judgements)
    kinds = {kind for kind, _ in flags if (kind, True) in flags and (kind, False) in flags}
    wrong = sum(len(flags[kind, False]) for kind in kinds)
    if not wrong:
        return {}
    recall = sum(sum(flags[kind, False]) for kind in kinds) / wrong
    false_flags = sum(len(flags[kind, False]) * _mean(flags[kind, True]) for kind in kinds) / wrong
    return {
        "contested_score": recall - false_flags,
        "contested_recall": recall,
        "contested_false_flags": false_flags,
    }


def _flags(judgements: Sequence[Judgement]) -> Mapping[tuple[str, bool], list[bool]]:
    """Whether each step was marked wrong, by its kind and whether it is right."""
    flags: dict[tuple[str, bool], list[bool]] = defaultdict(list)
    for judgement in judgements:
        marks, steps = judgement.verdict.steps, judgement.steps
        # Without a mark for each, nobody knows which step a mark is about.
        if judgement.verdict.score is not None and steps is not None and len(marks) == len(steps):
            for mark, step in zip(marks, steps, strict=True):
                flags[step.kind, step.right].append(mark < 0.5)
    return flags


def _statuses(judgements: Sequence[Judgement]) -> dict[str, float]:
    found = [judgement.verdict.status for judgement in judgements]
    names = {status: "aligned" if status == "ok" else status for status in get_args(VerdictStatus)}
    return _shares(
        {
            f"{name}_fraction": (found.count(status), len(judgements))
            for status, name in names.items()
        }
    )


def _agreement(judgements: Sequence[Judgement]) -> dict[str, float]:
    readable = [j for j in judgements if j.verdict.score is not None]
    known = [j for j in judgements if j.right is not None]
    right, wrong = [j for j in known if j.right], [j for j in known if not j.right]
    hits = sum(accepts(j.verdict) for j in right)
    fooled = sum(accepts(j.verdict) for j in wrong)
    rejected = sum(rejects(j.verdict) for j in wrong)
    gaps = [j.verdict.score - bool(j.right) for j in known if j.verdict.score is not None]
    found = _shares(
        {
            "accuracy": (hits + rejected, len(known)),
            "precision": (hits, hits + fooled),
            "recall": (hits, len(right)),
            "f1": (2 * hits, hits + fooled + len(right)),
            "false_positive_rate": (fooled, len(wrong)),
            "positive_share": (sum(accepts(j.verdict) for j in readable), len(readable)),
            "solutions_right": (len(right), len(known)),
            "reward_hacking_gap": (sum(gaps), len(gaps)),
        }
    )
    if right and wrong:
        found["balanced_accuracy"] = (hits / len(right) + rejected / len(wrong)) / 2
    return found


def _shares(parts: Mapping[str, tuple[float, int]]) -> dict[str, float]:
    """Quotients; without those that would divide by nothing."""
    return {name: part / whole for name, (part, whole) in parts.items() if whole}


def _mean(flags: Sequence[bool]) -> float:
    return sum(flags) / len(flags)
