"""Rows to tensors: what a token weighs in an optimizer step, which rows make one."""

from collections import Counter
from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch

from rlcotrain.seeds import derive_seed
from rlcotrain.types import Batch, Rollout

Aggregation = Literal["sequence", "token", "prompt", "constant"]


def token_weights(
    rows: Sequence[Rollout], aggregation: Aggregation, constant_length: int
) -> list[np.ndarray]:
    """What each token of each row counts in the loss of one optimizer step, [T] per row.

    sequence: 1 / (N T_i), the mean over rows of their token means (GRPO).
    token:    1 / sum_i T_i, the mean over all tokens (DAPO).
    prompt:   1 / (P sum_j T_j), the mean over P prompts of their token means (nanochat); the rows j
              of a prompt are its peers.
    constant: 1 / (N constant_length), length-free (Dr.GRPO); never taken from the batch.
    T_i counts unmasked tokens; T, N and P those of all rows of the step, also of rows without an
    advantage.
    """
    counts = [int(row.mask.sum()) for row in rows]
    if aggregation == "token":
        shares = [1.0 / max(sum(counts), 1)] * len(rows)
    elif aggregation == "prompt":
        prompts = Counter[str]()
        for row, count in zip(rows, counts, strict=True):
            prompts[row.peers] += count
        shares = [1.0 / (len(prompts) * max(prompts[row.peers], 1)) for row in rows]
    elif aggregation == "constant":
        shares = [1.0 / (len(rows) * constant_length)] * len(rows)
    else:
        shares = [1.0 / (len(rows) * max(count, 1)) for count in counts]
    return [
        np.where(row.mask, share, 0.0).astype(np.float32)
        for row, share in zip(rows, shares, strict=True)
    ]


def split_minibatches(
    rows: Sequence[Rollout], minibatches: int, *seed_parts: int | str
) -> list[list[int]]:
    """Row numbers of each optimizer step: shuffled, and the rows of one group stay together.

    Raises ValueError if there are fewer groups than minibatches.
    """
    groups: dict[str, list[int]] = {}
    for index, row in enumerate(rows):
        groups.setdefault(row.peers, []).append(index)
    if minibatches > len(groups):
        raise ValueError(
            f"loss.minibatches={minibatches}: must be at most the number of groups "
            f"in a step, here {len(groups)}"
        )
    keys = list(groups)
    if minibatches > 1:
        np.random.default_rng(derive_seed("minibatches", *seed_parts)).shuffle(keys)
    parts = np.array_split(np.arange(len(keys)), minibatches)
    return [[index for k in part for index in groups[keys[k]]] for part in parts]


def collate(
    rows: Sequence[Rollout],
    weights: Sequence[np.ndarray],
    old: Sequence[np.ndarray] | None,
    device: torch.device,
) -> Batch:
    """One micro-batch. `weights` and `old` are per row, [T]; no `old`: the current policy."""
    length = max(len(row.prompt_ids) + len(row.token_ids) for row in rows)
    token_ids = np.zeros((len(rows), length), np.int64)
    scored = np.zeros((len(rows), length), bool)
    for b, row in enumerate(rows):
        prompt, end = len(row.prompt_ids), len(row.prompt_ids) + len(row.token_ids)
        token_ids[b, :prompt], token_ids[b, prompt:end] = row.prompt_ids, row.token_ids
        scored[b, prompt:end] = row.mask

    def spread(values: Sequence[np.ndarray | None]) -> torch.Tensor:
        out = np.zeros((len(rows), length), np.float32)
        for b, (row, value) in enumerate(zip(rows, values, strict=True)):
            prompt = len(row.prompt_ids)
            assert value is not None, "every row of a micro-batch carries the same arrays"
            out[b, prompt : prompt + len(row.token_ids)] = value
        return torch.from_numpy(out).to(device)

    referenced = rows[0].reference is not None
    return Batch(
        token_ids_BL=torch.from_numpy(token_ids).to(device),
        scored_BL=torch.from_numpy(scored).to(device),
        weights_BL=spread(weights),
        sampler_BL=spread([row.logprobs for row in rows]),
        old_BL=None if old is None else spread(old),
        advantages_BL=spread([row.advantages for row in rows]),
        reference_BL=spread([row.reference for row in rows]) if referenced else None,
        temperature_B=torch.tensor([row.temperature for row in rows], device=device),
        starts_B=tuple(len(row.prompt_ids) for row in rows),
    )
