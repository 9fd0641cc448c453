"""Losses and advantages beside what others compute of the same numbers.

TRL: its own loss functions, called with what their trainers would hand them. verl and nanochat:
their formulas, written down here. Where conventions differ, the test says which and by how much.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from trl.trainer.grpo_trainer import GRPOTrainer
from trl.trainer.rloo_trainer import RLOOTrainer

from rlcotrain.loss.advantage import EPSILON
from rlcotrain.types import Rollout
from tests.loss.composed import MAX_TOKENS, composed
from tests.loss.steps import Lines, evaluated, made_up

SEEDS = pytest.mark.parametrize("seed", range(5))


def step(name: str, seed: int, **changes: Any) -> tuple[list[Rollout], Lines, Lines, Lines]:
    """(rows with advantages and a reference, old, current, entropies)."""
    rows, old, current = made_up(seed)
    random = np.random.default_rng(seed)
    rows = [
        replace(row, reference=line + random.normal(0, 0.5, len(line)).astype(np.float32))
        for row, line in zip(rows, current, strict=True)
    ]
    rows = composed(name, **changes).advantage(rows, {"outcome": 1.0})
    return rows, old, current, [np.exp(line) for line in current]


def padded(lines: Sequence[np.ndarray]) -> torch.Tensor:
    """[B, T], zeros behind each row."""
    return torch.nn.utils.rnn.pad_sequence([torch.tensor(line) for line in lines], True)


def assert_same(ours: tuple[float, Lines, int], loss: torch.Tensor, grad_BT: torch.Tensor) -> None:
    """Loss and gradient agree to 1e-6."""
    assert ours[0] == pytest.approx(loss.item(), abs=1e-6)
    torch.testing.assert_close(padded(ours[1]), grad_BT, rtol=0, atol=1e-6)


# --- TRL


def trl(
    trainer: Any,
    rows: Sequence[Rollout],
    old: Lines,
    current: Lines,
    entropies: Lines,
    **settings: Any,
) -> tuple[torch.Tensor, torch.Tensor]:
    """(loss, gradient by the current log-probabilities) of a trainer's `_compute_loss`."""
    logps_BT, mask_BT = padded(current).requires_grad_(), padded([row.mask for row in rows])
    alone = SimpleNamespace(
        num_processes=1,
        sync_gradients=True,
        gather=lambda x: x,
        reduce=lambda x, reduction: x,
    )
    metrics: dict[str, Any] = {"train": MetricLists()}
    itself = SimpleNamespace(
        _get_per_token_logps_and_entropies=lambda *_, **__: (logps_BT, padded(entropies), None),
        accelerator=alone,
        model=SimpleNamespace(training=True),
        args=SimpleNamespace(
            delta=settings.pop("delta", None), use_bias_correction_kl=False, steps_per_generation=1
        ),
        _metrics=metrics,
        aux_loss_enabled=False,
        top_entropy_quantile=1.0,
        off_policy_mask_threshold=None,
        use_vllm=False,
        current_gradient_accumulation_steps=1,
        max_completion_length=MAX_TOKENS,
        use_adaptive_entropy=False,
        _entropy_bonus_enabled="entropy_coef" in settings,
        **{
            "beta": 0.0,
            "epsilon_low": 0.2,
            "epsilon_high": 0.2,
            "importance_sampling_level": "token",
        }
        | settings,
    )
    row_advantages = [row.advantages[row.mask].max(initial=-9.0) for row in rows]  # type: ignore[index]
    ids_BT = torch.zeros(logps_BT.shape, dtype=torch.long)
    loss = trainer._compute_loss(
        itself,
        None,
        {
            "prompt_ids": ids_BT[:, :1],
            "prompt_mask": ids_BT[:, :1],
            "completion_ids": ids_BT,
            "completion_mask": mask_BT.long(),
            "advantages": torch.tensor(row_advantages),
            "old_per_token_logps": padded(old),
            "old_logps": (padded(old) * mask_BT).sum(1),
            "ref_per_token_logps": padded([row.reference for row in rows]),  # type: ignore[misc]
            "num_items_in_batch": mask_BT.sum(),
        },
    )
    loss.backward()
    assert logps_BT.grad is not None
    return loss.detach(), logps_BT.grad


