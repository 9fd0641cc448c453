"""What grades come to: how often a grader came to a result, and what those that ride along say."""

from collections.abc import Sequence
from typing import get_args

from rlcotrain.types import Grade, GradeStatus


def grade_metrics(grades: Sequence[Grade], tasks: Sequence[str]) -> dict[str, float]:
    """`grade/<status>`, the share of each status, and `grade/watch/<name>`, the mean score there.

    A mean is over what that grader could find out. Without grades, nothing is said. tasks: the data
    set each grade is of; where there are several, the same of each, as `grade/<status>/<task>`.
    ValueError where every grade crashed: there is nothing to go by.
    """
    if grades and all(grade.status == "crashed" for grade in grades):
        raise ValueError(
            f"grader: all {len(grades)} grades crashed, the first by {grades[0].rule}; expected a "
            "grader that can grade some (a reward function's errors are shown above)"
        )
    metrics = _metrics(grades)
    several = sorted(set(tasks)) if len(set(tasks)) > 1 else []
    for one in several:
        of = [grade for grade, task in zip(grades, tasks, strict=True) if task == one]
        metrics |= {f"{name}/{one}": value for name, value in _metrics(of).items()}
    return metrics


def _metrics(grades: Sequence[Grade]) -> dict[str, float]:
    if not grades:
        return {}
    found = [grade.status for grade in grades]
    shares = {
        f"grade/{status}": found.count(status) / len(found) for status in get_args(GradeStatus)
    }
    scores: dict[str, list[float]] = {}
    for name, watched in (pair for grade in grades for pair in grade.watched):
        if watched.score is not None:
            scores.setdefault(f"grade/watch/{name}", []).append(watched.score)
    return shares | {name: sum(of) / len(of) for name, of in scores.items()}
