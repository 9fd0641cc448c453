"""The output layer in float32: half-precision logits are the largest part of what sampler and
trainer disagree about (arXiv 2510.13786)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def head_logits(model: PreTrainedModel, hidden_NH: torch.Tensor) -> torch.Tensor:
    """[N, V] float32 logits of hidden states, whatever autocast is on around.

    Softly capped where the model does so: cap * tanh(logits / cap).
    """
    with torch.autocast(hidden_NH.device.type, enabled=False):
        logits: torch.Tensor = model.get_output_embeddings()(hidden_NH.float())
    config = model.config.get_text_config(decoder=True)
    cap = getattr(config, "final_logit_softcapping", None)
    return logits if cap is None else cap * torch.tanh(logits / cap)
