"""A prompt goes through the model once, however many completions learn from it.

Keys and values of the prompts are cut off as leaves. Completions run on top of them, micro-batch
by micro-batch, and leave their gradients there; one backward through the prompts ends it. The
gradient is that of whole rows, since a prompt's own tokens depend on nothing behind them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch

from rlcotrain.model.logprobs import score_hidden

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def read_prompts(
    model: PreTrainedModel, prompts: Sequence[np.ndarray], device: torch.device
) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """Lengths [P] of distinct prompts, and what was read of them: the last hidden states [P, H],
    then keys and values of every layer. Padding stands behind them and is masked by position.
    """
    from transformers import DynamicCache

    lengths = np.array([len(prompt) for prompt in prompts])
    token_ids = np.zeros((len(prompts), lengths.max()), np.int64)
    for k, prompt in enumerate(prompts):
        token_ids[k, : len(prompt)] = prompt
    cache = DynamicCache(config=model.config)
    hidden_PLH = model.get_decoder()(
        input_ids=torch.from_numpy(token_ids).to(device),
        past_key_values=cache,
        use_cache=True,
    ).last_hidden_state
    lengths_P = torch.from_numpy(lengths).to(device)
    last_PH = hidden_PLH[torch.arange(len(prompts), device=device), lengths_P - 1]
    keys, values, *_ = zip(*cache, strict=True)
    return lengths_P, [last_PH, *keys, *values]


class SharedPrompts:
    """Distinct prompts as `read_prompts` has read them."""

    def __init__(
        self, model: PreTrainedModel, lengths_P: torch.Tensor, read: Sequence[torch.Tensor]
    ) -> None:
        self.model = model
        self.lengths_P = lengths_P
        self._read = read
        wanted = torch.is_grad_enabled()
        self._leaves = [part.detach().requires_grad_(wanted) for part in read]

    def token_logprobs(
        self,
        prompt_B: torch.Tensor,
        token_ids_BT: torch.Tensor,
        scored_BT: torch.Tensor,
        temperature_B: torch.Tensor,
        chunk: int,
        entropy_grad: bool = False,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """What `logprobs.token_logprobs` gives for rows of prompt number `prompt_B` and
        completion `token_ids_BT`, at the completion's tokens: both [B, T]."""
        last_BH, *held = (leaf[prompt_B] for leaf in self._leaves)
        size = token_ids_BT.shape[1]
        # A single token needs no reading, but processes that share weights run layers together.
        behind_BT = token_ids_BT[:, : max(size - 1, 1)]
        further = self._read_on(held, self.lengths_P[prompt_B][:, None], behind_BT)
        # The prompt's last state predicts the first token.
        hidden_BTH = torch.cat([last_BH[:, None].to(further.dtype), further], 1)[:, :size]
        return score_hidden(
            self.model, hidden_BTH, token_ids_BT, scored_BT, temperature_B, chunk, entropy_grad
        )

    def _read_on(
        self, held: Sequence[torch.Tensor], lengths_B1: torch.Tensor, token_ids_BT: torch.Tensor
    ) -> torch.Tensor:
        """Hidden states [B, T, H] of tokens behind prompts of these keys and values."""
        from transformers import DynamicCache

        rows, size = token_ids_BT.shape
        layers = len(held) // 2
        cache = DynamicCache(config=self.model.config)
        for layer in range(layers):
            cache.update(held[layer], held[layers + layer], layer)
        places = torch.arange(size, device=token_ids_BT.device)
        slots = torch.arange(held[0].shape[-2], device=token_ids_BT.device)
        prompt = (slots < lengths_B1)[:, None].expand(-1, size, -1)
        before = (places <= places[:, None]).expand(rows, -1, -1)
        hidden_BTH: torch.Tensor = self.model.get_decoder()(
            input_ids=token_ids_BT,
            attention_mask=torch.cat([prompt, before], -1)[:, None],
            position_ids=lengths_B1 + places,
            past_key_values=cache,
            use_cache=True,
        ).last_hidden_state
        return hidden_BTH

    def backward(self) -> None:
        """Take what the completions have left at the leaves through the prompts."""
        reached = [
            (part, leaf.grad)
            for part, leaf in zip(self._read, self._leaves, strict=True)
            if leaf.grad is not None and part.requires_grad
        ]
        if reached:
            torch.autograd.backward([part for part, _ in reached], [grad for _, grad in reached])
