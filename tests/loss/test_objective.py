import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from rlcotrain.loss.advantage import EPSILON
from rlcotrain.loss.collate import collate, token_weights
from rlcotrain.loss.objective import Loss
from rlcotrain.types import Batch, Rollout
from tests.loss.composed import MAX_TOKENS, NAMES, composed
from tests.loss.steps import evaluated, made_up
from tests.rows import spoken

GRPO: dict[str, Any] = {
    "baseline": "peers",
    "scale": "peers",
    "credit": "return_to_go",
    "whiten": False,
    "discount": 1.0,
    "surrogate": "clip",
    "ratio": "token",
    "clip_low": 0.2,
    "clip_high": 0.2,
    "dual_clip": None,
    "beta": 0.0,
    "kl": "k3",
    "reference_every": None,
    "entropy": 0.0,
    "aggregation": "sequence",
    "constant_length": MAX_TOKENS,
    "minibatches": 1,
    "epochs": 1,
    "old": "recompute",
}
NO_CLIP = {"clip_low": None, "clip_high": None}
# What each file claims, as it differs from GRPO.
CLAIMS: dict[str, dict[str, Any]] = {
    "grpo": {},
    "drgrpo": {"scale": "none", "aggregation": "constant"},
    "dapo": {"clip_high": 0.28, "dual_clip": 10.0, "aggregation": "token"},
    "gspo": {"ratio": "sequence", "clip_low": 3e-4, "clip_high": 4e-4, "minibatches": 4},
    "cispo": {"surrogate": "cispo", "clip_low": None, "clip_high": 4.0, "aggregation": "token"},
    "rloo": {
        "baseline": "leave_one_out",
        "scale": "none",
        "surrogate": "reinforce",
        "aggregation": "constant",
        "beta": 0.03,
        "kl": "k2",
    },
    "reinforce_pp": {
        "baseline": "none",
        "scale": "none",
        "whiten": True,
        "aggregation": "token",
    },
    "nanochat": {"scale": "none", "surrogate": "reinforce", "aggregation": "prompt"} | NO_CLIP,
    "nll": {
        "baseline": "constant",
        "scale": "none",
        "surrogate": "reinforce",
        "aggregation": "token",
    }
    | NO_CLIP,
}


def test_every_file_is_claimed() -> None:
    assert sorted(CLAIMS) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_every_file_loads_into_the_loss_it_claims(name: str) -> None:
    assert composed(name) == Loss(**GRPO | CLAIMS[name])


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("minibatches", 0),
        ("epochs", 0),
        ("constant_length", 0),
        ("clip_low", -0.1),
        ("clip_high", -0.1),
        ("beta", -1.0),
        ("dual_clip", 1.0),
        ("discount", 0.0),
        ("discount", 1.5),
        ("reference_every", 0),
        ("reference_every", 5),  # while beta is 0
    ],
)
def test_settings_out_of_range_are_named(key: str, value: float) -> None:
    with pytest.raises(ValueError, match=rf"^loss\.{key}={value}: must be "):
        Loss(**GRPO | {key: value})


def single_row(
    old: Sequence[float], advantages: Sequence[float], reference: Sequence[float] | None = None
) -> Batch:
    """One row: a prompt token, then a sampled token a number, each weighing 1."""
    row = spoken(
        [7],
        [5] * len(old),
        advantages=np.array(advantages, np.float32),
        reference=None if reference is None else np.array(reference, np.float32),
    )
    return collate(
        [row], [np.ones(len(old), np.float32)], [np.array(old, np.float32)], torch.device("cpu")
    )


def evaluate(
    loss: Loss, batch: Batch, logprobs: Sequence[float], entropies: Sequence[float] | None = None
) -> tuple[float, list[float], dict[str, float]]:
    """(loss, its gradient by log-probability, sums) of a single row."""
    logprobs_BL = torch.tensor([[0.0, *logprobs]], requires_grad=True)
    entropy_BL = torch.tensor([[0.0, *(entropies or [0.0] * len(logprobs))]])
    value, sums = loss(batch, logprobs_BL, entropy_BL)
    value.backward()
    assert logprobs_BL.grad is not None
    assert logprobs_BL.grad[0, 0] == 0
    return (
        value.item(),
        logprobs_BL.grad[0, 1:].tolist(),
        {key: float(number) for key, number in sums.items()},
    )


