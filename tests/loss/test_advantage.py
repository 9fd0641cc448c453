from collections.abc import Sequence

import numpy as np
import pytest

from rlcotrain.loss.advantage import Advantage, has_signal
from rlcotrain.types import Rollout
from tests.rows import spoken

OUTCOME = {"outcome": 1.0}
GRPO = Advantage(baseline="peers", scale="peers")
DRGRPO = Advantage(baseline="peers", scale="none")
RLOO = Advantage(baseline="leave_one_out", scale="none")
BATCH_SCALED = Advantage(baseline="peers", scale="batch")
BATCH = Advantage(baseline="batch", scale="batch")
REINFORCE_PP = Advantage(baseline="none", scale="none", whiten=True)
COMPARING = [GRPO, DRGRPO, RLOO, BATCH_SCALED]


def rewarded(value: float, peers: str = "p", tokens: int = 2) -> Rollout:
    return spoken([7], [5] * tokens, peers).give("outcome", value)


def firsts(
    advantage: Advantage, rows: Sequence[Rollout], weights: dict[str, float] = OUTCOME
) -> list[float]:
    """Each row's advantage, which all of its tokens share."""
    result = []
    for row in advantage(rows, weights):
        assert row.advantages is not None and row.advantages.dtype == np.float32
        assert np.all(row.advantages == row.advantages[0])
        result.append(float(row.advantages[0]))
    return result


@pytest.mark.parametrize(
    ("advantage", "rewards", "expected"),
    [
        (GRPO, [1, 0, 0, 0], [1.5, -0.5, -0.5, -0.5]),
        (DRGRPO, [1, 0, 0, 0], [0.75, -0.25, -0.25, -0.25]),
        (RLOO, [1, 0, 0, 0], [1.0, -1 / 3, -1 / 3, -1 / 3]),
        (GRPO, [1, 1, 0, 1, 0], [0.7303, 0.7303, -1.0954, 0.7303, -1.0954]),
        # One group is the batch; sample deviation of [1, 0, 0, 0] is 0.5.
        (BATCH, [1, 0, 0, 0], [1.5, -0.5, -0.5, -0.5]),
        (Advantage(baseline="none", scale="none"), [3, -2], [3, -2]),
        # The sample deviation of [3, 1] is sqrt(2).
        (Advantage(baseline="none", scale="peers"), [3, 1], [3 / 2**0.5, 1 / 2**0.5]),
        (Advantage(baseline="leave_one_out", scale="peers"), [3, 1], [2**0.5, -(2**0.5)]),
    ],
)
def test_values_worked_by_hand(
    advantage: Advantage, rewards: list[float], expected: list[float]
) -> None:
    assert firsts(advantage, [rewarded(r) for r in rewards]) == pytest.approx(expected, abs=5e-5)


def test_groups_are_centred_apart_and_scaled_together() -> None:
    rows = [rewarded(r, p) for r, p in [(1, "a"), (0, "b"), (0, "a"), (4, "b")]]
    # Values 1, 0, 0, 4: mean 1.25, sum of squared deviations 10.75, deviation sqrt(10.75 / 3).
    deviation = (10.75 / 3) ** 0.5
    assert firsts(BATCH_SCALED, rows) == pytest.approx(
        [0.5 / deviation, -2 / deviation, -0.5 / deviation, 2 / deviation], rel=1e-5
    )
    assert firsts(BATCH, rows) == pytest.approx(
        [-0.25 / deviation, -1.25 / deviation, -1.25 / deviation, 2.75 / deviation], rel=1e-5
    )
    # Centred by the batch's 1.25, then divided by each pair's own deviation |a - b| / sqrt(2).
    assert firsts(Advantage(baseline="batch", scale="peers"), rows) == pytest.approx(
        [-0.25 * 2**0.5, -1.25 * 2**0.5 / 4, -1.25 * 2**0.5, 2.75 * 2**0.5 / 4], rel=1e-5
    )


