"""Token ids go through a decoder's layers: trees of beginnings, and what goes on behind them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.nn.functional import pad

from rlcotrain.decoder.pack import pack
from rlcotrain.decoder.trie import Trie, families, grow

if TYPE_CHECKING:
    from transformers import DynamicCache, PreTrainedModel

STEM = 1024  # nodes at most of a tree of prompts: each is held against all others
TOGETHER = 16384  # tokens of prompts that are read at once

# Hidden states [., ., H], then of every layer its keys and its values [., heads, ., D].
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
    paths = {
        i: path
        for group, trie in zip(groups, tries, strict=True)
        for i, path in zip(group, trie.paths, strict=True)
    }
    path_BP, seen_BP = _padded([paths[i] for i in range(len(prompts))], device)
    last_BP = (seen_BP.sum(-1, keepdim=True) - 1).clamp(min=0)
    whole: list[torch.Tensor] = []
    for part in pack(list(map(len, tries)), max(TOGETHER, *map(len, tries))):
        hidden, keys, values = read_tries(model, [tries[c] for c in part], device)
        trie_of = {i: place for place, c in enumerate(part) for i in groups[c]}
        rows = torch.tensor(list(trie_of), device=device)
        trie_R1 = torch.tensor(list(trie_of.values()), device=device)[:, None]
        found = [hidden[trie_R1, path_BP[rows].gather(1, last_BP[rows])][:, 0]]
        found += [layer[trie_R1, :, path_BP[rows]].transpose(1, 2) for layer in (*keys, *values)]
        whole = whole or [one.new_zeros(len(prompts), *one.shape[1:]) for one in found]
        for all_rows, one in zip(whole, found, strict=True):
            all_rows[rows] = one

    tails = {i: prompt[len(paths[i]) :] for i, prompt in enumerate(prompts)}
    tails = {i: tail for i, tail in tails.items() if len(tail)}
    layers = len(whole) // 2
    if tails:
        rows = torch.tensor(list(tails), device=device)
        token_ids, real = _padded(list(tails.values()), device)
        held = [layer[rows] for layer in whole[1:]]
        given = held[:layers], held[layers:], seen_BP[rows], token_ids
        hidden, keys, values = read_behind(model, *given)
        whole[0][rows] = hidden[torch.arange(len(rows), device=device), real.sum(-1) - 1]
        seen_BP = pad(seen_BP, (0, token_ids.shape[1]))
        seen_BP[rows, -token_ids.shape[1] :] = real
        for place, one in enumerate((*keys, *values), 1):
            whole[place] = pad(whole[place], (0, 0, 0, token_ids.shape[1]))
            whole[place][rows] = one
    return whole[0], whole[1 : layers + 1], whole[layers + 1 :], seen_BP


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
