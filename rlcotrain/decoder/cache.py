"""What a decode remembers of every line of text, and how one new token a line looks at it.

The library's own cache is copied whole for each token, and its attention is made for long queries:
together they were two fifths of a decode on a CPU.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from transformers import PreTrainedModel

NAME = "rlcotrain_one_query"
# What is read of a line are those slots that prompts took, and multiples of this many behind them.
ROOM = 16


class LineCache:
    """Keys and values of every layer [lines, heads, slots, D], and which slots a line sees.

    It stands in for a transformers cache where every line reads one token and brings its own mask
    and position. Lines may go on in several ways, so there is room for more than there are.
    """

    def __init__(self, lengths_B: torch.Tensor, most: int, tokens: int = 0) -> None:
        """Of B lines that are to hold so many tokens at first; at most `most` lines.

        tokens: behind the longest, for which there is room from the beginning (`at_once`).
        """
        self.lines, self.length, self.most = len(lengths_B), int(lengths_B.max()), most
        self._prompts, self._least = self.length, self.length + tokens
        slots = torch.arange(self._room, device=lengths_B.device)
        self._seen = lengths_B.new_zeros((most, len(slots)), dtype=torch.bool)
        self._seen[: self.lines] = slots < lengths_B[:, None]
        self._keys: list[torch.Tensor] = []
        self._values: list[torch.Tensor] = []

    def fill(
        self,
        line_N: torch.Tensor,
        slot_N: torch.Tensor,
        keys: Iterable[torch.Tensor],
        values: Iterable[torch.Tensor],
    ) -> None:
        """Write what was read of single tokens, of each layer [N, heads, D]."""
        for held, given in ((self._keys, keys), (self._values, values)):
            for layer, new in enumerate(given):
                if layer == len(held):
                    _, heads, width = new.shape
                    # What a line does not see is masked, but not where it is not a number.
                    shape = self.most, heads, self._room, width
                    held.append(new.new_zeros(shape, dtype=_attended(new)))
                held[layer][line_N, :, slot_N] = new.to(held[layer].dtype)

    def read(
        self, lines: torch.Tensor, slots: int
    ) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
        """Keys and values of the first slots of some lines."""
        keys, values = (
            [layer[lines, :, :slots] for layer in held] for held in (self._keys, self._values)
        )
        return keys, values

    @property
    def heads(self) -> int:
        """Of keys and values, in a layer."""
        return self._keys[0].shape[1]

    def keep(self, lines: torch.Tensor, most: int) -> None:
        """Go on with these lines, in this order; one may be kept several times."""
        self.lines, self.most = len(lines), most
        self._seen = self._moved(self._seen, lines, 1)
        for held in (self._keys, self._values):
            for layer, old in enumerate(held):
                held[layer] = self._moved(old, lines, 2)

    def _moved(self, old: torch.Tensor, lines: torch.Tensor, slots: int) -> torch.Tensor:
        """`old` of these lines, with room along its dimension `slots`."""
        shape = list(old.shape)
        shape[0], shape[slots] = self.most, self._room
        new = old.new_empty(shape)
        filled = new[: len(lines)].narrow(slots, 0, self.length)
        torch.index_select(old.narrow(slots, 0, self.length), 0, lines, out=filled)
        new.narrow(slots, self.length, self._room - self.length).zero_()
        return new

    def fork(self, sources: torch.Tensor, targets: torch.Tensor, lines: int) -> None:
        """Copy lines over others that are no longer needed, or new; `lines` is how many there are
        then."""
        self._seen[targets, : self.length] = self._seen[sources, : self.length]
        for held in (*self._keys, *self._values):
            held[targets, :, : self.length] = held[sources, :, : self.length]
        self.lines = lines

    def step(self) -> torch.Tensor:
        """Make a slot for the next token of every line; [lines, slots] bool: what each sees."""
        if self.length == self._seen.shape[1]:
            self.keep(torch.arange(self.lines, device=self._seen.device), self.most)
        self._seen[:, self.length] = True
        self.length += 1
        return self._seen[: self.lines, : self._whole(self.length)]

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, layer_idx: int, *_: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Write the newest slot of a layer; returns what is read of it."""
        newest, slots = self.length - 1, self._whole(self.length)
        keys, values = (
            held[layer_idx][: self.lines, :, :slots] for held in (self._keys, self._values)
        )
        keys[:, :, newest], values[:, :, newest] = key_states[:, :, 0], value_states[:, :, 0]
        return keys, values

    @property
    def _room(self) -> int:
        return self._whole(max(self.length + 1, self._least))

    def _whole(self, slots: int) -> int:
        return self._prompts + -(-(slots - self._prompts) // ROOM) * ROOM


def at_once(device: torch.device, tokens: int) -> int:
    """For how many of the `tokens` that lines will say a cache best makes room from the beginning.

    On a CPU for none: with gaps between what is read of one line and of the next, the products
    take twice to four times as long. On a GPU for all: room that grows leaves pieces behind that
    fit nothing later.
    """
    return 0 if device.type == "cpu" else tokens


def _attended(states: torch.Tensor) -> torch.dtype:
    """The number format in which attention reads keys and values: under autocast norms of heads
    give float32, which it would cast anew for every token."""
    kind = states.device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else states.dtype


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
    # Under autocast a float32 product would give scores in half precision.
    if query.dtype == torch.float32 and not torch.is_autocast_enabled(query.device.type):
        scores = torch.matmul(query * scaling, key.transpose(-1, -2)) + attention_mask
        seen = torch.matmul(scores.softmax(-1), value)
    else:  # scores in half precision would not be those of the update
        seen = torch.nn.functional.scaled_dot_product_attention(
            query, key, value, attn_mask=attention_mask.to(query.dtype), scale=scaling
        )
    return seen.reshape(rows, 1, heads, width), None