def of_ratio(
    loss: Loss, ratio: float, advantage: float, logprob: float = -1.0
) -> tuple[float, float, float]:
    """(loss, gradient, clipped) of one token whose probability changed by `ratio`."""
    batch = single_row([logprob - math.log(ratio)], [advantage])
    value, (slope,), sums = evaluate(loss, batch, [logprob])
    return value, slope, sums["clipped"]


# The gradient of r A by the log-probability is r A.
@pytest.mark.parametrize(
    ("ratio", "advantage", "value", "slope", "clipped"),
    [
        (1.0, 2.0, -2.0, -2.0, 0),
        (1.1, 2.0, -2.2, -2.2, 0),
        (1.5, 2.0, -2.4, 0.0, 1),  # -min(3, 1.2 * 2)
        (0.5, 2.0, -1.0, -1.0, 0),  # -min(1, 0.8 * 2): below the range, but not held back
        (0.5, -2.0, 1.6, 0.0, 1),  # -min(-1, -1.6)
        (1.5, -2.0, 3.0, 3.0, 0),  # -min(-3, -2.4)
        (0.9, -2.0, 1.8, 1.8, 0),
        (1.5, 0.0, 0.0, 0.0, 0),  # nothing to hold back
    ],
)
def test_ppo_clip(
    ratio: float, advantage: float, value: float, slope: float, clipped: float
) -> None:
    assert of_ratio(composed("grpo"), ratio, advantage) == pytest.approx(
        (value, slope, clipped), rel=1e-5, abs=1e-7
    )


def test_clip_higher_widens_the_upper_side_only() -> None:
    dapo = composed("dapo")
    assert of_ratio(dapo, 1.25, 1.0) == pytest.approx((-1.25, -1.25, 0), rel=1e-5)
    assert of_ratio(dapo, 1.30, 1.0) == pytest.approx((-1.28, 0, 1), rel=1e-5)
    assert of_ratio(dapo, 0.75, -1.0) == pytest.approx((0.8, 0, 1), rel=1e-5)


def test_a_side_without_a_clip_is_open() -> None:
    up = composed("grpo", clip_high=None)
    assert of_ratio(up, 50.0, 1.0) == pytest.approx((-50, -50, 0), rel=1e-5)
    assert of_ratio(up, 0.5, -1.0) == pytest.approx((0.8, 0, 1), rel=1e-5)
    down = composed("grpo", clip_low=None)
    assert of_ratio(down, 0.01, -1.0) == pytest.approx((0.01, 0.01, 0), rel=1e-5)
    assert of_ratio(down, 1.5, 1.0) == pytest.approx((-1.2, 0, 1), rel=1e-5)


def test_dual_clip_bounds_what_a_negative_advantage_may_cost() -> None:
    dual = composed("grpo", dual_clip=3.0)
    assert of_ratio(dual, 2.5, -2.0) == pytest.approx((5.0, 5.0, 0), rel=1e-5)
    assert of_ratio(dual, 4.0, -2.0) == pytest.approx((6.0, 0.0, 1), rel=1e-5)
    assert of_ratio(dual, 0.5, -2.0) == pytest.approx((1.6, 0.0, 1), rel=1e-5)
    # A positive advantage is none of its business: with the upper side open, nothing holds it.
    dual_open = composed("grpo", dual_clip=3.0, clip_high=None)
    assert of_ratio(dual_open, 4.0, 2.0) == pytest.approx((-8.0, -8.0, 0), rel=1e-5)


@pytest.mark.parametrize(
    ("ratio", "advantage", "weight", "clipped"),
    [(1.0, 2.0, 1.0, 0), (4.9, 2.0, 4.9, 0), (8.0, 2.0, 5.0, 1), (0.01, -2.0, 0.01, 0)],
)
def test_cispo_clips_a_weight_and_keeps_every_gradient(
    ratio: float, advantage: float, weight: float, clipped: float
) -> None:
    # -sg(min(r, 5)) A lp at lp = -1.5: the gradient is the weight times -A, and never 0.
    assert of_ratio(composed("cispo"), ratio, advantage, -1.5) == pytest.approx(
        (weight * advantage * 1.5, -weight * advantage, clipped), rel=1e-5
    )


def test_reinforce_knows_no_ratio() -> None:
    for name in ("nanochat", "nll"):
        for ratio in (0.1, 1.0, 30.0):
            assert of_ratio(composed(name), ratio, -0.5, -1.5) == pytest.approx((-0.75, 0.5, 0))


def test_a_ratio_beyond_all_measure_stays_finite() -> None:
    value, slope, sums = evaluate(
        composed("grpo", clip_high=None), single_row([-100.0], [1.0]), [-1.0]
    )
    assert value == pytest.approx(-math.exp(20), rel=1e-5)
    assert (slope, sums["kl_max"]) == ([0.0], 99.0)
    assert sums["ratio_max"] == pytest.approx(math.exp(20), rel=1e-5)


