"""Rows go through the model, micro-batch by micro-batch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from rlcotrain.hardware import Hardware
from rlcotrain.loss.collate import collate
from rlcotrain.model.logprobs import token_logprobs
from rlcotrain.model.plan import Chunk
from rlcotrain.model.shared_prompts import SharedPrompts, read_prompts
from rlcotrain.types import Batch, Rollout

if TYPE_CHECKING:
    from transformers import PreTrainedModel

# Positions that went through the model, and how many of them held a token: the rest is padding.
Read = tuple[int, int]
# Numbers of the rows, the rows, their log-probabilities and entropy [B, L], what was read for them.
Pass = tuple[list[int], Batch, torch.Tensor, torch.Tensor, Read]


def passes(
    model: PreTrainedModel,
    forward: Callable[..., Any],
    chunks: Sequence[Chunk],
    share: bool,
    rows: Sequence[Rollout],
    weights: Sequence[np.ndarray],
    old: Sequence[np.ndarray] | None,
    hardware: Hardware,
    entropy_grad: bool,
) -> Iterator[Pass]:
    """All rows of `chunks` once. `weights` and `old` are per row of `rows`, [T].

    forward: calls a function of `model` that needs its weights. An empty micro-batch is a pass of a
    row that scores nothing; its numbers are none.
    share: prompts of several completions go through the model once, chunk by chunk; such a batch
    holds completions only, and to go on behind a chunk is to take its gradients through its
    prompts: every pass is for one backward, before the next is asked for.
    """
    device = hardware.torch_device
    idle = min(range(len(rows)), key=lambda i: len(rows[i].prompt_ids) + len(rows[i].token_ids))
    for chunk in chunks:
        prompts: SharedPrompts | None = None
        place: dict[bytes, int] = {}
        positions = tokens = 0
        if share:
            for i in chunk.rows or [idle]:
                place.setdefault(rows[i].prompt_ids.tobytes(), len(place))
            distinct = [np.frombuffer(text, np.int32) for text in place]
            with hardware.autocast():
                prompts = SharedPrompts(model, *forward(read_prompts, model, distinct, device))
            if chunk.rows:
                positions, tokens = len(distinct) * max(map(len, distinct)), sum(map(len, distinct))
        for part in chunk.parts:
            numbers = part or [idle]
            lines = [rows[i] for i in numbers]
            if not part:
                lines = [replace(row, mask=np.zeros_like(row.mask)) for row in lines]
            if share:
                lines = [replace(row, prompt_ids=row.prompt_ids[:0]) for row in lines]
            batch = collate(
                lines, [weights[i] for i in numbers], old and [old[i] for i in numbers], device
            )
            given = batch.token_ids_BL, batch.scored_BL, batch.temperature_B
            options = hardware.logprob_chunk, entropy_grad
            with hardware.autocast():
                if prompts is None:
                    scores = forward(token_logprobs, model, *given, *options)
                else:
                    which = [place.get(rows[i].prompt_ids.tobytes(), 0) for i in numbers]
                    which_B = torch.tensor(which, device=device)
                    scores = forward(prompts.token_logprobs, which_B, *given, *options)
            if part:  # what is there for company is no work
                positions += batch.token_ids_BL.numel()
                tokens += sum(len(row.prompt_ids) + len(row.token_ids) for row in lines)
            yield part, batch, *scores, (positions, tokens)
            positions = tokens = 0
        if prompts is not None:
            prompts.backward()