def test_tango_pools_the_steps_of_a_group() -> None:
    first = spoken([7], [5] * 5)  # two steps: tokens 0-1 and 2-4
    second = spoken([7], [5] * 6)  # three steps of two tokens
    first = first.give("step", 0.5, "step", 0, 2).give("step", -0.5, "step", 2, 5)
    for start in (0, 2, 4):
        second = second.give("step", 1 / 3, "step", start, start + 2)
    returns = GRPO([first, second], {"step": 1.0})
    assert returns[0].advantages == pytest.approx([-1.0052] * 2 + [-1.7592] * 3, abs=1e-4)
    assert returns[1].advantages == pytest.approx(
        [1.0052] * 2 + [0.6702] * 2 + [0.3351] * 2, abs=1e-4
    )
    own = Advantage(baseline="peers", scale="peers", credit="own")([first, second], {"step": 1.0})
    assert own[0].advantages == pytest.approx([0.7539] * 2 + [-1.7592] * 3, abs=1e-4)
    assert own[1].advantages == pytest.approx([0.3351] * 6, abs=1e-4)


def test_tokens_behind_a_span_are_not_credited_with_it() -> None:
    rows = [spoken([7], [5] * 4).give("step", value, "step", 1, 2) for value in (1.0, 0.0)]
    assert DRGRPO(rows, {"step": 1.0})[0].advantages == pytest.approx([0.5, 0.5, 0, 0])
    own = Advantage(baseline="peers", scale="none", credit="own")(rows, {"step": 1.0})
    assert own[0].advantages == pytest.approx([0, 0.5, 0, 0])


@pytest.mark.parametrize("advantage", [*COMPARING, BATCH, REINFORCE_PP])
def test_equal_rewards_give_exactly_0(advantage: Advantage) -> None:
    assert np.mean([0.1] * 3) != 0.1  # so that a mean alone would leave something over
    rows = [rewarded(0.1, peers, tokens) for peers in ("a", "b") for tokens in (1, 2, 3)]
    assert firsts(advantage, rows) == [0.0] * 6
    assert not any(map(has_signal, advantage(rows, OUTCOME)))


@pytest.mark.parametrize("advantage", COMPARING)
def test_a_lone_peer_gets_exactly_0(advantage: Advantage) -> None:
    rows = [rewarded(0.3, "alone"), rewarded(1, "p"), rewarded(0, "p")]
    values = firsts(advantage, rows)
    assert values[0] == 0.0
    assert values[1] == -values[2] > 0.4


@pytest.mark.parametrize(
    "advantage", [BATCH, REINFORCE_PP, Advantage(baseline="none", scale="peers")]
)
def test_one_row_alone_in_the_batch_is_compared_with_nothing(advantage: Advantage) -> None:
    assert firsts(advantage, [rewarded(5)]) == [0.0]


@pytest.mark.parametrize("advantage", [*COMPARING, BATCH, REINFORCE_PP])
def test_rewards_equal_on_paper_do_not_become_advantages(advantage: Advantage) -> None:
    rows = [rewarded(0.1 + 0.2), rewarded(0.3), rewarded(0.3), rewarded(0.1 + 0.2)]
    assert 0.1 + 0.2 != 0.3
    assert firsts(advantage, rows) == pytest.approx([0.0] * 4, abs=1e-6)


def test_a_small_difference_is_a_signal_and_not_noise() -> None:
    assert firsts(GRPO, [rewarded(0.501), rewarded(0.5)]) == pytest.approx(
        [2**-0.5, -(2**-0.5)], rel=2e-3
    )


def test_a_row_without_tokens_is_no_error() -> None:
    for advantage in (*COMPARING, BATCH, REINFORCE_PP, Advantage(baseline="constant")):
        (row,) = advantage([spoken([7], []).give("outcome", 1)], OUTCOME)
        assert row.advantages is not None and len(row.advantages) == 0


