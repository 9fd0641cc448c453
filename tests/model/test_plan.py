"""Which rows go through the model together, and in which process."""

import numpy as np
import pytest

from rlcotrain.model.plan import plan
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
    none, one = (plan(rows[:1], 10, True, rank, 2) for rank in range(2))
    assert [(chunk.rows, chunk.parts) for chunk in one] == [([0], [[0]])]
    assert [(chunk.rows, chunk.parts) for chunk in none] == [([], [[]])]


@pytest.mark.parametrize("share", [False, True])
def test_every_row_is_somewhere_once(share: bool) -> None:
    random = np.random.default_rng(0)
    rows = [row(int(random.integers(4)), int(random.integers(1, 9))) for _ in range(23)]
    for size in (1, 2, 3, 8):
        plans = [plan(rows, 16, share, rank, size) for rank in range(size)]
        found = [i for chunks in plans for chunk in chunks for part in chunk.parts for i in part]
        assert sorted(found) == list(range(23))
        assert len({tuple(len(chunk.parts) for chunk in chunks) for chunks in plans}) == 1
