"""Token ids go through a decoder's layers: trees of beginnings, and what goes on behind them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch

from rlcotrain.decoder.cache import LineCache, at_once
from rlcotrain.decoder.pack import pack
from rlcotrain.decoder.plain import is_plain, read_ends, step
from rlcotrain.decoder.trie import Trie, families, grow

if TYPE_CHECKING:
    from transformers import DynamicCache, PreTrainedModel

TOGETHER = 16384  # tokens of prompts that are read at once

# Hidden states [., ., H], then of every layer its keys and its values [., heads, ., D].
Read = tuple[torch.Tensor, list[torch.Tensor], list[torch.Tensor]]


def read_tries(model: PreTrainedModel, tries: Sequence[Trie], device: torch.device) -> Read:
    """What the layers make of C trees at once, [C, S]: padding stands behind a tree's nodes."""
    token_ids, depths, mask = _side_by_side(tries, device)
    # What is causal anyway stands where it would by itself.
    return _read(model, token_ids, mask, None if mask is None else depths)


def _side_by_side(
    tries: Sequence[Trie], device: torch.device
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]:
    """Token ids and depths [C, S] of trees, and what each node sees [C, 1, S, S]: None where that
    is all before it, for which there are faster kernels."""
    size = max(1, *map(len, tries))
    token_ids, depths = np.zeros((2, len(tries), size), np.int64)
    ends = np.tile(np.arange(1, size + 1), (len(tries), 1))  # padding sees itself
    for c, trie in enumerate(tries):
        token_ids[c, : len(trie)] = trie.token_ids
        depths[c, : len(trie)] = trie.depths
        ends[c, : len(trie)] = trie.ends
    mask = None
    if not all(trie.is_chain for trie in tries):
        places = torch.arange(size, device=device)
        ends_CS = torch.from_numpy(ends).to(device)
        mask = (places <= places[:, None]) & (places[:, None] < ends_CS[:, None])
        mask = mask[:, None]
    return torch.from_numpy(token_ids).to(device), torch.from_numpy(depths).to(device), mask


def read_behind(
    model: PreTrainedModel,
    keys: Sequence[torch.Tensor],
    values: Sequence[torch.Tensor],
    seen_BS: torch.Tensor,
    token_ids_BU: torch.Tensor,
) -> Read:
    """The same of rows of tokens that go on behind keys and values [B, heads, S, D], of which they
    see what `seen_BS` says, a beginning; keys and values that come back are of both."""
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
    model: PreTrainedModel, prompts: Sequence[np.ndarray], most: int, tokens: int
) -> tuple[torch.Tensor, LineCache]:
    """Last hidden states [B, H] of B prompts, and a cache of as many lines, with room for `most`,
    that go on for up to `tokens` tokens.

    What prompts begin with alike is read once.
    """
    device = model.device
    lengths = torch.tensor([len(prompt) for prompt in prompts], device=device)
    cache = LineCache(lengths, most, at_once(device, tokens))
    most_nodes = max(TOGETHER, *map(len, prompts))
    plain, groups = is_plain(model), families(prompts)
    tries = [grow([prompts[i] for i in group], most_nodes) for group in groups]
    last: dict[int, torch.Tensor] = {}
    starts: dict[int, int] = {}  # how many tokens of each are in its tree
    for part in pack(list(map(len, tries)), most_nodes):
        width = max(len(tries[c]) for c in part)
        stands = [
            (i, width * place + path)
            for place, c in enumerate(part)
            for i, path in zip(groups[c], tries[c].paths, strict=True)
        ]
        ends = torch.tensor([path[-1] for _, path in stands], device=device)
        hidden, keys, values = _read_ends(model, [tries[c] for c in part], ends, plain)
        for (i, path), state in zip(stands, hidden, strict=True):
            starts[i], last[i] = len(path), state
        line_N, slot_N, node_N = (
            torch.from_numpy(np.concatenate(numbers)).to(device)
            for numbers in (
                [np.full(len(path), i) for i, path in stands],
                [np.arange(len(path)) for _, path in stands],
                [path for _, path in stands],
            )
        )
        found = (
            (layer.transpose(1, 2).flatten(0, 1)[node_N] for layer in held)
            for held in (keys, values)
        )
        cache.fill(line_N, slot_N, *found)
    _go_on(model, prompts, starts, cache, last)
    return torch.stack([last[i] for i in range(len(prompts))]), cache


