"""Token ids go through a decoder's layers: trees of beginnings, and what goes on behind them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.nn.functional import pad

from rlcotrain.decoder.pack import pack
from rlcotrain.decoder.trie import Trie, common, families, grow

if TYPE_CHECKING:
    from transformers import DynamicCache, PreTrainedModel

STEM = 1024  # nodes of a tree that branches: each is held against all others
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
    starts, states = _read_beginnings(model, prompts)
    device, layers = model.device, len(states) // 2
    held = states[0].new_tensor(starts, dtype=torch.long)[:, None]
    lengths = held.new_tensor([len(prompt) for prompt in prompts])[:, None]
    slots = torch.arange(int(lengths.max()), device=device)
    tailed = [i for i, prompt in enumerate(prompts) if len(prompt) > starts[i]]
    if tailed:
        rows = torch.tensor(tailed, device=device)
        token_ids, real = _padded([prompts[i][starts[i] :] for i in tailed], device)
        width = states[1].shape[2]
        begun = [layer[rows] for layer in states[1:]]
        seen = torch.arange(width, device=device) < held[rows]
        hidden, *both = read_behind(model, begun[:layers], begun[layers:], seen, token_ids)
        states[0][rows] = hidden[torch.arange(len(rows), device=device), real.sum(-1) - 1]
        # A beginning and what stands behind it, without the room between them.
        place = torch.where(slots < held[rows], slots, slots + width - held[rows])
        place = place.clamp(max=width + token_ids.shape[1] - 1)[:, None, :, None]
        for k, layer in enumerate((*both[0], *both[1]), 1):
            states[k] = pad(states[k], (0, 0, 0, len(slots) - width))
            states[k][rows] = layer.gather(2, place.expand(-1, layer.shape[1], -1, layer.shape[3]))
    return states[0], states[1 : layers + 1], states[layers + 1 :], slots < lengths


def _read_beginnings(
    model: PreTrainedModel, prompts: Sequence[np.ndarray]
) -> tuple[list[int], list[torch.Tensor]]:
    """How many tokens of each prompt its tree has, and what was read of them: last hidden states
    [B, H], then of every layer the keys [B, heads, S, D], then the values."""
    groups = families(prompts)
    tries = [_tree([prompts[i] for i in group]) for group in groups]
    paths = {
        i: path
        for group, trie in zip(groups, tries, strict=True)
        for i, path in zip(group, trie.paths, strict=True)
    }
    starts = [len(paths[i]) for i in range(len(prompts))]
    path_BP, _ = _padded([paths[i] for i in range(len(prompts))], model.device)
    whole: list[torch.Tensor] = []
    for part in pack(list(map(len, tries)), max(TOGETHER, *map(len, tries))):
        hidden, keys, values = read_tries(model, [tries[c] for c in part], model.device)
        tree_of = {i: place for place, c in enumerate(part) for i in groups[c]}
        rows, tree_R = (path_BP.new_tensor(list(which)) for which in (tree_of, tree_of.values()))
        last_R = path_BP.new_tensor([paths[i][-1] for i in tree_of])
        found = [hidden[tree_R, last_R]]
        path_RP = path_BP[rows]
        found += [layer[tree_R[:, None], :, path_RP].transpose(1, 2) for layer in (*keys, *values)]
        whole = whole or [one.new_zeros(len(prompts), *one.shape[1:]) for one in found]
        for of_all, one in zip(whole, found, strict=True):
            of_all[rows] = one
    return starts, whole


def _tree(family: Sequence[np.ndarray]) -> Trie:
    """Of prompts in the order of a dictionary: what the first and the last begin with, all do. It
    branches nowhere and may be long."""
    return grow(family, max(STEM, common(family[0], family[-1])))


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
