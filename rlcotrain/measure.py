"""Numbers about a step: what is always recorded of it."""

import time
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from rlcotrain.grades import grade_metrics
from rlcotrain.loss.advantage import has_signal
from rlcotrain.schedule import Phase, Position
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
    graded = [(row.grade, row.problem.task) for row in mine if row.grade is not None]
    metrics |= grade_metrics([grade for grade, _ in graded], [task for _, task in graded])
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


def on_its_axis(
    position: Position, leader: Phase, roles: Mapping[str, float], whole: Mapping[str, float]
) -> dict[str, float]:
    """Metrics by name. What is no role's own is of the leading phase, or says of which it is."""
    phase = position.phase
    if phase is leader:
        return {**roles, **whole}
    prefix = f"{phase.name}/"
    named = {prefix + key: value for key, value in whole.items() if key != "reward/alpha"}
    if not position.in_prelude:
        return {**roles, **named}
    return {prefix + key.removeprefix(prefix): value for key, value in roles.items()} | named


class Clock:
    """Seconds of the parts of a step."""

    def __init__(self) -> None:
        self._cpu = time.process_time()
        self._last = time.perf_counter()
        self._laps: dict[str, float] = {}

    def lap(self, part: str) -> None:
        """The part that ends now took the time since the last one."""
        now = time.perf_counter()
        self._laps[part], self._last = now - self._last, now

    def metrics(self, rows: Sequence[Rollout]) -> dict[str, float]:
        """`time/<part>`, their sum, CPU seconds, and completion tokens per second of the step."""
        total = sum(self._laps.values())
        tokens = sum(len(row.token_ids) for row in rows)
        return {
            **{f"time/{part}": seconds for part, seconds in self._laps.items()},
            "time/step": total,
            "time/cpu": time.process_time() - self._cpu,
            "time/tokens_per_second": tokens / total,
        }
