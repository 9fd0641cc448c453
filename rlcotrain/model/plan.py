"""Which rows go through the model together, and in which process."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from rlcotrain.loss.collate import split_by_prompt, split_micro_batches
from rlcotrain.types import Rollout


@dataclass
class Chunk:
    """Row numbers in their order, and the same as micro-batches. An empty one is for company."""

    rows: list[int]
    parts: list[list[int]]


def plan(
    rows: Sequence[Rollout], budget: int, share: bool, rank: int = 0, size: int = 1
) -> list[Chunk]:
    """The part of process `rank` of `size`: micro-batches of at most `budget` padded tokens.

    share: the rows of a chunk read their prompts together. All processes get as many chunks and
    micro-batches, since those that share weights run every layer together.
    """
    plans = [_chunks(rows, part, budget, share) for part in _split_over_ranks(rows, size)]
    mine = plans[rank]
    mine += [Chunk([], []) for _ in range(max(map(len, plans)) - len(mine))]
    for place, chunk in enumerate(mine):
        longest = max(len(other[place].parts) for other in plans if place < len(other))
        chunk.parts += [[] for _ in range(longest - len(chunk.parts))]
    return mine


def _split_over_ranks(rows: Sequence[Rollout], size: int) -> list[list[int]]:
    """Row numbers of every process: as many tokens, and rows of one prompt side by side."""
    if size == 1:
        return [list(range(len(rows)))]
    place: dict[bytes, int] = {}
    prompt_of = [place.setdefault(row.prompt_ids.tobytes(), len(place)) for row in rows]
    order = np.argsort(prompt_of, kind="stable")
    lengths = np.array([len(rows[i].prompt_ids) + len(rows[i].token_ids) for i in order])
    twice_middles = 2 * lengths.cumsum() - lengths
    rank_of = twice_middles * size // (2 * lengths.sum())
    return [order[rank_of == rank].tolist() for rank in range(size)]


def _chunks(
    rows: Sequence[Rollout], numbers: Sequence[int], budget: int, share: bool
) -> list[Chunk]:
    lines = [rows[i] for i in numbers]
    groups = split_by_prompt(lines, budget) if share else [list(range(len(lines)))] if lines else []
    chunks = []
    for group in groups:
        read = [lines[i] for i in group]
        if share:
            read = [replace(row, prompt_ids=row.prompt_ids[:0]) for row in read]
        chunk = [numbers[i] for i in group]
        parts = split_micro_batches(read, budget)
        chunks.append(Chunk(chunk, [[chunk[i] for i in part] for part in parts]))
    return chunks
