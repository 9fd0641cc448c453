"""What a decode remembers of every row, and how one new token a row looks at it.

The library's own cache is copied whole for each token, and its attention is made for long queries:
together they were two fifths of a decode on a CPU.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from transformers import PreTrainedModel

NAME = "rlcotrain_one_query"
ROOM = 16  # tokens for which room is made at a time


class RowCache:
    """Keys and values of every layer [B, heads, slots, D]; slots from `length` on are free and 0.

    Made from what was read of the prompts. It stands in for a transformers cache where every row
    reads one token and brings its own mask and position.
    """

    def __init__(self, keys: Sequence[torch.Tensor], values: Sequence[torch.Tensor]) -> None:
        self.keys, self.values = list(keys), list(values)
        self.length = self.slots

    @property
    def slots(self) -> int:
        """Tokens there is room for."""
        return self.keys[0].shape[-2]

    def keep(self, rows_B: torch.Tensor) -> None:
        """Go on with these rows, in this order; a row may be kept several times."""
        for held in (self.keys, self.values):
            for layer, old in enumerate(held):
                _, heads, _, width = old.shape
                new = old.new_empty(len(rows_B), heads, self.length + ROOM, width)
                read = new[:, :, : self.length]
                torch.index_select(old[:, :, : self.length], 0, rows_B, out=read)
                new[:, :, self.length :] = 0
                held[layer] = new

    def step(self) -> int:
        """Make a slot for the next token of every row; returns how many slots there are."""
        if self.length == self.slots:
            self.keep(torch.arange(len(self.keys[0]), device=self.keys[0].device))
        self.length += 1
        return self.slots

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, layer_idx: int, *_: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Write the newest slot of a layer; returns all its slots, the free ones too."""
        keys, values = self.keys[layer_idx], self.values[layer_idx]
        keys[:, :, self.length - 1] = key_states[:, :, 0]
        values[:, :, self.length - 1] = value_states[:, :, 0]
        return keys, values


@contextmanager
def one_query(model: PreTrainedModel) -> Iterator[None]:
    """Attention as it is best where every row reads one token."""
    from transformers import AttentionInterface

    AttentionInterface.register(NAME, _attend)
    config = model.get_decoder().config
    usual = config._attn_implementation
    config._attn_implementation = NAME
    try:
        yield
    finally:
        config._attn_implementation = usual


def _attend(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor,
    scaling: float,
    **_: Any,
) -> tuple[torch.Tensor, None]:
    """[B, 1, heads, D] of queries [B, heads, 1, D]; the mask [B, 1, 1, slots] is added."""
    rows, heads, _one, width = query.shape
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
