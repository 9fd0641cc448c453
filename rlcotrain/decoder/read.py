"""Token ids go through a decoder's layers: trees of beginnings, and what goes on behind them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch

from rlcotrain.decoder.trie import Trie, families, grow

if TYPE_CHECKING:
    from transformers import DynamicCache, PreTrainedModel

# Hidden states [., ., H], then of every layer its keys and its values [., heads, ., D].
STEM = 1024  # nodes at most of a tree of prompts: each is held against all others
Read = tuple[torch.Tensor, list[torch.Tensor], list[torch.Tensor]]


def read_tries(model: PreTrainedModel, tries: Sequence[Trie], device: torch.device) -> Read:
    """What the layers make of C trees at once, [C, S]: padding stands behind a tree's nodes."""
    size = max(1, *map(len, tries))
    token_ids, depths = np.zeros((2, len(tries), size), np.int64)
    ends = np.tile(np.arange(1, size + 1), (len(tries), 1))  # padding sees itself
    for c, trie in enumerate(tries):
        token_ids[c, : len(trie)] = trie.token_ids
        depths[c, : len(trie)] = trie.depths
        ends[c, : len(trie)] = trie.ends
    mask = positions = None
    if not all(trie.is_chain for trie in tries):  # what is causal anyway has faster kernels
        places = torch.arange(size, device=device)
        ends_CS = torch.from_numpy(ends).to(device)
        mask = (places <= places[:, None]) & (places[:, None] < ends_CS[:, None])
        mask, positions = mask[:, None], torch.from_numpy(depths).to(device)
    return _read(model, torch.from_numpy(token_ids).to(device), mask, positions)


def read_behind(
    model: PreTrainedModel,
    keys: Sequence[torch.Tensor],
    values: Sequence[torch.Tensor],
    seen_BS: torch.Tensor,
    token_ids_BU: torch.Tensor,
) -> Read:
    """The same of rows of tokens that go on behind keys and values [B, heads, S, D], of which they
    see what `seen_BS` says; keys and values that come back are of both."""
    from transformers import DynamicCache

    rows, size = token_ids_BU.shape
    cache = DynamicCache(config=model.config)
    for layer, (key, value) in enumerate(zip(keys, values, strict=True)):
        cache.update(key, value, layer)
    places = torch.arange(size, device=token_ids_BU.device)
    before = (places <= places[:, None]).expand(rows, -1, -1)
    mask = torch.cat([seen_BS[:, None].expand(-1, size, -1), before], -1)[:, None]
    return _read(model, token_ids_BU, mask, seen_BS.sum(-1, keepdim=True) + places, cache)


def read_prompts(
    model: PreTrainedModel, prompts: Sequence[np.ndarray]
) -> tuple[torch.Tensor, list[torch.Tensor], list[torch.Tensor], torch.Tensor]:
    """Of B prompts the last hidden states [B, H], keys and values [B, heads, S, D] of every layer,
    and which slots each prompt sees [B, S]. What they begin with alike is read once."""
    device, groups = model.device, families(prompts)
    tries = [grow([prompts[i] for i in group], STEM) for group in groups]
    hidden, keys, values = read_tries(model, tries, device)
    homes = {
        i: (c, path)
        for c, (group, trie) in enumerate(zip(groups, tries, strict=True))
        for i, path in zip(group, trie.paths, strict=True)
    }
    trie_B = torch.tensor([homes[i][0] for i in range(len(prompts))], device=device)
    path_BP, seen_BP = _padded([homes[i][1] for i in range(len(prompts))], device)
    keys, values = (
        [layer[trie_B[:, None], :, path_BP].transpose(1, 2) for layer in held]
        for held in (keys, values)
    )
    ends_B = (seen_BP.sum(-1) - 1).clamp(min=0)
    last_BH = hidden[trie_B, path_BP.gather(1, ends_B[:, None])[:, 0]]

    tails = [prompt[len(homes[i][1]) :] for i, prompt in enumerate(prompts)]
    tailed = [i for i, tail in enumerate(tails) if len(tail)]
    if not tailed:
        return last_BH, keys, values, seen_BP
    rows = torch.tensor(tailed, device=device)
    token_ids, real = _padded([tails[i] for i in tailed], device)
    held = [[layer[rows] for layer in layers] for layers in (keys, values)]
    behind, *both = read_behind(model, *held, seen_BP[rows], token_ids)
    last_BH[rows] = behind[torch.arange(len(tailed), device=device), real.sum(-1) - 1]
    pad = torch.nn.functional.pad
    for old, new in zip((keys, values), both, strict=True):
        for layer, part in enumerate(new):
            old[layer] = pad(old[layer], (0, 0, 0, token_ids.shape[1]))
            old[layer][rows] = part
    seen_BS = pad(seen_BP, (0, token_ids.shape[1]))
    seen_BS[rows, seen_BP.shape[1] :] = real
    return last_BH, keys, values, seen_BS


def _padded(lines: Sequence[np.ndarray], device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """Lines one below the other, zeros behind them, and where they are: both [B, longest]."""
    lengths = np.array([len(line) for line in lines])
    real = np.arange(lengths.max()) < lengths[:, None]
    together = np.zeros(real.shape, np.int64)
    together[real] = np.concatenate(lines)
    return torch.from_numpy(together).to(device), torch.from_numpy(real).to(device)


def _read(
    model: PreTrainedModel,
    token_ids: torch.Tensor,
    mask: torch.Tensor | None,
    positions: torch.Tensor | None,
    cache: DynamicCache | None = None,
) -> Read:
    from transformers import DynamicCache

    if cache is None:
        cache = DynamicCache(config=model.config)
    hidden = model.get_decoder()(
        input_ids=token_ids,
        attention_mask=mask,
        position_ids=positions,
        past_key_values=cache,
        use_cache=True,
    ).last_hidden_state
    keys, values, *_ = zip(*cache, strict=True)
    return hidden, list(keys), list(values)
