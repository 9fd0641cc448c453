"""Drawing one token a row, from a seed that belongs to the row.

A row's tokens depend on its seed and its own logits only, never on which rows share its batch.
"""

import numpy as np
import torch

from rlcotrain.types import Sampling

_U64 = np.uint64


def uniforms(seeds_B: np.ndarray, position: int) -> np.ndarray:
    """[B] float64 in [0, 1): splitmix64 of (seed, position), a counter-based generator."""
    with np.errstate(over="ignore"):
        z = seeds_B.astype(_U64) + _U64(position + 1) * _U64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> _U64(30))) * _U64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> _U64(27))) * _U64(0x94D049BB133111EB)
        z = z ^ (z >> _U64(31))
    return (z >> _U64(11)).astype(np.float64) * 2.0**-53


def draw_tokens(
    logits_LV: torch.Tensor,
    sampling: Sampling,
    uniforms_B: np.ndarray,
    line_B: torch.Tensor | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """(token ids [B], their log-probabilities [B]) at the sampling temperature, in float32.

    line_B: from which of the L distributions each row draws; None: each from its own.
    Log-probabilities are those of the distribution drawn from; greedy rows report temperature 1.
    """
    logits_LV = logits_LV.float()
    if line_B is None:
        line_B = torch.arange(len(logits_LV), device=logits_LV.device)
    if sampling.temperature == 0:
        logprobs_LV = torch.log_softmax(logits_LV, -1)
        ids_B = logprobs_LV.argmax(-1)[line_B]
    else:
        logits_LV = _filtered(logits_LV / sampling.temperature, sampling)
        logprobs_LV = torch.log_softmax(logits_LV, -1)
        # float64: in float32 the tail of a large vocabulary could never be drawn.
        cumulative_BV = logprobs_LV.double().exp().cumsum(-1)[line_B]
        u_B = torch.from_numpy(uniforms_B).to(logits_LV.device)
        targets_B1 = (u_B * cumulative_BV[:, -1])[:, None]
        # right=True skips tokens of probability 0, whose cumulative value equals their neighbour's.
        ids_B = torch.searchsorted(cumulative_BV, targets_B1, right=True)[:, 0]
        ids_B = ids_B.clamp(max=logits_LV.shape[-1] - 1)
    return ids_B, logprobs_LV[line_B, ids_B]


def _filtered(logits_BV: torch.Tensor, sampling: Sampling) -> torch.Tensor:
    """Logits with what top_k and top_p leave out at -inf."""
    if sampling.top_k:
        kth_B1 = logits_BV.topk(min(sampling.top_k, logits_BV.shape[-1]), -1).values[:, -1:]
        logits_BV = logits_BV.masked_fill(logits_BV < kth_B1, -torch.inf)
    if sampling.top_p < 1:
        sorted_BV, order_BV = logits_BV.sort(-1, descending=True)
        mass_BV = sorted_BV.softmax(-1).cumsum(-1)
        # Keep tokens until the mass before them reaches top_p; the first always stays.
        outside_BV = mass_BV - sorted_BV.softmax(-1) >= sampling.top_p
        outside_BV = torch.zeros_like(outside_BV).scatter(-1, order_BV, outside_BV)
        logits_BV = logits_BV.masked_fill(outside_BV, -torch.inf)
    return logits_BV
