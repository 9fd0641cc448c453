"""Rows go through the model, micro-batch by micro-batch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch

from rlcotrain.hardware import Hardware
from rlcotrain.loss.collate import collate, split_by_prompt, split_micro_batches
from rlcotrain.model.logprobs import token_logprobs
from rlcotrain.model.shared_prompts import SharedPrompts
from rlcotrain.types import Batch, Rollout

if TYPE_CHECKING:
    from transformers import PreTrainedModel

# Positions that went through the model, and how many of them held a token: the rest is padding.
Read = tuple[int, int]
# Numbers of the rows, the rows, their log-probabilities and entropy [B, L], what was read for them.
Pass = tuple[list[int], Batch, torch.Tensor, torch.Tensor, Read]


def passes(
    model: PreTrainedModel,
    rows: Sequence[Rollout],
    weights: Sequence[np.ndarray],
    old: Sequence[np.ndarray] | None,
    hardware: Hardware,
    share: bool,
    entropy_grad: bool,
) -> Iterator[Pass]:
    """All rows once. `weights` and `old` are per row, [T].

    share: prompts of several completions go through the model once, chunk by chunk; such a batch
    holds completions only, and to go on behind a chunk is to take its gradients through its
    prompts: every pass is for one backward, before the next is asked for.
    """
    share = share and len({row.prompt_ids.tobytes() for row in rows}) < len(rows)
    budget, device = hardware.micro_batch_tokens, hardware.torch_device
    for chunk in split_by_prompt(rows, budget) if share else [list(range(len(rows)))]:
        lines = [rows[i] for i in chunk]
        prompts: SharedPrompts | None = None
        positions = tokens = 0
        if share:
            place: dict[bytes, int] = {}
            prompt_of = [place.setdefault(row.prompt_ids.tobytes(), len(place)) for row in lines]
            distinct = [np.frombuffer(text, np.int32) for text in place]
            with hardware.autocast():
                prompts = SharedPrompts(model, distinct, device)
            positions, tokens = len(distinct) * max(map(len, distinct)), sum(map(len, distinct))
            lines = [replace(row, prompt_ids=row.prompt_ids[:0]) for row in lines]
        for part in split_micro_batches(lines, budget):
            batch = collate(
                [lines[i] for i in part],
                [weights[chunk[i]] for i in part],
                old and [old[chunk[i]] for i in part],
                device,
            )
            given = batch.token_ids_BL, batch.scored_BL, batch.temperature_B
            with hardware.autocast():
                if prompts is None:
                    scores = token_logprobs(model, *given, hardware.logprob_chunk, entropy_grad)
                else:
                    which_B = torch.tensor([prompt_of[i] for i in part], device=device)
                    scores = prompts.token_logprobs(
                        which_B, *given, hardware.logprob_chunk, entropy_grad
                    )
            positions += batch.token_ids_BL.numel()
            tokens += sum(len(lines[i].prompt_ids) + len(lines[i].token_ids) for i in part)
            yield [chunk[i] for i in part], batch, *scores, (positions, tokens)
            positions = tokens = 0
        if prompts is not None:
            prompts.backward()
