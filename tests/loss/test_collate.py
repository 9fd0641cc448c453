from collections import Counter

import numpy as np
import pytest
import torch

from rlcotrain.loss.collate import (
    Aggregation,
    collate,
    split_minibatches,
    token_weights,
)
from rlcotrain.types import Rollout
from tests.rows import spoken

CPU = torch.device("cpu")
# Three rows of 2, 4 and 3 tokens; of the last only one was sampled.
ROWS = [
    spoken([7], [5, 5], "a"),
    spoken([7, 7], [5, 5, 5, 5], "a"),
    spoken([7], [5, 5, 5], "b", mask=np.array([False, True, False])),
]


@pytest.mark.parametrize(
    ("aggregation", "expected"),
    [
        ("sequence", [[1 / 6] * 2, [1 / 12] * 4, [0, 1 / 3, 0]]),
        ("token", [[1 / 7] * 2, [1 / 7] * 4, [0, 1 / 7, 0]]),
        ("prompt", [[1 / 12] * 2, [1 / 12] * 4, [0, 1 / 2, 0]]),
        ("constant", [[1 / 30] * 2, [1 / 30] * 4, [0, 1 / 30, 0]]),
    ],
)
def test_what_a_token_weighs(aggregation: Aggregation, expected: list[list[float]]) -> None:
    weights = token_weights(ROWS, aggregation, constant_length=10)
    assert [line.dtype for line in weights] == [np.float32] * 3
    assert [line.tolist() for line in weights] == [pytest.approx(line) for line in expected]


@pytest.mark.parametrize("aggregation", ["sequence", "token", "prompt", "constant"])
def test_a_row_without_a_sampled_token_weighs_nothing_and_counts_as_a_row(
    aggregation: Aggregation,
) -> None:
    silent = spoken([7], [5, 5], mask=np.zeros(2, bool))
    weights = token_weights([ROWS[0], silent], aggregation, constant_length=10)
    rows = {"sequence": 2, "token": 1, "prompt": 2, "constant": 2}[aggregation]  # share the loss
    length = 10 if aggregation == "constant" else 2
    assert weights[0] == pytest.approx([1 / (rows * length)] * 2)
    assert weights[1].tolist() == [0, 0]
    (alone,) = token_weights([silent], aggregation, constant_length=10)
    assert alone.tolist() == [0, 0]


def grouped(sizes: list[int]) -> list[Rollout]:
    """Groups of these sizes, their rows not side by side."""
    rows = [spoken([7], [5], f"group {g}") for g, size in enumerate(sizes) for _ in range(size)]
    return [rows[i] for i in np.random.default_rng(0).permutation(len(rows))]


@pytest.mark.parametrize("minibatches", [1, 2, 3, 7])
def test_minibatches_keep_groups_whole_and_cover_every_row_once(minibatches: int) -> None:
    rows = grouped([4, 4, 3, 4, 1, 4, 4])
    parts = split_minibatches(rows, minibatches, 0, 0)
    assert len(parts) == minibatches
    assert sorted(index for part in parts for index in part) == list(range(len(rows)))
    homes = [{rows[index].peers for index in part} for part in parts]
    assert sum(map(len, homes)) == len(set.union(*homes)) == 7
    assert max(map(len, homes)) - min(map(len, homes)) <= 1


def test_minibatches_are_a_function_of_their_seed() -> None:
    rows = grouped([2] * 8)
    assert split_minibatches(rows, 4, 5, 0) == split_minibatches(rows, 4, 5, 0)
    drawn = {str(split_minibatches(rows, 4, *seed)) for seed in [(5, 0), (5, 1), (6, 0), (50,)]}
    assert len(drawn) == 4
    # Shuffled: over many seeds a group lands in each of four minibatches about as often.
    homes = Counter(
        next(k for k, part in enumerate(split_minibatches(rows, 4, seed)) if 0 in part)
        for seed in range(400)
    )
    assert all(60 < homes[k] < 140 for k in range(4))


def test_more_minibatches_than_groups_are_refused() -> None:
    with pytest.raises(ValueError, match=r"loss\.minibatches=3: .* number of groups .* 2$"):
        split_minibatches(grouped([4, 4]), 3, 0)


def test_where_every_number_of_a_row_lands() -> None:
    rows = [
        # Id 0 is a real token here, as in Qwen3, where it is "!".
        spoken(
            [0, 11],
            [0, 13, 14],
            "a",
            mask=np.array([True, False, True]),
            logprobs=np.array([-1, np.nan, -3], np.float32),
            advantages=np.array([2, 0, 4], np.float32),
            temperature=0.5,
        ),
        spoken(
            [21],
            [22],
            "b",
            logprobs=np.array([-5], np.float32),
            advantages=np.array([6], np.float32),
        ),
    ]
    weights = [np.array([0.1, 0, 0.3], np.float32), np.array([0.4], np.float32)]
    old = [np.array([-7, -8, -9], np.float32), np.array([-10], np.float32)]
    batch = collate(rows, weights, old, CPU)
    assert batch.token_ids_BL.tolist() == [[0, 11, 0, 13, 14], [21, 22, 0, 0, 0]]
    assert batch.token_ids_BL.dtype == torch.int64
    assert batch.scored_BL.tolist() == [
        [False, False, True, False, True],
        [False, True, False, False, False],
    ]
    for field, expected in [
        ("weights_BL", [[0, 0, 0.1, 0, 0.3], [0, 0.4, 0, 0, 0]]),
        ("sampler_BL", [[0, 0, -1, np.nan, -3], [0, -5, 0, 0, 0]]),
        ("old_BL", [[0, 0, -7, -8, -9], [0, -10, 0, 0, 0]]),
        ("advantages_BL", [[0, 0, 2, 0, 4], [0, 6, 0, 0, 0]]),
    ]:
        torch.testing.assert_close(
            getattr(batch, field),
            torch.tensor(expected, dtype=torch.float32),
            rtol=0,
            atol=0,
            equal_nan=True,
        )
    assert batch.reference_BL is None
    assert batch.temperature_B.tolist() == [0.5, 1.0]
    assert batch.starts_B == (len(rows[0].prompt_ids), len(rows[1].prompt_ids))


def test_what_a_row_may_go_without() -> None:
    (row,) = rows = [
        spoken(
            [7],
            [5, 6],
            advantages=np.ones(2, np.float32),
            reference=np.array([-1, -2], np.float32),
        )
    ]
    batch = collate(rows, [np.ones(2, np.float32)], None, CPU)
    assert batch.old_BL is None
    assert batch.reference_BL is not None
    assert batch.reference_BL.tolist() == [[0, -1, -2]]
    assert row.token_ids.dtype == np.int32
