"""Rows go through the model, micro-batch by micro-batch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch

from rlcotrain.decoder.read import read_tries
from rlcotrain.hardware import Hardware
from rlcotrain.loss.collate import collate
from rlcotrain.model.logprobs import token_logprobs
from rlcotrain.model.plan import Chunk
from rlcotrain.model.prefixes import SharedPrefixes
from rlcotrain.types import Batch, Rollout

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class Fed(NamedTuple):
    """What went through the model."""

    positions: int
    tokens: int  # the rest is padding
    asked: int  # tokens of the rows, as if each had been read by itself


# Numbers of the rows, the rows, their log-probabilities and entropy [B, L], what was read for them.
Pass = tuple[list[int], Batch, torch.Tensor, torch.Tensor, Fed]


def passes(
    model: PreTrainedModel,
    forward: Callable[..., Any],
    chunks: Sequence[Chunk],
    rows: Sequence[Rollout],
    weights: Sequence[np.ndarray],
    old: Sequence[np.ndarray] | None,
    hardware: Hardware,
    entropy_grad: bool,
) -> Iterator[Pass]:
    """All rows of `chunks` once. `weights` and `old` are per row of `rows`, [T].

    forward: calls a function of `model` that needs its weights. An empty micro-batch is a pass of a
    row that scores nothing; its numbers are none.
    A chunk that shares beginnings reads them once; its batches hold completions only, and to go on
    behind it is to take its gradients through them: every pass is for one backward, before the next
    is asked for.
    """
    device = hardware.torch_device
    idle = min(range(len(rows)), key=lambda i: len(rows[i].prompt_ids) + len(rows[i].token_ids))
    for chunk in chunks:
        prefixes: SharedPrefixes | None = None
        positions = tokens = 0
        if chunk.tries:
            with hardware.autocast():
                read = forward(read_tries, model, chunk.tries, device)
            prefixes = SharedPrefixes(model, read)
            positions, tokens = read[0].shape[:2].numel(), sum(map(len, chunk.tries))
        for part in chunk.parts:
            numbers = part or [next(iter(chunk.homes), idle)]
            lines = [rows[i] for i in numbers]
            if not part:
                lines = [replace(row, mask=np.zeros_like(row.mask)) for row in lines]
            if prefixes is not None:
                lines = [replace(row, prompt_ids=row.prompt_ids[:0]) for row in lines]
            batch = collate(
                lines, [weights[i] for i in numbers], old and [old[i] for i in numbers], device
            )
            homes = [chunk.homes[i] for i in numbers] if prefixes is not None else []
            how = batch.scored_BL, batch.temperature_B, hardware.logprob_chunk, entropy_grad
            with hardware.autocast():
                if prefixes is None:
                    scores = forward(token_logprobs, model, batch.token_ids_BL, *how)
                else:
                    scores = forward(prefixes.token_logprobs, lines, homes, *how)
            fed = Fed(0, 0, 0)  # what is there for company is no work
            if part:
                own = [len(home.tail) for home in homes]
                own = own or [len(row.prompt_ids) + len(row.token_ids) for row in lines]
                positions, tokens = positions + len(own) * max(own), tokens + sum(own)
                fed = Fed(positions, tokens, sum(own) + sum(len(home.path) for home in homes))
                positions = tokens = 0
            yield part, batch, *scores, fed
        if prefixes is not None:
            prefixes.backward()
