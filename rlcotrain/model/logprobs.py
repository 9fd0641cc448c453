"""Log-probabilities and entropy of given tokens, without ever holding [B, L, V] float32 logits."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.utils.checkpoint import checkpoint

from rlcotrain.engine.head import head_logits

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def token_logprobs(
    model: PreTrainedModel,
    token_ids_BL: torch.Tensor,
    scored_BL: torch.Tensor,
    temperature_B: torch.Tensor,
    chunk: int,
    entropy_grad: bool = False,
) -> tuple[torch.Tensor, torch.Tensor]:
    """(log-probabilities, entropy), both [B, L] float32, 0 where `scored_BL` is false.

    Index t speaks about token t: the one place where predictions are shifted by one. The model's
    head runs on scored tokens only, `chunk` of them at a time, at the rows' sampling temperature.
    """
    assert not scored_BL[:, 0].any(), "a first token has no prediction: prompts are never empty"
    hidden_BLH = _decoder(model)(input_ids=token_ids_BL[:, :-1], use_cache=False).last_hidden_state
    scores = score_hidden(
        model,
        hidden_BLH,
        token_ids_BL[:, 1:],
        scored_BL[:, 1:],
        temperature_B,
        chunk,
        entropy_grad,
    )
    logprobs_BL, entropy_BL = (torch.nn.functional.pad(score, (1, 0)) for score in scores)
    return logprobs_BL, entropy_BL


def score_hidden(
    model: PreTrainedModel,
    hidden_BLH: torch.Tensor,
    token_ids_BL: torch.Tensor,
    scored_BL: torch.Tensor,
    temperature_B: torch.Tensor,
    chunk: int,
    entropy_grad: bool,
) -> tuple[torch.Tensor, torch.Tensor]:
    """The same from hidden states, of which index t is the one that predicts token t."""
    hidden_NH, targets_N = hidden_BLH[scored_BL], token_ids_BL[scored_BL]
    temperature_N = temperature_B[:, None].expand_as(scored_BL)[scored_BL]
    parts = [
        _chunk_scores(model, *piece, entropy_grad, recompute=len(targets_N) > chunk)
        for piece in zip(
            hidden_NH.split(chunk), targets_N.split(chunk), temperature_N.split(chunk), strict=True
        )
    ]
    return tuple(  # type: ignore[return-value]
        torch.zeros_like(token_ids_BL, dtype=torch.float32).masked_scatter(
            scored_BL, torch.cat(flat)
        )
        for flat in zip(*parts, strict=True)
    )


def _chunk_scores(
    model: PreTrainedModel,
    hidden_NH: torch.Tensor,
    targets_N: torch.Tensor,
    temperature_N: torch.Tensor,
    entropy_grad: bool,
    recompute: bool,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Scores of one chunk; with several chunks the logits are computed again in the backward."""

    def scores(hidden: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        logits_NV = head_logits(model, hidden) / temperature_N[:, None]
        logprobs_NV = torch.log_softmax(logits_NV, -1)
        with torch.set_grad_enabled(entropy_grad and torch.is_grad_enabled()):
            entropy_N = -(logprobs_NV.exp() * logprobs_NV).sum(-1)
        return logprobs_NV.gather(-1, targets_N[:, None])[:, 0], entropy_N

    if recompute and torch.is_grad_enabled():
        return checkpoint(scores, hidden_NH, use_reentrant=False)  # type: ignore[no-any-return]
    return scores(hidden_NH)


def _decoder(model: PreTrainedModel) -> torch.nn.Module:
    return model.get_decoder()  # type: ignore[no-any-return]


def check_head(model: PreTrainedModel) -> None:
    """Raise ValueError for what scoring and decoding here do not do as the model does.

    That is anything between head and logits but a soft cap (scaling), and sliding windows, which
    count the holes that the engine leaves in its cache.
    """
    if "sliding_attention" in (getattr(model.config, "layer_types", None) or ()):
        raise ValueError(f"model: {type(model).__name__} has sliding windows: not supported")
    ids = torch.arange(4, device=model.device)[None]
    with torch.no_grad():
        whole = model(input_ids=ids, use_cache=False).logits
        hidden = _decoder(model)(input_ids=ids, use_cache=False).last_hidden_state
        ours = head_logits(model, hidden[0])
    if not torch.allclose(whole[0].float(), ours, atol=1e-3, rtol=1e-3):
        raise ValueError(
            f"model: {type(model).__name__} changes its logits after the output layer; "
            "such architectures are not supported"
        )
