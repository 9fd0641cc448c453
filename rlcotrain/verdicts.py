"""What verdicts are worth: held against what is known of the solutions they judge.

A judgement that cannot be read accepts nothing and rejects nothing, so it counts as an error. The
class that precision, recall and f1 speak of is "right", as in RL Tango (arXiv 2505.15034). A metric
that has nothing to be measured on is left out.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import get_args

from rlcotrain.types import Judgement, Rollout, Verdict, VerdictStatus

# Contested-step score below which marks are little better than none: a run that pays them warns.
LEAST_CONTESTED = 0.2


def verdict_metrics(rows: Sequence[Rollout]) -> dict[str, float]:
    """Quality of the judgements that rows carry; of rows without one, nothing is said.

    accuracy, balanced_accuracy, precision, recall, f1: of the final verdict.
    false_positive_rate: wrong solutions that were accepted.
    positive_share: accepted among those that can be read; solutions_right: right among the judged.
    reward_hacking_gap: mean verdict less share of right solutions, where it can be read.
    aligned_, missing_, unparsable_, misaligned_fraction: judgements by status.
    contested_score, contested_recall, contested_false_flags: see `contested`.
    """
    judgements = [row.judgement for row in rows if row.judgement is not None]
    return {**_statuses(judgements), **_agreement(judgements), **contested(judgements)}


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
        if judgement.verdict.status == "ok" and steps is not None and len(marks) == len(steps):
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
