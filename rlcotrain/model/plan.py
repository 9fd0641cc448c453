"""Which rows go through the model together, and in which process."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from rlcotrain.decoder.pack import pack
from rlcotrain.decoder.trie import Trie, grow
from rlcotrain.model.prefixes import Home
from rlcotrain.types import Rollout


@dataclass
class Chunk:
    """Row numbers as micro-batches; an empty one is for company. Where beginnings are shared: the
    trees that are read before them, and where each row stands."""

    parts: list[list[int]]
    tries: list[Trie] = field(default_factory=list)
    homes: dict[int, Home] = field(default_factory=dict)


def plan(
    rows: Sequence[Rollout],
    budget: int,
    share: bool,
    rank: int = 0,
    size: int = 1,
    lockstep: bool = False,
) -> list[Chunk]:
    """The part of process `rank` of `size`: micro-batches of at most `budget` padded tokens.

    share: what rows about one problem begin with alike is read once. lockstep: processes run every
    layer together. All get as many chunks and micro-batches.
    Raises ValueError if a row is longer than the budget.
    """
    longest = max(map(_length, rows))
    if longest > budget:
        raise ValueError(
            f"hardware.micro_batch_tokens={budget}: must be at least the longest row, "
            f"here {longest} tokens"
        )
    plans = [_chunks(rows, part, budget, share, lockstep) for part in _split_over_ranks(rows, size)]
    mine = plans[rank]
    shortest = min(range(len(rows)), key=lambda i: _length(rows[i]))
    for place in range(max(map(len, plans))):
        if place == len(mine):
            mine += _chunks(rows, [shortest], budget, share, lockstep)
            mine[place].parts = []
        most = max(len(other[place].parts) for other in plans if place < len(other))
        mine[place].parts += [[] for _ in range(most - len(mine[place].parts))]
    return mine


def shares(rows: Sequence[Rollout]) -> bool:
    """Whether several of the rows are about one problem."""
    return len(_families(rows, range(len(rows)))) < len(rows)


def _chunks(
    rows: Sequence[Rollout], numbers: Sequence[int], budget: int, share: bool, lockstep: bool
) -> list[Chunk]:
    if not share:
        parts = pack([_length(rows[i]) for i in numbers], budget)
        return [Chunk([[numbers[i] for i in part] for part in parts])] if parts else []
    families = _families(rows, numbers)
    # A last token is only predicted. In lockstep every row reads one of its own, so that every
    # micro-batch is a pass.
    read = {i: _token_ids(rows[i])[:-1] for i in numbers}
    tries = [
        grow([read[i][: -1 if lockstep else None] for i in group], budget) for group in families
    ]
    tails = [
        sum(len(read[i]) - len(path) for i, path in zip(group, trie.paths, strict=True))
        for group, trie in zip(families, tries, strict=True)
    ]
    chunks = []
    for part in pack(list(map(len, tries)), budget, besides=tails):
        homes = {
            i: Home(place, path, read[i][len(path) :])
            for place, k in enumerate(part)
            for i, path in zip(families[k], tries[k].paths, strict=True)
        }
        chunks.append(Chunk(_parts(homes, budget), [tries[k] for k in part], homes))
    return chunks


def _parts(homes: dict[int, Home], budget: int) -> list[list[int]]:
    """Rows that have tokens of their own by their length, those that have none at once."""
    tailed = [i for i, home in homes.items() if len(home.tail)]
    behind = [len(homes[i].path) for i in tailed]
    parts = pack([len(homes[i].tail) for i in tailed], budget, behind)
    rest = [i for i, home in homes.items() if not len(home.tail)]
    return [[tailed[k] for k in part] for part in parts] + ([rest] if rest else [])


def _families(rows: Sequence[Rollout], numbers: Sequence[int]) -> list[list[int]]:
    """Rows about one problem, which may begin alike, at one temperature, so that they are scored
    alike where they do."""
    found: dict[tuple[str, float], list[int]] = {}
    for i in numbers:
        found.setdefault((rows[i].problem.id, rows[i].temperature), []).append(i)
    return list(found.values())


def _token_ids(row: Rollout) -> np.ndarray:
    return np.concatenate([row.prompt_ids, row.token_ids])


def _length(row: Rollout) -> int:
    return len(row.prompt_ids) + len(row.token_ids)


def _split_over_ranks(rows: Sequence[Rollout], size: int) -> list[list[int]]:
    """Row numbers of every process: as many tokens, and rows about one problem side by side."""
    order = np.array([i for family in _families(rows, range(len(rows))) for i in family])
    lengths = np.array([_length(rows[i]) for i in order])
    twice_middles = 2 * lengths.cumsum() - lengths
    rank_of = twice_middles * size // (2 * lengths.sum())
    return [order[rank_of == rank].tolist() for rank in range(size)]
