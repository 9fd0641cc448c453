"""Tokens through the layers of a plain decoder: its matrix products and little else.

Where a line reads one token, much of a step on a CPU goes into what the library's modules do
between the products; where prompts are read, the last layer's go into states that nobody asks for.
Elsewhere, and for whatever differs from the arithmetic below, the modules run.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch.nn.functional import linear, rms_norm, scaled_dot_product_attention, silu

from rlcotrain.decoder.cache import LineCache

if TYPE_CHECKING:
    from transformers import PreTrainedModel

# Pre-norm layers of RMSNorm, rotated queries and keys (normed per head in Qwen3) and a SwiGLU.
PLAIN = ("llama", "qwen2", "qwen3")

# What N queries of a layer, of so many heads, see: (number of the layer, query [N, heads, D], key
# and value [N, heads of keys, D], scaling) -> [N, heads * D].
Look = Callable[[int, torch.Tensor, torch.Tensor, torch.Tensor, float], torch.Tensor]


def is_plain(model: PreTrainedModel) -> bool:
    """Whether the model's own layers do what is done here, in float32 and nothing else."""
    decoder = model.get_decoder()
    return (
        model.device.type == "cpu"
        and not torch.is_autocast_enabled("cpu")
        and model.config.model_type in PLAIN
        and model.config.hidden_act == "silu"
        and all(
            type(part) is torch.nn.Linear for layer in decoder.layers for part in _products(layer)
        )
        and not any(map(_is_altered, decoder.modules()))
        and {p.dtype for p in decoder.parameters()} == {torch.float32}
    )


def _products(layer: Any) -> tuple[Any, ...]:
    seen, mlp = layer.self_attn, layer.mlp
    return (
        *(seen.q_proj, seen.k_proj, seen.v_proj, seen.o_proj),
        *(mlp.gate_proj, mlp.up_proj, mlp.down_proj),
    )


def _is_altered(module: torch.nn.Module) -> bool:
    """Whether calling it does more than its class says, as adapters and quantizers have it."""
    return bool(module._forward_hooks or module._forward_pre_hooks or "forward" in vars(module))


def step(
    model: PreTrainedModel, token_ids_B: torch.Tensor, seen_BS: torch.Tensor, cache: LineCache
) -> torch.Tensor:
    """Hidden states [B, H] behind the newest token of every line, whose slot `cache.step` made."""
    lines, slots = seen_BS.shape
    heads = cache.heads  # of keys and values, each seen by a group of query heads
    unseen = (
        torch.where(seen_BS, 0.0, -torch.inf)[:, None].expand(-1, heads, -1).reshape(-1, 1, slots)
    )

    def look(
        number: int, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scaling: float
    ) -> torch.Tensor:
        keys, values = cache.update(key[:, :, None], value[:, :, None], number)
        query = query.view(lines * heads, -1, query.shape[-1])
        scores = torch.baddbmm(unseen, query, keys.flatten(0, 1).transpose(1, 2), alpha=scaling)
        return torch.bmm(scores.softmax(-1), values.flatten(0, 1)).view(lines, -1)

    return _through(model, token_ids_B, seen_BS.sum(-1) - 1, look)


def read_ends(
    model: PreTrainedModel,
    token_ids_CS: torch.Tensor,
    depths_CS: torch.Tensor,
    mask: torch.Tensor | None,
    ends_B: torch.Tensor,
) -> tuple[torch.Tensor, list[torch.Tensor], list[torch.Tensor]]:
    """What `read_tries` gives of C trees, but hidden states [B, H] of some nodes alone.

    depths_CS: where the nodes stand; mask: what each sees, [C, 1, S, S], None: what is before it.
    ends_B: the nodes, counted through all trees.
    """
    trees, size = token_ids_CS.shape
    keys: list[torch.Tensor] = []
    values: list[torch.Tensor] = []

    def look(
        _: int, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scaling: float
    ) -> torch.Tensor:
        query, key, value = (
            states.view(trees, size, *states.shape[1:]).transpose(1, 2)
            for states in (query, key, value)
        )
        keys.append(key)
        values.append(value)
        seen = scaled_dot_product_attention(
            *(query, key, value),
            attn_mask=mask,
            is_causal=mask is None,
            scale=scaling,
            enable_gqa=query.shape[1] != key.shape[1],
        )
        return seen.transpose(1, 2).reshape(trees * size, -1)

    hidden_BH = _through(model, token_ids_CS.flatten(), depths_CS.flatten(), look, ends_B)
    return hidden_BH, keys, values


def _through(
    model: PreTrainedModel,
    token_ids_N: torch.Tensor,
    position_N: torch.Tensor,
    look: Look,
    wanted_B: torch.Tensor | None = None,
) -> torch.Tensor:
    """Hidden states [N, H] behind the last layer, or [B, H], of those tokens that are wanted."""
    decoder: Any = model.get_decoder()
    hidden_NH = decoder.embed_tokens(token_ids_N)
    cos, sin = decoder.rotary_emb(hidden_NH, position_N[:, None])
    half = sin.shape[-1] // 2
    turns = cos, torch.cat([-sin[..., :half], sin[..., half:]], -1)  # [N, 1, D] both
    for number, layer in enumerate(decoder.layers):
        attention, mlp = layer.self_attn, layer.mlp
        normed = _normed(hidden_NH, layer.input_layernorm)
        query, key, value = (
            linear(normed, part.weight, part.bias).view(len(normed), -1, attention.head_dim)
            for part in (attention.q_proj, attention.k_proj, attention.v_proj)
        )
        if hasattr(attention, "q_norm"):
            query, key = _normed(query, attention.q_norm), _normed(key, attention.k_norm)
        query, key = _turned(query, *turns), _turned(key, *turns)
        seen = look(number, query, key, value, attention.scaling)
        if wanted_B is not None and number + 1 == len(decoder.layers):
            hidden_NH, seen = hidden_NH[wanted_B], seen[wanted_B]
        hidden_NH = _added(hidden_NH, seen, attention.o_proj)
        normed = _normed(hidden_NH, layer.post_attention_layernorm)
        gate, up = (linear(normed, part.weight, part.bias) for part in (mlp.gate_proj, mlp.up_proj))
        hidden_NH = _added(hidden_NH, silu(gate, inplace=True).mul_(up), mlp.down_proj)
    return _normed(hidden_NH, decoder.norm)


def _normed(states: torch.Tensor, norm: Any) -> torch.Tensor:
    return rms_norm(states, norm.weight.shape, norm.weight, norm.variance_epsilon)


def _turned(states_NHD: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    """Rotated by their positions; the first half of `sin` is negative."""
    return torch.addcmul(states_NHD * cos, states_NHD.roll(states_NHD.shape[-1] // 2, -1), sin)


def _added(states: torch.Tensor, given: torch.Tensor, product: Any) -> torch.Tensor:
    """states + product(given)"""
    if product.bias is not None:
        states = states + product.bias
    return torch.addmm(states, given, product.weight.t())
