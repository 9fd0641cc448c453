"""Advantages: one formula with options.

For every stream, values are centred and scaled over the rows they are compared with, then written
on the tokens they speak about; streams are mixed afterwards by weight:

    A[t] = weight_row * sum_s w_s * sum_{rewards of s that reach t} (value - baseline) / scale

| baseline      | scale | is |
|---------------|-------|----|
| peers         | peers | GRPO (2402.03300) |
| peers         | none  | Dr.GRPO (2503.20783) |
| peers         | batch | group mean, batch deviation (2508.08221) |
| leave_one_out | none  | RLOO (2402.14740) |
| none + whiten | none  | REINFORCE++ (2501.03262) |
| constant      | none  | every row counts 1 and rewards are not looked at: supervised losses |
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from rlcotrain.types import Rollout

Baseline = Literal["peers", "leave_one_out", "batch", "none", "constant"]
Scale = Literal["peers", "batch", "none"]
Credit = Literal["return_to_go", "own"]

# Keeps float noise among rewards that are equal on paper from becoming advantages of size 1.
EPSILON = 1e-6


@dataclass(frozen=True, kw_only=True, slots=True)
class Advantage:
    """How values become advantages. `discount` acts per token before the span's end."""

    baseline: Baseline = "peers"
    scale: Scale = "peers"
    credit: Credit = "return_to_go"
    whiten: bool = False
    discount: float = 1.0

    def __call__(self, rollouts: Sequence[Rollout], weights: Mapping[str, float]) -> list[Rollout]:
        """New rows with `advantages` [T]; 0 on injected tokens and where a stream says nothing."""
        if self.baseline == "constant":
            totals = [np.ones(len(row.token_ids), np.float32) for row in rollouts]
        else:
            totals = [np.zeros(len(row.token_ids), np.float32) for row in rollouts]
            for stream, weight in weights.items():
                self._add_stream(totals, rollouts, stream, weight)
        totals = [total * row.mask for total, row in zip(totals, rollouts, strict=True)]
        if self.whiten:
            totals = _whiten(totals, [row.mask & _earns(row, weights) for row in rollouts])
        return [
            replace(row, advantages=(total * row.weight).astype(np.float32))
            for row, total in zip(rollouts, totals, strict=True)
        ]

    def _add_stream(
        self, totals: list[np.ndarray], rollouts: Sequence[Rollout], stream: str, weight: float
    ) -> None:
        spans = [(i, *span) for i, row in enumerate(rollouts) for span in _spans(row, stream)]
        values = np.array([value for *_, value in spans], np.float64)
        peers = [rollouts[i].peers for i, *_ in spans]
        for (i, start, end, _), value in zip(spans, self._normalise(values, peers), strict=True):
            if self.credit == "own":
                totals[i][start:end] += weight * value
            else:
                decay = self.discount ** np.arange(end - 1, -1, -1, dtype=np.float64)
                totals[i][:end] += (weight * value * decay).astype(np.float32)

    def _normalise(self, values: np.ndarray, peers: Sequence[str]) -> np.ndarray:
        """Centre, then scale `values` [N]; equal values and a lone one carry no signal."""
        result = values.copy()
        for index in _compared(self.baseline, peers):
            group, size = values[index], len(index)
            factor = size / max(size - 1, 1) if self.baseline == "leave_one_out" else 1.0
            result[index] = 0.0 if _equal(group) else factor * (group - group.mean())
        for index in _compared(self.scale, peers):
            group = values[index]
            result[index] = 0.0 if _equal(group) else result[index] / (group.std(ddof=1) + EPSILON)
        return result


def has_signal(row: Rollout) -> bool:
    """Whether the row moves anything. Exact: a small advantage is a signal, 0 is none."""
    assert row.advantages is not None, "advantages come before selection"
    return bool(np.any(row.advantages != 0.0))


def _spans(row: Rollout, stream: str) -> list[tuple[int, int, float]]:
    """(start, end, value) of one stream; parts that speak about the same span are summed raw."""
    summed: dict[tuple[int, int], float] = {}
    for reward in row.rewards:
        if reward.stream == stream:
            key = (reward.start, reward.end)
            summed[key] = summed.get(key, 0.0) + reward.value
    return [(start, end, value) for (start, end), value in summed.items()]


def _earns(row: Rollout, weights: Mapping[str, float]) -> bool:
    """Whether some weighted stream speaks about the row; whitening would make -mean of its 0."""
    return any(weights.get(reward.stream) for reward in row.rewards)


def _compared(over: Baseline | Scale, peers: Sequence[str]) -> Iterable[list[int]]:
    """Index lists of the values whose mean or deviation is taken together; none for `none`."""
    found: dict[str, list[int]] = {}
    if over != "none":
        for index, key in enumerate(peers):
            found.setdefault("" if over == "batch" else key, []).append(index)
    return found.values()


def _equal(values: np.ndarray) -> bool:
    return bool(np.all(values == values[0]))


def _whiten(totals: list[np.ndarray], masks: list[np.ndarray]) -> list[np.ndarray]:
    """(x - mean) / sqrt(var + 1e-8) over the masks' tokens of the whole batch, 0 elsewhere."""
    flat = np.concatenate([total[mask] for total, mask in zip(totals, masks, strict=True)])
    if not len(flat) or _equal(flat):
        return [np.zeros_like(total) for total in totals]
    mean, deviation = flat.mean(), np.sqrt(flat.var() + 1e-8)
    return [
        np.where(mask, (total - mean) / deviation, 0.0).astype(np.float32)
        for total, mask in zip(totals, masks, strict=True)
    ]
