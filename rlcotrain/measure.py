"""Numbers about rows: what is always recorded of a step."""

from collections.abc import Iterator, Sequence

import numpy as np

from rlcotrain.grades import grade_metrics
from rlcotrain.loss.advantage import has_signal
from rlcotrain.types import Rollout, UpdateStats
from rlcotrain.verdicts import verdict_metrics


def row_metrics(rows: Sequence[Rollout], phase: str, train: Sequence[str]) -> dict[str, float]:
    """Rewards, lengths, signal, verdicts and grades of each role, as `role/quantity`.

    A role that only speaks in a phase is `phase/role/quantity`: what is `role/quantity` then has
    one step axis, the role's own.
    """
    metrics: dict[str, float] = {}
    for role in sorted({row.role for row in rows}):
        mine = [row for row in rows if row.role == role]
        learns = any(row.policy in train for row in mine)
        prefix = "" if learns else f"{phase}/"
        metrics |= {prefix + key: value for key, value in _role_metrics(role, mine).items()}
    return metrics


def _role_metrics(role: str, mine: Sequence[Rollout]) -> dict[str, float]:
    lengths = np.array([len(row.token_ids) for row in mine])
    groups: dict[str, bool] = {}
    for row in mine:
        groups[row.peers] = groups.get(row.peers, False) or has_signal(row)
    metrics = {
        "length_mean": float(lengths.mean()),
        "length_max": float(lengths.max()),
        "stop_length_fraction": _mean([row.stop == "length" for row in mine]),
        "zero_signal_fraction": _mean([not signal for signal in groups.values()]),
    }
    for stream in sorted({reward.stream for row in mine for reward in row.rewards}):
        values = [value for row in mine if (value := row.earned(stream)) is not None]
        metrics[f"reward/{stream}"] = _mean(values)
        metrics[f"reward/{stream}_missing"] = 1 - len(values) / len(mine)
        metrics |= {f"reward/{stream}/{task}": _mean(of) for task, of in _by_task(mine, stream)}
    metrics |= verdict_metrics(mine)
    metrics |= grade_metrics([row.grade for row in mine if row.grade is not None])
    return {f"{role}/{key}": value for key, value in metrics.items()}


def _by_task(rows: Sequence[Rollout], stream: str) -> Iterator[tuple[str, list[float]]]:
    """What the rows of each data set have earned, where there are several."""
    tasks = sorted({row.problem.task for row in rows})
    for task in tasks if len(tasks) > 1 else ():
        earned = (row.earned(stream) for row in rows if row.problem.task == task)
        if values := [value for value in earned if value is not None]:
            yield task, values


def update_metrics(role: str, stats: UpdateStats, age: int) -> dict[str, float]:
    """An update's statistics as `role/quantity`; `age` in updates since the rows were sampled."""
    metrics = {
        f"{role}/{key}": float(value)
        for key in UpdateStats.__dataclass_fields__
        if key != "seconds" and (value := getattr(stats, key)) is not None
    }
    return metrics | {f"{role}/age": float(age)}


def _mean(values: Sequence[float | bool]) -> float:
    return float(np.mean(values)) if values else 0.0