class MetricLists(dict[str, list[float]]):
    """What a trainer appends its metrics to."""

    def __missing__(self, key: str) -> list[float]:
        return self.setdefault(key, [])


@SEEDS
@pytest.mark.parametrize(
    ("name", "changes", "settings"),
    [
        ("grpo", {}, {"loss_type": "grpo"}),
        ("grpo", {"beta": 0.1}, {"loss_type": "grpo", "beta": 0.1}),
        ("drgrpo", {}, {"loss_type": "dr_grpo"}),
        # `delta` bounds the unclipped ratio, which is what a dual clip does where A < 0.
        ("dapo", {"dual_clip": 1.5}, {"loss_type": "dapo", "epsilon_high": 0.28, "delta": 1.5}),
        # `epsilon_high` of CISPO is the cap itself, not its distance from 1.
        ("cispo", {"clip_high": 0.5}, {"loss_type": "cispo", "epsilon_high": 1.5}),
        (
            "gspo",
            {"clip_low": 0.1, "clip_high": 0.15},
            {
                "loss_type": "grpo",
                "importance_sampling_level": "sequence",
                "epsilon_low": 0.1,
                "epsilon_high": 0.15,
            },
        ),
        # The entropy bonus is the mean over tokens for every loss type there.
        (
            "dapo",
            {"entropy": 0.1, "dual_clip": None},
            {"loss_type": "dapo", "epsilon_high": 0.28, "entropy_coef": 0.1},
        ),
    ],
)
def test_losses_are_those_of_trl(
    name: str, changes: dict[str, Any], settings: dict[str, Any], seed: int
) -> None:
    rows, old, current, entropies = step(name, seed, **changes)
    ours = evaluated(composed(name, **changes), rows, old, current, entropies)
    assert_same(ours, *trl(GRPOTrainer, rows, old, current, entropies, **settings))
    assert ours[2] > 0, "clips act"


@SEEDS
def test_the_gradient_of_rloo_is_that_of_trl_times_the_length(seed: int) -> None:
    """The sum over a sequence there, divided by `constant_length` here; the KL is in its reward."""
    rows, _, current, entropies = step("rloo", seed, beta=0.0)
    _, ours, _ = evaluated(composed("rloo", beta=0.0), rows, current, current)
    _, theirs_BT = trl(RLOOTrainer, rows, current, current, entropies)
    torch.testing.assert_close(padded(ours) * MAX_TOKENS, theirs_BT, rtol=0, atol=1e-6)


# --- verl, verl/trainer/ppo/core_algos.py

Values = dict[str, list[int]]


def by_group(rows: Sequence[Rollout]) -> Values:
    groups: Values = {}
    for index, row in enumerate(rows):
        groups.setdefault(row.peers, []).append(index)
    return groups


def centred(rows: Sequence[Rollout]) -> np.ndarray:
    """Rewards less their group's mean, [N]."""
    values = np.array([row.rewards[0].value for row in rows])
    result = values.copy()
    for index in by_group(rows).values():
        result[index] -= values[index].mean()
    return result


def verl_grpo(rows: Sequence[Rollout]) -> Lines:
    """EPSILON, 1e-6, is verl's (TRL: 1e-4); the deviation that of a sample."""
    values, result = np.array([row.rewards[0].value for row in rows]), centred(rows)
    for index in by_group(rows).values():
        result[index] /= values[index].std(ddof=1) + EPSILON
    return outcome(rows, result)


def verl_drgrpo(rows: Sequence[Rollout]) -> Lines:
    return outcome(rows, centred(rows))


def verl_rloo(rows: Sequence[Rollout]) -> Lines:
    values, result = np.array([row.rewards[0].value for row in rows]), np.zeros(len(rows))
    for index in by_group(rows).values():
        n = len(index)
        for i in index:
            result[i] = values[i] * n / (n - 1) - values[index].mean() * n / (n - 1)
    return outcome(rows, result)


def verl_reinforce_pp(rows: Sequence[Rollout]) -> Lines:
    """Returns whitened over the batch's tokens, the variance that of a sample in verl: here it is
    the population's, so that verl's advantages are ours times sqrt((n - 1) / n) of n tokens."""
    returns = [np.full(len(row.mask), row.rewards[0].value) for row in rows]
    flat = np.concatenate([line[row.mask] for line, row in zip(returns, rows, strict=True)])
    bessel = (len(flat) - 1) / len(flat)
    scale = np.sqrt(flat.var(ddof=1) * bessel + 1e-8)
    return [
        (line - flat.mean()) / scale * row.mask for line, row in zip(returns, rows, strict=True)
    ]