def test_parts_of_one_span_are_summed_before_normalising() -> None:
    parts = [(1.0, 0.8), (1.0, 0.0), (0.0, 0.8), (0.0, 0.0)]
    rows = [
        rewarded(0).give("verdict", correct, "correct").give("verdict", form, "format")
        for correct, form in parts
    ]
    assert firsts(GRPO, rows, {"verdict": 1.0}) == pytest.approx(
        firsts(GRPO, [rewarded(sum(pair)) for pair in parts])
    )


def test_streams_are_normalised_apart_and_mixed_by_weight() -> None:
    outcome, style = [1.0, 0.0, 0.0, 0.0], [100.0, 300.0, 200.0, 200.0]
    rows = [rewarded(a).give("style", b) for a, b in zip(outcome, style, strict=True)]
    # Style: mean 200, sample deviation sqrt(20000 / 3) = 81.6497, so +-1.224745.
    assert firsts(GRPO, rows, {"outcome": 0.75, "style": 0.25}) == pytest.approx(
        [
            0.75 * 1.5 - 0.25 * 1.224745,
            0.75 * -0.5 + 0.25 * 1.224745,
            0.75 * -0.5,
            0.75 * -0.5,
        ],
        rel=2e-5,  # 1e-6 is added to each deviation, and the two terms of the second row cancel
    )


def test_a_stream_without_weight_is_not_learned_from() -> None:
    rows = [rewarded(a).give("style", b) for a, b in [(1, 0), (0, 50)]]
    alone = firsts(DRGRPO, [rewarded(1), rewarded(0)])
    assert firsts(DRGRPO, rows) == alone
    assert firsts(DRGRPO, rows, {"outcome": 1.0, "style": 0.0}) == alone


def test_a_row_goes_without_a_stream_that_says_nothing_of_it() -> None:
    rows = [rewarded(1), rewarded(0), spoken([7], [5, 5])]
    # Neither the mean of the other two nor their deviation knows of the third.
    assert firsts(DRGRPO, rows) == [0.5, -0.5, 0.0]
    assert firsts(GRPO, rows) == pytest.approx([2**-0.5, -(2**-0.5), 0.0], rel=1e-5)
    assert firsts(RLOO, rows) == [1.0, -1.0, 0.0]
    # Nor does whitening make -mean of its 0.
    assert firsts(REINFORCE_PP, rows) == pytest.approx([1.0, -1.0, 0.0], rel=1e-6)
    both = [rewarded(1).give("style", 4), rewarded(0).give("style", 2), rewarded(0.5)]
    assert firsts(DRGRPO, both, {"outcome": 1.0, "style": 1.0}) == [1.5, -1.5, 0.0]


def test_injected_tokens_get_0() -> None:
    rows = [
        spoken([7], [5, 5, 5], mask=np.array([True, False, True])).give("outcome", value)
        for value in (1.0, 0.0)
    ]
    for advantage in (DRGRPO, REINFORCE_PP, Advantage(baseline="constant")):
        for row in advantage(rows, OUTCOME):
            assert row.advantages is not None
            assert row.advantages[1] == 0.0
            assert row.advantages[0] == row.advantages[2] != 0.0


@pytest.mark.parametrize("advantage", [GRPO, REINFORCE_PP])
def test_a_rows_weight_multiplies_what_is_normalised(advantage: Advantage) -> None:
    plain = [spoken([7], [5]).give("outcome", r) for r in (1, 0, 0)]
    heavy = [spoken([7], [5], weight=w).give("outcome", r) for r, w in [(1, 3), (0, 1), (0, 0)]]
    one, two, three = firsts(advantage, plain)
    assert firsts(advantage, heavy) == pytest.approx([3 * one, two, 0 * three], rel=1e-6)


