"""Trees of what token sequences begin with, by hand and against the sequences themselves."""

import numpy as np
import pytest

from rlcotrain.decoder import trie
from rlcotrain.decoder.trie import families, grow, walk


def ids(*numbers: int) -> np.ndarray:
    return np.array(numbers, np.int32)


FOUR = [ids(1, 2, 3, 4), ids(1, 2, 5), ids(1, 2, 3, 4), ids(1, 2, 3, 6, 7)]


def test_a_tree_worked_by_hand() -> None:
    tree = grow(FOUR, 100)
    assert tree.token_ids.tolist() == [1, 2, 3, 4, 6, 7, 5]
    assert tree.depths.tolist() == [0, 1, 2, 3, 3, 4, 2]
    assert tree.ends.tolist() == [7, 7, 6, 4, 6, 6, 7]
    assert [path.tolist() for path in tree.paths] == [
        *([0, 1, 2, 3], [0, 1, 6]),
        *([0, 1, 2, 3], [0, 1, 2, 4, 5]),
    ]
    assert len(tree) == 7 and not tree.is_chain


def test_a_large_tree_holds_only_what_is_shared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trie, "WHOLE", 6)  # of seven
    tree = grow(FOUR, 100)
    assert tree.token_ids.tolist() == [1, 2, 3, 4] and tree.is_chain
    assert [len(path) for path in tree.paths] == [4, 2, 4, 3]


def test_room_is_for_the_first_tokens() -> None:
    assert grow(FOUR, 7).token_ids.tolist() == [1, 2, 3, 4, 6, 7, 5]
    assert grow(FOUR, 6).token_ids.tolist() == [1, 2, 3, 4]  # what is whole has no room: shared
    assert grow(FOUR, 3).token_ids.tolist() == [1, 2, 3]
    two = [ids(1, 2, 8, 8), ids(1, 3, 8, 8), ids(1, 2, 8, 8), ids(1, 3, 8, 8)]
    assert grow(two, 6).token_ids.tolist() == [1, 2, 8, 3, 8]  # three nodes above, two a depth
    assert grow(two, 4).token_ids.tolist() == [1, 2, 3]


def test_only_a_tree_that_branches_is_kept_small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trie, "BRANCHED", 3)
    assert grow(FOUR, 100).token_ids.tolist() == [1, 2, 3]
    stem = list(range(20))
    both = [ids(*stem, 1), ids(*stem, 2)]
    assert grow(both, 100).token_ids.tolist() == stem
    assert len(grow(both[:1], 100)) == 21


def test_sequences_that_share_nothing_and_one_alone() -> None:
    assert len(grow([ids(1, 2), ids(3, 4)], 3)) == 0
    alone = grow([np.arange(1000, dtype=np.int32)], 1000)
    assert len(alone) == 1000 and alone.is_chain
    assert grow([ids(1, 2), ids(3, 4)], 4).token_ids.tolist() == [1, 2, 3, 4]


@pytest.mark.parametrize("whole", [0, 10_000])
@pytest.mark.parametrize("room", [5, 40, 10_000])
def test_paths_spell_the_sequences_and_see_their_own_tokens(
    whole: int, room: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trie, "WHOLE", whole)
    random = np.random.default_rng(0)
    sequences = [random.integers(0, 3, random.integers(1, 12)).astype(np.int32) for _ in range(30)]
    sequences += [random.integers(70_000, 200_000, 9).astype(np.int32)]
    tree = grow(sequences, room)
    assert len(tree) <= room
    beginnings = set[bytes]()
    for sequence, path in zip(sequences, tree.paths, strict=True):
        assert tree.token_ids[path].tolist() == sequence[: len(path)].tolist()
        assert tree.depths[path].tolist() == list(range(len(path)))
        beginnings |= {sequence[: n + 1].tobytes() for n in range(len(path))}
        if whole and room > 1000:
            assert len(path) == len(sequence)
        for place, node in enumerate(path):
            seen = [n for n in range(node + 1) if node < tree.ends[n]]
            assert seen == path[: place + 1].tolist()
    assert len(beginnings) == len(tree), "no beginning stands twice"


def test_a_walk_tells_what_each_has_of_its_own() -> None:
    order, alike = walk([ids(3), ids(1, 2, 3), ids(1, 2), ids(256), ids(1, 2, 3)])
    assert order == [2, 1, 4, 0, 3]  # by numbers, not by bytes
    assert alike.tolist() == [0, 2, 3, 0, 0]
    assert walk([])[0] == []


def test_families_are_neighbours_that_share_enough() -> None:
    base = list(range(100, 110))
    long = [ids(*base, *[9] * 31), ids(*base, *[8] * 29), ids(*base, *[7] * 30)]
    # Of 39 tokens ten are a quarter, of 41 not; two of three tokens are too few.
    assert families(long) == [[2, 1], [0]]
    assert families([ids(1, 2, 3), ids(1, 2, 4), ids(1, 2, 3), ids(1, 2)]) == [[3], [0, 2], [1]]
