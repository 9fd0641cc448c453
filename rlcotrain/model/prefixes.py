"""What rows begin with alike goes through the model once, however many learn from it.

Trees of beginnings are read first, and what was read of them is cut off as leaves. Rows go on
behind them, micro-batch by micro-batch, and leave their gradients there; one backward through the
trees ends it. The gradient is that of whole rows, since no token depends on one behind it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch

from rlcotrain.decoder.read import Read, along_paths, padded, read_behind
from rlcotrain.model.logprobs import score_hidden, spread
from rlcotrain.types import Rollout

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@dataclass(frozen=True, slots=True)
class Home:
    """Where a row stands: nodes of a tree of its chunk, then tokens of its own. Its last token is
    predicted only, and stands nowhere."""

    trie: int
    path: np.ndarray
    tail: np.ndarray


class SharedPrefixes:
    """The trees of a chunk as `read_tries` has read them."""

    def __init__(self, model: PreTrainedModel, read: Read) -> None:
        self.model = model
        hidden, keys, values = read
        self.shape = hidden.shape[0], hidden.shape[1]  # trees, and nodes of each with its padding
        self._read = [hidden, *keys, *values]
        wanted = torch.is_grad_enabled()
        self._leaves = [part.detach().requires_grad_(wanted) for part in self._read]

    def token_logprobs(
        self,
        rows: Sequence[Rollout],
        homes: Sequence[Home],
        scored_BT: torch.Tensor,
        temperature_B: torch.Tensor,
        chunk: int,
        entropy_grad: bool = False,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """What `logprobs.token_logprobs` gives, of completions alone: both [B, T].

        What rows score alike, as they do on a path that they share, is scored once.
        """
        hidden_NH = self._leaves[0].flatten(0, 1)
        if (tails := self._read_tails(homes)) is not None:
            hidden_NH = torch.cat([hidden_NH.to(tails.dtype), tails.flatten(0, 1)])
        made = predictions(rows, homes, *self.shape)
        state_N, target_N, first_N, of_scored = (
            torch.from_numpy(numbers).to(scored_BT.device) for numbers in made
        )
        temperature = temperature_B[:, None].expand_as(scored_BT)[scored_BT]
        scores = score_hidden(
            self.model,
            hidden_NH.index_select(0, state_N),
            target_N,
            temperature.index_select(0, first_N),
            chunk,
            entropy_grad,
        )
        logprobs_BT, entropy_BT = (
            spread(score.index_select(0, of_scored), scored_BT) for score in scores
        )
        return logprobs_BT, entropy_BT

    def _read_tails(self, homes: Sequence[Home]) -> torch.Tensor | None:
        """Hidden states [B, U, H] of the rows' own tokens; None where no row has any."""
        if not any(len(home.tail) for home in homes):
            return None
        tries, paths, tails = zip(
            *((home.trie, home.path, home.tail) for home in homes), strict=True
        )
        token_ids, _ = padded(tails, self._leaves[0].device)
        held, seen = along_paths(self._leaves[1:], tries, paths)
        layers = len(held) // 2
        return read_behind(self.model, held[:layers], held[layers:], seen, token_ids)[0]

    def backward(self) -> None:
        """Take what the rows have left at the leaves through the trees."""
        reached = [
            (part, leaf.grad)
            for part, leaf in zip(self._read, self._leaves, strict=True)
            if leaf.grad is not None and part.requires_grad
        ]
        if reached:
            torch.autograd.backward([part for part, _ in reached], [grad for _, grad in reached])


class Predictions(NamedTuple):
    """The N distinct predictions among those of all scored tokens, row after row."""

    states: np.ndarray  # [N] which hidden state predicts: of the trees, then of the tails
    targets: np.ndarray  # [N] what it predicts
    first: np.ndarray  # [N] the first scored token that asks for it
    of_scored: np.ndarray  # which of them each scored token asks for


def predictions(
    rows: Sequence[Rollout], homes: Sequence[Home], tries: int, size: int
) -> Predictions:
    """Of rows on trees of `size` nodes each. Rows of one tree are scored at one temperature."""
    width = max(len(home.tail) for home in homes)
    states, targets = [], []
    for b, (row, home) in enumerate(zip(rows, homes, strict=True)):
        tail = tries * size + b * width + np.arange(len(home.tail))
        predicting = np.concatenate([home.trie * size + home.path, tail])
        states.append(predicting[len(predicting) - len(row.token_ids) :][row.mask])
        targets.append(row.token_ids[row.mask])
    both = np.concatenate(states).astype(np.int64) << 32 | np.concatenate(targets)
    distinct, first, of_scored = np.unique(both, return_index=True, return_inverse=True)
    return Predictions(distinct >> 32, distinct & 0xFFFFFFFF, first, of_scored)
