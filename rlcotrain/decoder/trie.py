"""What token sequences begin with alike, as a tree: each beginning is there, and is read, once.

Samples of one problem share their prompt and more: equal first lines, whole equal answers.
Serving has done so for long (RadixAttention, arXiv 2312.07104), training does for prompts (Prefix
Grouper, arXiv 2506.05433) and for whole trees (AReaL's tree training).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

# Distinct tokens up to which sequences are one tree to their ends. In a larger one what only one of
# them says stays outside: every token would be held against all others of the tree.
WHOLE = 256
# Nodes of a tree that branches, for the same reason; what all sequences share branches nowhere.
BRANCHED = 1024
# What neighbours must share for a tree to pay where nothing else is known of them.
LEAST_TOKENS, LEAST_SHARE = 8, 0.25


@dataclass(frozen=True, kw_only=True)
class Trie:
    """Nodes in the order of a walk that goes down first: one sees another if that one stands before
    it and has not ended."""

    token_ids: np.ndarray  # [S] int32
    depths: np.ndarray  # [S] positions in the sequences
    ends: np.ndarray  # [S] behind the last node below each
    paths: tuple[np.ndarray, ...]  # of each sequence: the nodes of its first tokens

    def __len__(self) -> int:
        return len(self.token_ids)

    @property
    def is_chain(self) -> bool:
        """Whether nothing branches."""
        return bool((self.depths == np.arange(len(self))).all())


def grow(sequences: Sequence[np.ndarray], room: int) -> Trie:
    """The tree of what at least two of the sequences share, or of all where that is little (WHOLE).

    At most `room` nodes, the first tokens before later ones. A sequence alone is its own tree.
    """
    order, alike = walk(sequences)
    room = min(room, max(BRANCHED, common(sequences[order[0]], sequences[order[-1]])))
    reach = lengths = np.array([len(sequences[i]) for i in order])
    if len(order) > 1 and (lengths - alike).sum() > min(WHOLE, room):
        reach = np.maximum(alike, np.append(alike[1:], 0))
    depth = _depth(alike, reach, room)
    alike, reach = np.minimum(alike, depth), np.minimum(reach, depth)

    size = int((reach - alike).sum())
    token_ids, depths, ends = np.zeros(size, np.int32), np.zeros(size, int), np.full(size, size)
    paths: list[np.ndarray] = [np.zeros(0, int)] * len(order)
    path, count = paths[0], 0
    for i, old, new in zip(order, alike.tolist(), reach.tolist(), strict=True):
        ends[path[old:]] = count
        grown = np.arange(count, count + new - old)
        token_ids[grown] = sequences[i][old:new]
        depths[grown] = np.arange(old, new)
        path = paths[i] = np.concatenate([path[:old], grown])
        count += new - old
    return Trie(token_ids=token_ids, depths=depths, ends=ends, paths=tuple(paths))


def families(sequences: Sequence[np.ndarray]) -> list[list[int]]:
    """Numbers of sequences that begin alike, far enough that one tree of them pays."""
    found: list[list[int]] = []
    for i, alike in zip(*walk(sequences), strict=True):
        least = max(LEAST_TOKENS, LEAST_SHARE * len(sequences[i]))
        if found and alike >= min(least, len(sequences[i])):
            found[-1].append(i)
        else:
            found.append([i])
    return found


def walk(sequences: Sequence[np.ndarray]) -> tuple[list[int], np.ndarray]:
    """Numbers of the sequences in the order of a dictionary, and how many tokens each begins with
    that the one before it begins with: the others are its own part of the whole tree."""
    order = sorted(range(len(sequences)), key=lambda i: sequences[i].astype(">i4").tobytes())
    alike = [0, *(common(sequences[one], sequences[other]) for one, other in pairwise(order))]
    return order, np.array(alike[: len(order)])


def common(one: np.ndarray, other: np.ndarray) -> int:
    """How many tokens both begin with."""
    size = min(len(one), len(other))
    differ = one[:size] != other[:size]
    return int(differ.argmax()) if differ.any() else size


def _depth(alike: np.ndarray, reach: np.ndarray, room: int) -> int:
    """The depth above which there are at most `room` nodes: of each sequence alike to reach."""
    steps = np.zeros(int(reach.max()) + 1, int)
    np.add.at(steps, alike, 1)
    np.add.at(steps, reach, -1)
    return int(np.searchsorted(steps[:-1].cumsum().cumsum(), room, side="right"))