def outcome(rows: Sequence[Rollout], values: np.ndarray) -> Lines:
    """A value of the row on every token that was sampled."""
    return [value * row.mask for value, row in zip(values, rows, strict=True)]


@SEEDS
@pytest.mark.parametrize(
    ("name", "theirs"),
    [
        ("grpo", verl_grpo),
        ("drgrpo", verl_drgrpo),
        ("rloo", verl_rloo),
        ("reinforce_pp", verl_reinforce_pp),
    ],
)
def test_advantages_are_those_of_verl(
    name: str, theirs: Callable[[Sequence[Rollout]], Lines], seed: int
) -> None:
    rows, *_ = step(name, seed)
    for row, line in zip(rows, theirs(rows), strict=True):
        assert row.advantages == pytest.approx(line, abs=1e-6)


def verl_policy_loss(
    kind: str, ratio: torch.Tensor, lp: torch.Tensor, a: torch.Tensor, low: float, high: float
) -> torch.Tensor:
    """Per-token losses of compute_policy_loss_vanilla (with `clip_ratio_c`), _gspo and _cispo."""
    bounded = ratio.clamp(1 - low, 1 + high)
    if kind == "cispo":
        return -bounded.detach() * a * lp
    loss = torch.maximum(-a * ratio, -a * bounded)
    if kind == "gspo":
        return loss
    return torch.where(a < 0, torch.minimum(-a * 1.5, loss), loss)  # clip_ratio_c = 1.5


def verl_agg_loss(mode: str, loss_BT: torch.Tensor, mask_BT: torch.Tensor) -> torch.Tensor:
    """`loss_agg_mode`; a row without a token is not counted in `seq-mean` there."""
    counts_B = mask_BT.sum(-1)
    if mode == "token-mean":
        return (loss_BT * mask_BT).sum() / mask_BT.sum()
    sums_B = (loss_BT * mask_BT).sum(-1)
    if mode == "seq-mean-token-mean":
        return (sums_B / counts_B.clamp(min=1)).sum() / (counts_B > 0).sum()
    return sums_B.sum() / len(loss_BT) / MAX_TOKENS  # seq-mean-token-sum-norm, loss_scale_factor


@SEEDS
@pytest.mark.parametrize(
    ("name", "kind", "mode", "low", "high", "changes"),
    [
        ("grpo", "vanilla", "seq-mean-token-mean", 0.2, 0.2, {"dual_clip": 1.5}),
        ("drgrpo", "vanilla", "seq-mean-token-sum-norm", 0.2, 0.2, {"dual_clip": 1.5}),
        ("dapo", "vanilla", "token-mean", 0.2, 0.28, {"dual_clip": 1.5}),
        ("reinforce_pp", "vanilla", "token-mean", 0.2, 0.2, {"dual_clip": 1.5}),
        # verl's bounds of CISPO are distances from 1, the lower one too.
        ("cispo", "cispo", "token-mean", 0.3, 0.5, {"clip_low": 0.3, "clip_high": 0.5}),
        ("gspo", "gspo", "seq-mean-token-mean", 0.1, 0.15, {"clip_low": 0.1, "clip_high": 0.15}),
    ],
)
def test_policy_losses_are_those_of_verl(
    name: str, kind: str, mode: str, low: float, high: float, changes: dict[str, Any], seed: int
) -> None:
    rows, old, current, _ = step(name, seed, **changes)
    kept = [i for i, row in enumerate(rows) if row.mask.any()]  # see verl_agg_loss
    rows, old, current = ([lines[i] for i in kept] for lines in (rows, old, current))
    lp_BT, mask_BT = padded(current).requires_grad_(), padded([row.mask for row in rows])
    a_BT = padded([row.advantages for row in rows])  # type: ignore[misc]
    change_BT = lp_BT - padded(old)
    if kind == "gspo":  # log of the sequence's ratio, its value detached, plus each token's own
        mean_B1 = ((change_BT * mask_BT).sum(-1) / mask_BT.sum(-1)).unsqueeze(-1)
        change_BT = mean_B1.detach() + lp_BT - lp_BT.detach()
    loss_BT = verl_policy_loss(kind, change_BT.exp(), lp_BT, a_BT, low, high)
    loss = verl_agg_loss(mode, loss_BT, mask_BT)
    loss.backward()
    assert lp_BT.grad is not None
    assert_same(evaluated(composed(name, **changes), rows, old, current), loss, lp_BT.grad)


