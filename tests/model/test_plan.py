"""Which rows go through the model together, and in which process."""

from dataclasses import replace

import numpy as np
import pytest

from rlcotrain.decoder import trie
from rlcotrain.model.plan import plan, shares
from rlcotrain.types import Rollout
from tests.rows import spoken


def row(prompt: int, size: int) -> Rollout:
    """Of 2 prompt tokens and `size` more."""
    return spoken(np.full(2, prompt), np.zeros(size, np.int32), f"group {prompt}")


def test_processes_get_as_many_tokens_and_whole_prompts_where_they_can() -> None:
    rows = [row(0, 2), row(1, 2), row(0, 2), row(1, 2)]
    first, second = (plan(rows, 8, False, rank, 2) for rank in range(2))
    assert [chunk.parts for chunk in first] == [[[0, 2]]]
    assert [chunk.parts for chunk in second] == [[[1, 3]]]


def test_processes_do_as_many_passes() -> None:
    rows = [row(0, 8), row(0, 2), row(0, 2), row(0, 2)]  # 10 tokens, then 3 times 4
    long, short = (plan(rows, 10, False, rank, 2) for rank in range(2))
    assert [chunk.parts for chunk in long] == [[[0], []]]
    assert [chunk.parts for chunk in short] == [[[1, 2], [3]]]
    none, one = (plan(rows[:1], 10, True, rank, 2, lockstep=True) for rank in range(2))
    assert [chunk.parts for chunk in one] == [[[0]]]
    assert [chunk.parts for chunk in none] == [[[]]]
    for (chunk,) in (none, one):  # both read a tree of eight nodes, and behind it one token
        assert [len(tree) for tree in chunk.tries] == [8]
        assert [len(home.tail) for home in chunk.homes.values()] == [1]


def test_rows_about_one_problem_share_a_tree_and_one_temperature() -> None:
    rows = [row(0, 4), row(1, 4), row(0, 4), replace(row(0, 4), temperature=0.5)]
    (chunk,) = plan(rows, 100, True)
    assert [len(tree) for tree in chunk.tries] == [5, 5, 5]  # last tokens are only predicted
    assert [chunk.homes[i].trie for i in range(4)] == [0, 1, 0, 2]
    assert chunk.parts == [[0, 2, 1, 3]]
    assert shares(rows) and not shares(rows[:2]) and not shares([rows[0], rows[3]])


def test_trees_are_chunks_and_what_stands_behind_them_is_parts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(trie, "WHOLE", 0)
    long, short = (spoken([7] * 6, [k] * (k + 1), "long") for k in (2, 3)), row(1, 3)
    rows = [*long, short, row(1, 3), row(1, 1)]
    chunks = plan(rows, 11, True)  # trees of six and four nodes are too many for one
    assert [[len(tree) for tree in chunk.tries] for chunk in chunks] == [[6], [4]]
    assert [[len(home.tail) for home in chunk.homes.values()] for chunk in chunks] == [
        [2, 3],
        [0, 0, 0],
    ]
    assert [chunk.parts for chunk in chunks] == [[[1, 0]], [[2, 3, 4]]]
    with pytest.raises(ValueError, match=r"hardware\.micro_batch_tokens=9: .* 10 tokens"):
        plan(rows, 9, True)


def test_only_in_lockstep_every_row_reads_a_token_of_its_own() -> None:
    rows = [row(0, 4)] * 4
    for lockstep, tail in ((False, 0), (True, 1)):
        for rank in range(2):
            (chunk,) = plan(rows, 100, True, rank, 2, lockstep)
            assert [len(home.tail) for home in chunk.homes.values()] == [tail] * 2


@pytest.mark.parametrize("share", [False, True])
def test_every_row_is_somewhere_once(share: bool) -> None:
    random = np.random.default_rng(0)
    rows = [row(int(random.integers(4)), int(random.integers(1, 9))) for _ in range(23)]
    for size in (1, 2, 3, 8):
        plans = [plan(rows, 16, share, rank, size) for rank in range(size)]
        found = [i for chunks in plans for chunk in chunks for part in chunk.parts for i in part]
        assert sorted(found) == list(range(23))
        assert len({tuple(len(chunk.parts) for chunk in chunks) for chunks in plans}) == 1