def test_gspo_shares_one_ratio_and_each_token_keeps_its_gradient() -> None:
    logprobs, old = [-1.0, -2.0, -3.0, -4.0], [-1.1, -2.3, -2.9, -4.1]
    s = math.exp((0.1 + 0.3 - 0.1 + 0.1) / 4)  # 1.10517
    wide = composed("gspo", clip_low=0.2, clip_high=0.2)
    value, slope, sums = evaluate(wide, single_row(old, [2.0, 2.0, -1.0, 0.5]), logprobs)
    assert value == pytest.approx(-s * (2 + 2 - 1 + 0.5), rel=1e-5)
    assert slope == pytest.approx([-2 * s, -2 * s, s, -0.5 * s], rel=1e-5)
    assert (sums["clipped"], sums["ratio_max"]) == (0, pytest.approx(s, rel=1e-5))
    # At the paper's range all tokens of the row are clipped together, by the sign of A.
    value, slope, sums = evaluate(
        composed("gspo"), single_row(old, [2.0, 2.0, -1.0, 0.5]), logprobs
    )
    assert value == pytest.approx(-1.0004 * 4.5 + s, rel=1e-5)
    assert slope == pytest.approx([0, 0, s, 0], rel=1e-5)
    assert sums["clipped"] == 3


def test_gspo_means_over_sampled_tokens_of_each_row() -> None:
    mask = np.array([True, False, True])
    rows = [
        spoken([7], [5] * 3, mask=mask, advantages=np.ones(3, np.float32)),
        spoken([7, 7], [5], advantages=np.ones(1, np.float32)),
    ]
    old = [np.array([-1, np.nan, -1], np.float32), np.array([-1], np.float32)]
    weights = [np.where(mask, 1, 0).astype(np.float32), np.ones(1, np.float32)]
    batch = collate(rows, weights, old, torch.device("cpu"))
    logprobs_BL = torch.tensor([[0.0, -0.8, 3.0, -1.0], [0.0, 0.0, -1.3, 9.0]], requires_grad=True)
    loss = composed("gspo", clip_low=0.5, clip_high=0.5)
    value, _ = loss(batch, logprobs_BL, torch.zeros(2, 4))
    value.backward()
    first, second = math.exp((0.2 + 0.0) / 2), math.exp(-0.3)
    assert value.item() == pytest.approx(-2 * first - second, rel=1e-5)
    assert logprobs_BL.grad is not None
    torch.testing.assert_close(
        logprobs_BL.grad, torch.tensor([[0, -first, 0, -first], [0, 0, -second, 0]])
    )


# k1 = d, k2 = d^2 / 2, k3 = exp(-d) - 1 + d; their gradients 1, d, 1 - exp(-d).
@pytest.mark.parametrize(
    ("kl", "d", "value", "slope"),
    [
        ("k1", 1.0, 1.0, 1.0),
        ("k2", 1.0, 0.5, 1.0),
        ("k3", 1.0, 0.36788, 0.63212),
        ("k1", -1.0, -1.0, 1.0),
        ("k2", -1.0, 0.5, -1.0),
        ("k3", -1.0, 0.71828, -1.71828),
        ("k3", 0.1, 0.0048374, 0.0951626),
        ("k3", -0.1, 0.0051709, -0.1051709),
        ("k1", 0.0, 0.0, 1.0),
        ("k2", 0.0, 0.0, 0.0),
        ("k3", 0.0, 0.0, 0.0),
    ],
)
def test_kl_to_the_reference(kl: str, d: float, value: float, slope: float) -> None:
    batch = single_row([-2.0], [0.0], reference=[-2.0 - d])
    loss, (gradient,), sums = evaluate(composed("grpo", beta=0.5, kl=kl), batch, [-2.0])
    assert (loss, gradient) == pytest.approx((0.5 * value, 0.5 * slope), rel=1e-4, abs=1e-6)
    assert sums["reference_kl"] == pytest.approx(value, rel=1e-4, abs=1e-6)


def test_kl_is_not_reweighted_by_the_ratio() -> None:
    batch = single_row([-2.0 - math.log(1.1)], [3.0], reference=[-3.0])
    value, (slope,), _ = evaluate(composed("grpo", beta=0.5, kl="k2"), batch, [-2.0])
    assert (value, slope) == pytest.approx((-3.3 + 0.25, -3.3 + 0.5), rel=1e-5)