@pytest.mark.parametrize(("kl", "verl"), [("k1", "kl"), ("k2", "mse"), ("k3", "low_var_kl")])
def test_the_kl_is_that_of_verl(kl: str, verl: str) -> None:
    """`kl_penalty`; verl cuts low_var_kl at 10, which no token here comes to."""
    rows, _, current, _ = step("grpo", 0)
    rows = [replace(row, advantages=np.zeros_like(row.advantages)) for row in rows]
    lp_BT, mask_BT = padded(current).requires_grad_(), padded([row.mask for row in rows])
    d_BT = lp_BT - padded([row.reference for row in rows])  # type: ignore[misc]
    penalty_BT = {
        "kl": d_BT,
        "mse": 0.5 * d_BT.square(),
        "low_var_kl": ((-d_BT).exp() + d_BT - 1).clamp(min=-10, max=10),
    }[verl]
    loss = 0.3 * verl_agg_loss("token-mean", penalty_BT, mask_BT)
    loss.backward()
    assert lp_BT.grad is not None
    ours = composed("grpo", beta=0.3, kl=kl, aggregation="token")
    assert_same(evaluated(ours, rows, current, current), loss, lp_BT.grad)


# --- nanochat, scripts/chat_rl.py


def chat_rl(rows: Sequence[Rollout], current: Lines) -> tuple[torch.Tensor, torch.Tensor]:
    """(loss, gradient) of a step, whose prompts are a pass each: every pass is divided by its own
    valid tokens and by the number of passes."""
    lp_BT, mask_BT = padded(current).requires_grad_(), padded([row.mask for row in rows])
    rewards_B = torch.tensor([row.rewards[0].value for row in rows])
    prompts = by_group(rows)
    loss = torch.zeros(())
    for index in prompts.values():
        advantages = rewards_B[index] - rewards_B[index].mean()
        objective = (lp_BT[index] * mask_BT[index] * advantages.unsqueeze(-1)).sum()
        num_valid = mask_BT[index].sum().clamp(min=1)
        loss = loss - objective / (num_valid * len(prompts))
    loss.backward()
    assert lp_BT.grad is not None
    return loss.detach(), lp_BT.grad


@SEEDS
@pytest.mark.parametrize("size", [1, 4, 12])
def test_the_loss_of_nanochat_is_that_of_chat_rl(seed: int, size: int) -> None:
    rows, _, current, _ = step("nanochat", seed)
    ours = evaluated(composed("nanochat"), rows, current, current, size=size)
    assert_same(ours, *chat_rl(rows, current))


def test_the_loss_of_nanochat_worked_by_hand() -> None:
    """Two prompts of 1 + 3 and 2 + 0 valid tokens, rewards 1 and 0 each: advantages +-0.5; a token
    counts 1 / (2 * 4) or 1 / (2 * 2)."""
    base, *_ = made_up(0, groups=1, size=1)
    rows, current = [], []
    for peers, mask, reward in [
        ("a", [True], 1.0),
        ("a", [True, True, True], 0.0),
        ("b", [True, True], 1.0),
        ("b", [False], 0.0),
    ]:
        fresh = replace(
            base[0],
            peers=peers,
            rewards=(),
            mask=np.array(mask),
            token_ids=np.zeros(len(mask), np.int32),
            logprobs=np.zeros(len(mask), np.float32),
            versions=np.zeros(len(mask), np.int32),
        )
        rows.append(fresh.give("outcome", reward))
        current.append(np.full(len(mask), -1.0, np.float32))
    loss = composed("nanochat")
    value, slopes, _ = evaluated(loss, loss.advantage(rows, {"outcome": 1.0}), current, current)
    # -A lp, so 0.5 a token of a right row and -0.5 of a wrong one: (0.5 - 1.5) / 8 + 1 / 4.
    assert value == pytest.approx(0.125)
    assert [line.tolist() for line in slopes] == [[-0.0625], [0.0625] * 3, [-0.125] * 2, [0.0]]
