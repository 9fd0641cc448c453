"""What a decode remembers of every row, and how one new token a row looks at it.

The library's own cache is copied whole for each token, and its attention is made for long queries:
together they were half of a decode on a CPU.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from transformers import AttentionInterface, DynamicCache, PreTrainedModel
from transformers.cache_utils import DynamicLayer

NAME = "rlcotrain_one_query"
ROOM = 16  # tokens for which room is made at a time


class RoomyLayer(DynamicLayer):
    """Keys and values [B, heads, slots, D], the slots behind `length` free and zero.

    Reading prompts, it is its parent; `keep` turns what was read into rows to go on with.
    """

    keys: torch.Tensor  # type: ignore[assignment]
    values: torch.Tensor  # type: ignore[assignment]
    length: int

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.length = 0

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Write the next token of every row; returns all slots, the free ones too."""
        if not self.length:
            return super().update(key_states, value_states)
        self.keys[..., self.length, :] = key_states[..., 0, :]
        self.values[..., self.length, :] = value_states[..., 0, :]
        self.length += 1
        return self.keys, self.values

    def keep(self, rows: torch.Tensor) -> None:
        """Go on with these rows, in this order, one perhaps several times, and with more room."""
        self.length = self.length or self.keys.shape[-2]
        self.keys, self.values = (self._roomy(old, rows) for old in (self.keys, self.values))

    def _roomy(self, old: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        _, heads, _, width = old.shape
        new = old.new_empty(len(rows), heads, self.length + ROOM, width)
        torch.index_select(old[:, :, : self.length], 0, rows, out=new[:, :, : self.length])
        new[:, :, self.length :] = 0
        return new


class RoomyCache(DynamicCache):
    """The cache of a model without sliding windows: read prompts, `keep` rows of them, go on."""

    def __init__(self, model: PreTrainedModel) -> None:
        super().__init__(config=model.config)
        assert all(type(layer) is DynamicLayer for layer in self.layers), "as the model has checked"
        self._rooms = [RoomyLayer() for _ in self.layers]
        self.layers = list(self._rooms)

    def keep(self, rows: torch.Tensor) -> None:
        """Go on with these rows, in this order; a row may be kept several times."""
        for layer in self._rooms:
            layer.keep(rows)

    def make_room(self) -> int:
        """How many slots there are, the next token's among them."""
        first = self._rooms[0]
        if first.length == first.keys.shape[-2]:
            self.keep(torch.arange(len(first.keys), device=first.keys.device))
        return first.keys.shape[-2]


@contextmanager
def one_query(model: PreTrainedModel) -> Iterator[None]:
    """Attention as it is best where every row reads one token."""
    usual = model.config._attn_implementation
    model.config._attn_implementation = NAME
    try:
        yield
    finally:
        model.config._attn_implementation = usual


def _attend(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor,
    scaling: float,
    **kwargs: Any,
) -> tuple[torch.Tensor, None]:
    """[B, 1, heads, D] of queries [B, heads, 1, D]; the mask [B, 1, 1, slots] is added."""
    rows, heads, _, width = query.shape
    # Queries that share a head of the cache are the rows of one product with it.
    query = query.reshape(rows, key.shape[1], -1, width)
    if query.dtype == torch.float32:
        scores = torch.matmul(query * scaling, key.transpose(-1, -2)) + attention_mask
        seen = torch.matmul(scores.softmax(-1), value)
    else:  # scores in half precision would not be those of the update
        seen = torch.nn.functional.scaled_dot_product_attention(
            query, key, value, attn_mask=attention_mask.to(query.dtype), scale=scaling
        )
    return seen.reshape(rows, 1, heads, width), None


AttentionInterface.register(NAME, _attend)