def test_the_entropy_bonus_lowers_the_loss_and_pulls_entropy_up() -> None:
    batch = single_row([-2.0, -2.0], [1.0, 1.0])
    entropy_BL = torch.tensor([[9.0, 0.5, 1.5]], requires_grad=True)
    value, sums = composed("grpo", entropy=0.1)(
        batch, torch.tensor([[0.0, -2.0, -2.0]], requires_grad=True), entropy_BL
    )
    value.backward()
    assert value.item() == pytest.approx(-2 - 0.1 * (0.5 + 1.5))
    assert entropy_BL.grad is not None
    assert entropy_BL.grad.tolist() == [[0, pytest.approx(-0.1), pytest.approx(-0.1)]]
    assert sums["entropy"].item() == 2.0


@pytest.mark.parametrize("name", [name for name in NAMES if name != "rloo"])
def test_at_ratio_1_the_gradient_is_that_of_reinforce(name: str) -> None:
    # A batch without `old` is one whose policy has not moved since.
    batch = replace(single_row([0, 0, 0], [1.5, -0.5, 0.25]), old_BL=None)
    _, slope, sums = evaluate(composed(name), batch, [-1.0, -2.0, -0.1])
    assert slope == pytest.approx([-1.5, 0.5, -0.25])
    assert (sums["clipped"], sums["approx_kl"], sums["kl_max"]) == (0, 0, 0)
    assert sums["ratio_max"] == 1


def test_sums_worked_by_hand() -> None:
    batch = single_row([-1.0, -2.0, -3.0], [1.0, 1.0, 1.0])
    _, _, sums = evaluate(composed("grpo"), batch, [-1.5, -2.0, -2.0], [0.1, 0.2, 0.3])
    # Changes -0.5, 0, 1: of exp(d) - 1 - d 0.106531, 0 and 0.718282.
    assert sums == {
        "entropy": pytest.approx(0.6),
        "approx_kl": pytest.approx(0.106531 + 0.718282, rel=1e-5),
        "reference_kl": 0.0,
        "clipped": 1.0,
        "kl_max": pytest.approx(1.0),
        "ratio_max": pytest.approx(math.e),
    }


@pytest.mark.parametrize("kl", ["k1", "k2", "k3"])
def test_the_expected_gradient_of_the_kl_of_a_token(kl: str) -> None:
    """Summed over a vocabulary of 5: that of k1 is 0, that of k2 the gradient of KL(p || q), that
    of k3 the gradient of KL(q || p)."""
    torch.manual_seed(0)
    logits, reference = torch.randn(2, 5, requires_grad=True).unbind()
    p, q = logits.log_softmax(-1), reference.log_softmax(-1).detach()
    loss = composed("grpo", beta=1.0, kl=kl)
    rows = [
        spoken([7], [token], advantages=np.zeros(1, np.float32), reference=q[[token]].numpy())
        for token in range(5)
    ]
    weights = [np.array([weight], np.float32) for weight in p.detach().exp().numpy()]
    batch = collate(rows, weights, None, torch.device("cpu"))
    logprobs_BL = torch.stack([torch.zeros(5), p], 1)
    value, _ = loss(batch, logprobs_BL, torch.zeros(5, 2))
    (gradient,) = torch.autograd.grad(value, logits, retain_graph=True)
    exact = {
        "k1": torch.zeros(()) * p.sum(),
        "k2": (p.exp() * (p - q)).sum(),
        "k3": (q.exp() * (q - p)).sum(),
    }[kl]
    (expected,) = torch.autograd.grad(exact, logits)
    torch.testing.assert_close(gradient, expected, rtol=0, atol=1e-6)


HOSTILE = [math.nan, math.inf, -math.inf]