def test_discount_counts_tokens_back_from_the_end_of_the_span() -> None:
    discounted = Advantage(baseline="none", scale="none", discount=0.5)
    (row,) = discounted([rewarded(8, tokens=4)], OUTCOME)
    assert row.advantages == pytest.approx([1, 2, 4, 8])
    step = spoken([7], [5] * 4).give("outcome", 8, "step", 1, 3).give("outcome", 16, "step", 3, 4)
    (row,) = discounted([step], OUTCOME)
    assert row.advantages == pytest.approx([2 + 2, 4 + 4, 8 + 8, 16])


def test_constant_looks_at_no_reward() -> None:
    rows = [rewarded(-5), spoken([7], [5, 5]), spoken([7], [5], weight=2)]
    assert firsts(Advantage(baseline="constant", scale="none"), rows) == [1.0, 1.0, 2.0]


def naive_reinforce_pp(rows: Sequence[Rollout], discount: float) -> list[list[float]]:
    """Return-to-go token by token, then masked whitening, in plain Python."""
    returns = []
    for row in rows:
        (reward,) = row.rewards
        line, running = [], 0.0
        for t in reversed(range(len(row.token_ids))):
            running = (reward.value if t == len(row.token_ids) - 1 else 0.0) + discount * running
            line.append(running)
        returns.append(line[::-1])
    seen = [
        value
        for row, line in zip(rows, returns, strict=True)
        for value, real in zip(line, row.mask, strict=True)
        if real
    ]
    mean = sum(seen) / len(seen)
    variance = sum((value - mean) ** 2 for value in seen) / len(seen)
    return [
        [
            (value - mean) / (variance + 1e-8) ** 0.5 if real else 0.0
            for value, real in zip(line, row.mask, strict=True)
        ]
        for row, line in zip(rows, returns, strict=True)
    ]


@pytest.mark.parametrize("discount", [1.0, 0.9])
def test_reinforce_pp_against_a_naive_loop(discount: float) -> None:
    random = np.random.default_rng(1)
    rows = [
        spoken([7], [5] * n, f"group {n % 3}", mask=random.random(n) < 0.8).give(
            "outcome", random.normal()
        )
        for n in random.integers(1, 9, size=12)
    ]
    advantage = Advantage(baseline="none", scale="none", whiten=True, discount=discount)
    for row, line in zip(advantage(rows, OUTCOME), naive_reinforce_pp(rows, discount), strict=True):
        assert row.advantages == pytest.approx(line, abs=1e-5)


@pytest.mark.parametrize("seed", range(20))
def test_affine_maps_of_the_rewards_change_only_what_they_must(seed: int) -> None:
    random = np.random.default_rng(seed)
    peers = [f"{k}" for k in random.integers(0, 3, size=9)]
    values = random.normal(size=9)
    factor, shift = random.uniform(0.5, 20), random.uniform(-50, 50)
    before = [rewarded(v, p) for v, p in zip(values, peers, strict=True)]
    after = [rewarded(factor * v + shift, p) for v, p in zip(values, peers, strict=True)]
    for advantage in (GRPO, BATCH_SCALED, BATCH, REINFORCE_PP):
        assert firsts(advantage, after) == pytest.approx(
            firsts(advantage, before), rel=1e-3, abs=2e-5
        )
    for advantage in (DRGRPO, RLOO):
        assert firsts(advantage, after) == pytest.approx(
            [factor * value for value in firsts(advantage, before)], rel=1e-5, abs=1e-5
        )


@pytest.mark.parametrize("advantage", COMPARING)
def test_the_order_of_rows_does_not_matter(advantage: Advantage) -> None:
    random = np.random.default_rng(3)
    rows = [rewarded(v, p) for v, p in zip(random.normal(size=8), "abcaabbc", strict=True)]
    order = list(random.permutation(8))
    straight = firsts(advantage, rows)
    shuffled = firsts(advantage, [rows[i] for i in order])
    assert shuffled == pytest.approx([straight[i] for i in order], rel=1e-6)


def test_rows_given_are_not_changed() -> None:
    rows = [rewarded(1), rewarded(0)]
    GRPO(rows, OUTCOME)
    assert [row.advantages for row in rows] == [None, None]
