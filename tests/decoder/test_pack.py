"""What goes through a model together."""

from itertools import pairwise

import numpy as np
import pytest

from rlcotrain.decoder.pack import A_PASS, pack


@pytest.mark.parametrize("budget", [12, 13, 24, 40, 10_000])
def test_batches_stay_within_the_budget(budget: int) -> None:
    random = np.random.default_rng(2)
    lengths = random.integers(1, 7, size=(40, 2)).sum(-1).tolist()
    parts = pack(lengths, budget)
    assert sorted(index for part in parts for index in part) == list(range(40))
    assert all(len(part) * max(lengths[i] for i in part) <= budget for part in parts)
    # None could have taken in the next one's longest row.
    for part, following in pairwise(parts):
        size = (len(part) + 1) * lengths[part[0]]
        tokens = sum(lengths[i] for i in [*part, following[0]])
        assert size > budget or size - tokens > max(0.05 * size, A_PASS)
        assert min(lengths[i] for i in part) >= max(lengths[i] for i in following)


def test_a_large_budget_buys_no_padding() -> None:
    random = np.random.default_rng(0)
    lengths = random.lognormal(5.7, 0.5, 200).astype(int).tolist()
    parts = pack(lengths, 10**6)
    assert len(parts) < 30
    for part in parts:
        kept = [lengths[i] for i in part]
        size = max(kept) * len(kept)
        assert size - sum(kept) <= max(0.05 * size, A_PASS)


def test_a_little_padding_is_cheaper_than_a_pass() -> None:
    # 40 + 25 + 10 of 120 leave 45 of padding; with the next it would be 80.
    assert pack([25, 40, 5, 10], 10_000) == [[1, 0, 3], [2]]
    assert pack([25, 40, 5, 10], 100) == [[1, 0], [3, 2]]


def test_nothing_and_what_just_fits() -> None:
    assert pack([], 10) == []
    assert len(pack([2, 10], 10)) == 2


def test_what_rows_stand_behind_is_counted_where_it_is_much() -> None:
    # Of six rows of one token, with room for ten: four budgets of 40 hold four paths of ten.
    assert pack([1] * 6, 10) == [[0, 1, 2, 3, 4, 5]]
    assert pack([1] * 6, 10, behind=[10, 2, 10, 10, 10, 10]) == [[0, 1, 2, 3], [4, 5]]
    assert pack([1], 10, behind=[1000]) == [[0]]


def test_padding_may_be_a_share_of_what_comes_later() -> None:
    # 100 + 20 of 200 leave 80: more than a pass, and than a twentieth of 200, but not of 1600.
    assert pack([100, 20], 1000) == [[0], [1]]
    assert pack([100, 20], 1000, besides=[700, 700]) == [[0, 1]]
    assert pack([100, 20], 1000, besides=[700, 600]) == [[0], [1]]