def _read_ends(
    model: PreTrainedModel, tries: Sequence[Trie], ends_B: torch.Tensor, plain: bool
) -> Read:
    """What `read_tries` gives, but hidden states [B, H] of some nodes alone, counted through all
    trees with their padding."""
    if plain:
        return read_ends(model, *_side_by_side(tries, model.device), ends_B)
    hidden, keys, values = read_tries(model, tries, model.device)
    return hidden.flatten(0, 1)[ends_B], keys, values


def _go_on(
    model: PreTrainedModel,
    prompts: Sequence[np.ndarray],
    starts: dict[int, int],
    cache: LineCache,
    last: dict[int, torch.Tensor],
) -> None:
    """Read what prompts have behind their trees, where they have anything, into cache and last."""
    tails = {i: prompt[starts[i] :] for i, prompt in enumerate(prompts) if len(prompt) > starts[i]}
    numbers, lengths = list(tails), [len(tail) for tail in tails.values()]
    behind = [starts[i] for i in numbers]
    for part in pack(lengths, max(TOGETHER, *lengths, 1), behind):
        lines = torch.tensor([numbers[k] for k in part], device=model.device)
        start_R1 = lines.new_tensor([starts[numbers[k]] for k in part])[:, None]
        token_ids, real = padded([tails[numbers[k]] for k in part], model.device)
        begun = int(start_R1.max())
        seen = torch.arange(begun, device=model.device) < start_R1
        held = cache.read(lines, begun)
        hidden, keys, values = read_behind(model, *held, seen, token_ids)
        row_N, place_N = real.nonzero(as_tuple=True)
        found = ((layer[row_N, :, begun + place_N] for layer in held) for held in (keys, values))
        cache.fill(lines[row_N], start_R1[row_N, 0] + place_N, *found)
        for row, k in enumerate(part):
            last[numbers[k]] = hidden[row, lengths[k] - 1]


def read_next(
    model: PreTrainedModel, token_ids_B: torch.Tensor, cache: LineCache, plain: bool
) -> torch.Tensor:
    """Hidden states [B, H] behind one more token of every line; inside `one_query`."""
    seen = cache.step()
    if plain:
        return step(model, token_ids_B, seen, cache)
    hidden: torch.Tensor = model.get_decoder()(
        input_ids=token_ids_B[:, None],
        attention_mask=torch.where(seen, 0.0, -torch.inf)[:, None, None],
        position_ids=seen.sum(-1, keepdim=True) - 1,
        past_key_values=cache,
        use_cache=True,
    ).last_hidden_state[:, 0]
    return hidden


def along_paths(
    layers: Sequence[torch.Tensor], trie_B: Sequence[int], paths: Sequence[np.ndarray]
) -> tuple[list[torch.Tensor], torch.Tensor]:
    """Of layers [C, heads, S, D] what B rows stand behind, [B, heads, P, D], and which slots each
    sees [B, P]: the nodes of its path, not all of its tree."""
    size, device = layers[0].shape[2], layers[0].device
    node_BP, seen_BP = padded(paths, device)
    node_BP = node_BP + size * torch.tensor(trie_B, device=device)[:, None]
    rows, width = node_BP.shape
    return [
        layer.transpose(1, 2)
        .flatten(0, 1)
        .index_select(0, node_BP.flatten())
        .view(rows, width, *layer.shape[1::2])
        .transpose(1, 2)
        for layer in layers
    ], seen_BP


def padded(lines: Sequence[np.ndarray], device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
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
