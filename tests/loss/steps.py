"""Steps of made-up rows, and what a loss of this project makes of them."""

from collections.abc import Sequence

import numpy as np
import torch

from rlcotrain.loss.collate import collate, token_weights
from rlcotrain.loss.objective import Loss
from rlcotrain.types import Rollout
from tests.loss.composed import MAX_TOKENS
from tests.rows import spoken

Lines = list[np.ndarray]  # [T] a row


def made_up(seed: int, groups: int = 4, size: int = 3) -> tuple[list[Rollout], Lines, Lines]:
    """(rows with rewards, old log-probabilities, current ones) of groups of rows."""
    random = np.random.default_rng(seed)
    rows, old, current = [], [], []
    for group in range(groups):
        for _ in range(size):
            length = int(random.integers(1, MAX_TOKENS + 1))
            mask = random.random(length) < 0.85
            row = spoken([7] * int(random.integers(1, 5)), [5] * length, f"{group}", mask=mask)
            rows.append(row.give("outcome", float(random.integers(0, 3))))
            old.append(random.uniform(-4, -0.1, length).astype(np.float32))
            current.append((old[-1] + random.normal(0, 0.4, length)).astype(np.float32))
    return rows, old, current


def evaluated(
    loss: Loss,
    rows: Sequence[Rollout],
    old: Sequence[np.ndarray],
    current: Sequence[np.ndarray],
    entropies: Sequence[np.ndarray] | None = None,
    size: int = 4,
) -> tuple[float, Lines, int]:
    """(loss, its gradient by the current log-probabilities, clipped tokens) of a step of rows that
    have advantages, in micro-batches of `size` rows."""
    weights = token_weights(rows, loss.aggregation, loss.constant_length)
    value, slopes, clipped = 0.0, [], 0
    for start in range(0, len(rows), size):
        part = slice(start, start + size)
        batch = collate(rows[part], weights[part], old[part], torch.device("cpu"))
        logprobs_BL = torch.zeros(batch.token_ids_BL.shape)
        entropy_BL = torch.zeros_like(logprobs_BL)
        places = [(len(row.prompt_ids), len(row.token_ids)) for row in rows[part]]
        for b, (first, length) in enumerate(places):
            logprobs_BL[b, first : first + length] = torch.tensor(current[start + b])
            if entropies is not None:
                entropy_BL[b, first : first + length] = torch.tensor(entropies[start + b])
        share, sums = loss(batch, logprobs_BL.requires_grad_(), entropy_BL)
        share.backward()
        assert logprobs_BL.grad is not None
        value, clipped = value + share.item(), clipped + int(sums["clipped"])
        for b, (first, length) in enumerate(places):
            slopes.append(logprobs_BL.grad[b, first : first + length].numpy())
    return value, slopes, clipped