@pytest.mark.parametrize("hostile", HOSTILE)
@pytest.mark.parametrize("name", NAMES)
def test_unscored_tokens_have_no_gradient_whatever_they_hold(name: str, hostile: float) -> None:
    rows = [
        spoken(
            [7, 7],
            [5] * 3,
            mask=np.array([True, False, True]),
            advantages=np.array([1, hostile, -2], np.float32),
            reference=np.array([-1.2, hostile, -1.4], np.float32),
            logprobs=np.array([-1, hostile, -1], np.float32),
        ),
        spoken(
            [7],
            [5],
            advantages=np.ones(1, np.float32),
            reference=np.array([-1], np.float32),
        ),
    ]
    weights = token_weights(rows, "token", 1)
    old = [np.array([-1.1, hostile, -0.9], np.float32), np.array([-1], np.float32)]
    batch = collate(rows, weights, old, torch.device("cpu"))
    loss = composed(name, beta=0.1, entropy=0.01)

    def outcome(filler: float) -> tuple[float, torch.Tensor, torch.Tensor, dict[str, float]]:
        x = filler
        logprobs_BL = torch.tensor([[x, x, -1.0, x, -1.0], [x, -1.0, x, x, x]], requires_grad=True)
        entropy_BL = torch.tensor([[x, x, 0.5, x, 0.6], [x, 0.7, x, x, x]], requires_grad=True)
        value, sums = loss(batch, logprobs_BL, entropy_BL)
        value.backward()
        assert logprobs_BL.grad is not None and entropy_BL.grad is not None
        return (
            value.item(),
            logprobs_BL.grad,
            entropy_BL.grad,
            {key: float(number) for key, number in sums.items()},
        )

    value, slope_BL, entropy_slope_BL, sums = outcome(hostile)
    clean_value, clean_slope_BL, clean_entropy_slope_BL, clean_sums = outcome(0.0)
    assert math.isfinite(value) and value == clean_value and sums == clean_sums
    assert torch.equal(slope_BL, clean_slope_BL)
    assert torch.equal(entropy_slope_BL, clean_entropy_slope_BL)
    assert slope_BL[~batch.scored_BL].tolist() == [0.0] * 7
    assert entropy_slope_BL[~batch.scored_BL].tolist() == [0.0] * 7
    assert slope_BL[batch.scored_BL].count_nonzero() == 3


def test_a_row_that_says_nothing_costs_nothing() -> None:
    row = spoken([7], [5, 5], mask=np.zeros(2, bool), advantages=np.zeros(2, np.float32))
    for name in NAMES:
        batch = collate([row], token_weights([row], "token", 1), None, torch.device("cpu"))
        assert evaluate(composed(name), batch, [-1.0, -1.0])[:2] == (0.0, [0.0, 0.0])


def naive(
    name: str, rows: Sequence[Rollout], old: list[np.ndarray], current: list[np.ndarray]
) -> tuple[float, list[list[float]], int]:
    """(loss, gradient, clipped tokens) of grpo, dapo or drgrpo, row by row in plain Python."""
    low, high = (0.2, 0.28) if name == "dapo" else (0.2, 0.2)
    total_tokens = sum(int(row.mask.sum()) for row in rows)
    loss, slopes, clipped = 0.0, [], 0
    for row, line_old, line in zip(rows, old, current, strict=True):
        peers = [other.rewards[0].value for other in rows if other.peers == row.peers]
        mean = sum(peers) / len(peers)
        advantage = row.rewards[0].value - mean
        if name != "drgrpo":
            variance = sum((value - mean) ** 2 for value in peers) / (len(peers) - 1)
            advantage /= math.sqrt(variance) + EPSILON
        length = int(row.mask.sum())
        divisor = {
            "grpo": len(rows) * length,
            "dapo": total_tokens,
            "drgrpo": len(rows) * MAX_TOKENS,
        }[name]
        slope = []
        for lp, lp_old, real in zip(line.tolist(), line_old.tolist(), row.mask, strict=True):
            ratio = math.exp(lp - lp_old)
            bounded = min(max(ratio, 1 - low), 1 + high)
            cost = max(-ratio * advantage, -bounded * advantage)
            held = (advantage > 0 and ratio > 1 + high) or (advantage < 0 and ratio < 1 - low)
            if name == "dapo" and advantage < 0 and cost > -10 * advantage:
                cost, held = -10 * advantage, True
            loss += cost / divisor if real else 0.0
            slope.append(-ratio * advantage / divisor if real and not held else 0.0)
            clipped += bool(real and held)
        slopes.append(slope)
    return loss, slopes, clipped


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("name", ["grpo", "dapo", "drgrpo"])
def test_against_a_naive_loop_over_sequences(name: str, seed: int) -> None:
    rows, old, current = made_up(seed)
    loss = composed(name)
    rewarded = loss.advantage(rows, {"outcome": 1.0})
    value, slopes, clipped = evaluated(loss, rewarded, old, current)
    expected, expected_slopes, expected_clipped = naive(name, rows, old, current)
    assert value == pytest.approx(expected, rel=1e-4, abs=1e-6)
    for slope, expected_slope in zip(slopes, expected_slopes, strict=True):
        assert slope == pytest.approx(expected_slope, rel=1e-4, abs=1e-6)
    assert clipped == expected_clipped > 0
