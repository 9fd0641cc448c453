"""One token a line through the layers of a plain decoder: its matrix products and little else.

Where a line reads one token, much of a step on a CPU goes into what the library's modules do
between the products. Elsewhere, and for whatever differs from the arithmetic below, they run.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch.nn.functional import linear, rms_norm, silu

from rlcotrain.decoder.cache import LineCache

if TYPE_CHECKING:
    from transformers import PreTrainedModel

# Pre-norm layers of RMSNorm, rotated queries and keys (normed per head in Qwen3) and a SwiGLU.
PLAIN = ("llama", "qwen2", "qwen3")


def is_plain(model: PreTrainedModel) -> bool:
    """Whether `step` does what the model's own layers do, in float32 and without adapters."""
    config, layers = model.config, model.get_decoder().layers
    return (
        config.model_type in PLAIN
        and config.hidden_act == "silu"
        and all(type(part) is torch.nn.Linear for layer in layers for part in _products(layer))
        and {p.dtype for p in layers.parameters()} == {torch.float32}
        and model.device.type == "cpu"
        and not torch.is_autocast_enabled("cpu")
    )


def _products(layer: Any) -> tuple[Any, ...]:
    seen, mlp = layer.self_attn, layer.mlp
    return (
        *(seen.q_proj, seen.k_proj, seen.v_proj, seen.o_proj),
        *(mlp.gate_proj, mlp.up_proj, mlp.down_proj),
    )


def step(
    model: PreTrainedModel, token_ids_B: torch.Tensor, seen_BS: torch.Tensor, cache: LineCache
) -> torch.Tensor:
    """Hidden states [B, H] behind the newest token of every line, whose slot `cache.step` made."""
    decoder: Any = model.get_decoder()
    lines, slots = seen_BS.shape
    hidden_BH = decoder.embed_tokens(token_ids_B)
    cos, sin = decoder.rotary_emb(hidden_BH, seen_BS.sum(-1, keepdim=True) - 1)
    half = sin.shape[-1] // 2
    turns = cos, torch.cat([-sin[..., :half], sin[..., half:]], -1)  # [B, 1, D] both
    heads = cache.heads  # of keys and values, each seen by a group of query heads
    unseen = (
        torch.where(seen_BS, 0.0, -torch.inf)[:, None].expand(-1, heads, -1).reshape(-1, 1, slots)
    )
    for number, layer in enumerate(decoder.layers):
        attention, mlp = layer.self_attn, layer.mlp
        normed = _normed(hidden_BH, layer.input_layernorm)
        query, key, value = (
            linear(normed, part.weight, part.bias).view(lines, -1, attention.head_dim)
            for part in (attention.q_proj, attention.k_proj, attention.v_proj)
        )
        if hasattr(attention, "q_norm"):
            query, key = _normed(query, attention.q_norm), _normed(key, attention.k_norm)
        query, key = _turned(query, *turns), _turned(key, *turns)
        keys, values = cache.update(key[:, :, None], value[:, :, None], number)
        query = query.view(lines * heads, -1, attention.head_dim)
        scores = torch.baddbmm(
            unseen, query, keys.flatten(0, 1).transpose(1, 2), alpha=attention.scaling
        )
        mixed = torch.bmm(scores.softmax(-1), values.flatten(0, 1)).view(lines, -1)
        hidden_BH = _added(hidden_BH, mixed, attention.o_proj)
        normed = _normed(hidden_BH, layer.post_attention_layernorm)
        gate, up = (linear(normed, part.weight, part.bias) for part in (mlp.gate_proj, mlp.up_proj))
        hidden_BH = _added(hidden_BH, silu(gate, inplace=True).mul_(up), mlp.down_proj)
    return _normed(hidden_BH, decoder.norm)


def _normed(states: torch.Tensor, norm: Any) -> torch.Tensor:
    return rms_norm(states, norm.weight.shape, norm.weight, norm.variance_epsilon)


def _turned(states_BHD: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    """Rotated by their positions; the first half of `sin` is negative."""
    return torch.addcmul(states_BHD * cos, states_BHD.roll(states_BHD.shape[-1] // 2, -1), sin)


def _added(states: torch.Tensor, given: torch.Tensor, product: Any) -> torch.Tensor:
    """states + product(given)"""
    if product.bias is not None:
        states = states + product.bias
    return torch.addmm(states, given, product.weight.t())
