"""The objective: what a token costs. Every loss of conf/loss is a row of this table.

    ratio      token     r_t = exp(lp_t - old_t)
               sequence  r   = exp(mean_t(lp_t - old_t)), gradient per token   (GSPO, 2507.18071)
    surrogate  clip      -min(r A, clip(r, 1 - clip_low, 1 + clip_high) A)     (PPO, GRPO, DAPO)
                         dual clip: where A < 0 at most -dual_clip A           (1912.09729)
               cispo     -sg(clip(r, ...)) A lp                                (2506.13585)
               reinforce -A lp                                                 (no ratio, nll)
    kl         of d = lp - reference, times beta: k1 d, k2 d^2/2, k3 exp(-d) - 1 + d
    loss       sum over tokens of weight * (surrogate + beta kl - entropy_weight H)

The weights sum as the aggregation says over the whole optimizer step (see collate), so
micro-batches, packing and processes cannot change the loss.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch

from rlcotrain.loss.advantage import Advantage, Baseline, Credit, Scale
from rlcotrain.loss.collate import Aggregation
from rlcotrain.types import Batch, Rollout

# exp(20) is 5e8: past it a ratio says only that something is broken, and inf would hide what.
MAX_LOG_RATIO = 20.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Loss:
    """One row of the table. `None` for a clip means that side is open."""

    baseline: Baseline
    scale: Scale
    credit: Credit
    whiten: bool
    discount: float
    surrogate: Literal["clip", "cispo", "reinforce"]
    ratio: Literal["token", "sequence"]
    clip_low: float | None
    clip_high: float | None
    dual_clip: float | None
    beta: float
    kl: Literal["k1", "k2", "k3"]
    reference_every: int | None
    entropy: float
    aggregation: Aggregation
    constant_length: int
    minibatches: int
    epochs: int
    old: Literal["recompute", "sampler"]

    def __post_init__(self) -> None:
        for key in ("minibatches", "epochs", "constant_length"):
            _require(getattr(self, key) >= 1, key, getattr(self, key), "a whole number from 1 up")
        for key in ("clip_low", "clip_high", "beta"):
            value = getattr(self, key)
            _require(value is None or value >= 0, key, value, "0 or more")
        _require(
            self.dual_clip is None or self.dual_clip > 1, "dual_clip", self.dual_clip, "above 1"
        )
        _require(0 < self.discount <= 1, "discount", self.discount, "above 0 and at most 1")
        every = self.reference_every
        _require(every is None or every >= 1, "reference_every", every, "null or 1 and more")
        _require(
            every is None or self.beta > 0, "reference_every", every, "null while loss.beta is 0"
        )

    def advantage(self, rollouts: Sequence[Rollout], weights: Mapping[str, float]) -> list[Rollout]:
        """Advantages on everything that was drawn, before any selection."""
        return Advantage(
            baseline=self.baseline,
            scale=self.scale,
            credit=self.credit,
            whiten=self.whiten,
            discount=self.discount,
        )(rollouts, weights)

    @property
    def compares_peers(self) -> bool:
        """Whether a group of one would leave nothing to learn from."""
        return self.baseline in ("peers", "leave_one_out")

    @property
    def kl_is_noise(self) -> bool:
        """Whether the KL term does nothing but add noise: the gradient of k1 by a sampled token is
        that of its log-probability, whose mean over samples is 0."""
        return self.beta > 0 and self.kl == "k1"

    @property
    def ignores_zero_advantages(self) -> bool:
        """Whether a row of zero advantages has no gradient: nothing but them is paid for."""
        return self.beta == 0 and self.entropy == 0

    def __call__(
        self, batch: Batch, logprobs_BL: torch.Tensor, entropy_BL: torch.Tensor
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """The micro-batch's share of the loss (a scalar) and sums over its scored tokens."""
        scored = batch.scored_BL
        # where() before every product: NaN * 0 is NaN, and unscored positions hold anything.
        advantages = torch.where(scored, batch.advantages_BL, 0.0)
        old = logprobs_BL.detach() if batch.old_BL is None else batch.old_BL
        change = torch.where(scored, logprobs_BL - old, 0.0)
        ratio = self._ratio(change, logprobs_BL, scored)
        policy, clipped = self._surrogate(ratio, advantages, logprobs_BL)
        kl = self._kl(batch, logprobs_BL)
        per_token = policy + self.beta * kl - self.entropy * entropy_BL
        loss = torch.where(scored, batch.weights_BL * per_token, 0.0).sum()
        detached = change.detach()
        return loss, {
            "entropy": torch.where(scored, entropy_BL.detach(), 0.0).sum(),
            "approx_kl": torch.where(scored, torch.exp(detached) - 1 - detached, 0.0).sum(),
            "reference_kl": torch.where(scored, kl.detach(), 0.0).sum(),
            "clipped": (clipped & scored).sum(),
            "kl_max": detached.abs().max(),
            "ratio_max": torch.where(scored, ratio.detach(), 0.0).max(),
        }

    def _ratio(
        self, change: torch.Tensor, logprobs_BL: torch.Tensor, scored: torch.Tensor
    ) -> torch.Tensor:
        if self.ratio == "token":
            return torch.exp(change.clamp(-MAX_LOG_RATIO, MAX_LOG_RATIO))
        mean_B1 = change.sum(-1, keepdim=True) / scored.sum(-1, keepdim=True).clamp(min=1)
        ratio_B1 = torch.exp(mean_B1.detach().clamp(-MAX_LOG_RATIO, MAX_LOG_RATIO))
        # The value of the sequence ratio, the gradient of each token's own log-probability.
        return ratio_B1 * torch.exp(torch.where(scored, logprobs_BL - logprobs_BL.detach(), 0.0))

    def _surrogate(
        self, ratio: torch.Tensor, advantages: torch.Tensor, logprobs_BL: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Per-token loss and the tokens whose gradient a clip holds back."""
        if self.surrogate == "reinforce":
            return -advantages * logprobs_BL, torch.zeros_like(ratio, dtype=torch.bool)
        low = 0.0 if self.clip_low is None else 1 - self.clip_low
        high = float("inf") if self.clip_high is None else 1 + self.clip_high
        bounded = ratio.clamp(low, high)
        if self.surrogate == "cispo":
            return -bounded.detach() * advantages * logprobs_BL, bounded != ratio
        loss = torch.maximum(-ratio * advantages, -bounded * advantages)
        clipped = (-bounded * advantages) > (-ratio * advantages)
        if self.dual_clip is not None:
            ceiling = -advantages * self.dual_clip
            capped = (advantages < 0) & (loss > ceiling)
            loss, clipped = torch.where(capped, ceiling, loss), clipped | capped
        return loss, clipped

    def _kl(self, batch: Batch, logprobs_BL: torch.Tensor) -> torch.Tensor:
        if batch.reference_BL is None:
            return torch.zeros_like(logprobs_BL)
        d = torch.where(batch.scored_BL, logprobs_BL - batch.reference_BL, 0.0)
        d = d.clamp(-MAX_LOG_RATIO, MAX_LOG_RATIO)
        if self.kl == "k1":
            return d
        return d.square() / 2 if self.kl == "k2" else torch.exp(-d) - 1 + d


def _require(holds: bool, key: str, value: object, allowed: str) -> None:
    if not holds:
        raise ValueError(f"loss.{key}={value}: must be {allowed}")
