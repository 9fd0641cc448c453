"""Log-probabilities and entropy of given tokens, without ever holding [B, L, V] float32 logits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch.autograd.function import once_differentiable

from rlcotrain.decoder.head import head_logits

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
    behind_BL = scored_BL[:, 1:]
    scores = score_hidden(
        model,
        hidden_BLH[behind_BL],
        token_ids_BL[:, 1:][behind_BL],
        temperature_B[:, None].expand_as(behind_BL)[behind_BL],
        chunk,
        entropy_grad,
    )
    logprobs_BL, entropy_BL = (spread(score, scored_BL) for score in scores)
    return logprobs_BL, entropy_BL


def spread(scores_N: torch.Tensor, scored_BL: torch.Tensor) -> torch.Tensor:
    """[B, L]: scores of the N scored tokens, row after row, where these stand; 0 elsewhere."""
    return torch.zeros_like(scored_BL, dtype=torch.float32).masked_scatter(scored_BL, scores_N)


def score_hidden(
    model: PreTrainedModel,
    hidden_NH: torch.Tensor,
    targets_N: torch.Tensor,
    temperature_N: torch.Tensor,
    chunk: int,
    entropy_grad: bool,
) -> tuple[torch.Tensor, torch.Tensor]:
    """The same [N] of single tokens, each from the hidden state that predicts it."""
    weights = [p for p in model.get_output_embeddings().parameters() if p.requires_grad]
    scores: tuple[torch.Tensor, torch.Tensor] = _Scores.apply(  # type: ignore[no-untyped-call]
        model, chunk, entropy_grad, hidden_NH, targets_N, temperature_N, *weights
    )
    return scores


class _Scores(torch.autograd.Function):
    """Log-probabilities and entropy [N] of targets from the hidden states before them [N, H].

    Between forward and backward a few numbers a token are kept. Logits [chunk, V] are computed
    again in the backward and overwritten by their own gradient: at most two such tensors exist.
    """

    @staticmethod
    def forward(
        ctx: Any,
        model: PreTrainedModel,
        chunk: int,
        entropy_grad: bool,
        hidden_NH: torch.Tensor,
        targets_N: torch.Tensor,
        temperature_N: torch.Tensor,
        *weights: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """weights: what is trained of the model's output layer."""
        tokens = hidden_NH, targets_N, temperature_N
        pieces = zip(*(given.split(chunk) for given in tokens), strict=True)
        parts = [_scores(model, *piece) for piece in pieces]
        logprobs_N, entropy_N, normaliser_N = (torch.cat(flat) for flat in zip(*parts, strict=True))
        ctx.model, ctx.chunk, ctx.entropy_grad = model, chunk, entropy_grad
        ctx.save_for_backward(*tokens, normaliser_N, entropy_N, *weights)
        if not entropy_grad:
            ctx.mark_non_differentiable(entropy_N)
        return logprobs_N, entropy_N

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *slopes_N: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        """slopes_N: of the loss by log-probabilities and by entropy."""
        *tokens, normaliser_N, entropy_N = ctx.saved_tensors[:5]
        weights = ctx.saved_tensors[5:]
        sums, slopes_NH = [torch.zeros_like(weight) for weight in weights], []
        given = *tokens, normaliser_N, slopes_N[0], entropy_N, slopes_N[1]
        for piece in zip(*(one.split(ctx.chunk) for one in given), strict=True):
            slope_NH, *found = _slopes(ctx.model, ctx.entropy_grad, weights, *piece)
            slopes_NH.append(slope_NH)
            for total, one in zip(sums, found, strict=True):
                total += one
        return None, None, None, torch.cat(slopes_NH), None, None, *sums


def _scores(
    model: PreTrainedModel,
    hidden_NH: torch.Tensor,
    targets_N: torch.Tensor,
    temperature_N: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Log-probability, entropy and log of the sum of exponentials of one chunk, each [N]."""
    logits_NV = head_logits(model, hidden_NH).div_(temperature_N[:, None])
    largest_N = logits_NV.amax(-1)
    logits_NV -= largest_N[:, None]
    said_N = logits_NV.gather(-1, targets_N[:, None])[:, 0]
    chances_NV = logits_NV.exp()  # not yet divided by their sum
    sum_N = chances_NV.sum(-1)
    entropy_N = sum_N.log() - chances_NV.mul_(logits_NV).sum(-1) / sum_N
    return said_N - sum_N.log(), entropy_N, largest_N + sum_N.log()


def _slopes(
    model: PreTrainedModel,
    entropy_grad: bool,
    weights: Sequence[torch.Tensor],
    hidden_NH: torch.Tensor,
    targets_N: torch.Tensor,
    temperature_N: torch.Tensor,
    normaliser_N: torch.Tensor,
    slope_N: torch.Tensor,
    entropy_N: torch.Tensor,
    entropy_slope_N: torch.Tensor,
) -> tuple[torch.Tensor, ...]:
    """Slopes of the loss by one chunk's hidden states and by `weights`.

    By logit j log p(target) changes by [j is target] - p_j, entropy by -p_j (log p_j + entropy).
    """
    with torch.enable_grad():
        hidden_NH = hidden_NH.detach().requires_grad_()
        logits_NV = head_logits(model, hidden_NH)
    slope_N = slope_N / temperature_N
    held_NV = logits_NV.detach().div_(temperature_N[:, None]).sub_(normaliser_N[:, None])
    if entropy_grad:  # in the place of the logits: at most one more tensor of their size
        chances_NV = held_NV.exp()
        held_NV += entropy_N[:, None]
        held_NV *= (entropy_slope_N / temperature_N)[:, None]
        held_NV += slope_N[:, None]
        held_NV *= chances_NV.neg_()
        del chances_NV
    else:
        held_NV.exp_().mul_(-slope_N[:, None])
    held_NV.scatter_add_(-1, targets_N[:, None], slope_N[:, None])
    return torch.autograd.grad(logits_NV, [hidden_NH, *weights], held_NV)


def _decoder(model: PreTrainedModel) -> torch.nn.Module:
    return model.get_decoder()  # type: ignore[no-any-return]
