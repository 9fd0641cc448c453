"""Sums over the tokens of one update, turned into its UpdateStats at the end."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch

from rlcotrain.model.passes import Fed
from rlcotrain.types import Batch, UpdateStats


@dataclass(slots=True)
class Tally:
    """Filled micro-batch by micro-batch and step by step."""

    losses: list[float] = field(default_factory=list)
    grad_norms: list[float] = field(default_factory=list)
    sums: dict[str, float] = field(default_factory=dict)
    largest: dict[str, float] = field(default_factory=dict)
    tokens: int = 0
    positions_read: int = 0
    tokens_read: int = 0
    tokens_asked: int = 0
    sampled_tokens: int = 0
    rows_skipped: int = 0

    def add_tokens(
        self,
        batch: Batch,
        logprobs_BL: torch.Tensor,
        sums: dict[str, torch.Tensor],
        fed: Fed,
    ) -> None:
        """Take in a micro-batch; keys that end in _max are maxima, the others sums over tokens."""
        self.tokens += int(batch.scored_BL.sum())
        self.positions_read += fed.positions
        self.tokens_read += fed.tokens
        self.tokens_asked += fed.asked
        for key, value in (sums | self._mismatch(batch, logprobs_BL)).items():
            if key.endswith("_max"):
                self.largest[key] = max(self.largest.get(key, 0.0), float(value))
            else:
                self.sums[key] = self.sums.get(key, 0.0) + float(value)

    def add_step(self, loss: float, grad_norm: float) -> None:
        """Close one optimizer step."""
        self.losses.append(loss)
        self.grad_norms.append(grad_norm)

    def add_up(self, parts: Sequence["Tally"]) -> None:
        """Count the tokens of all processes, each with a tally; steps are the same in all."""
        self.tokens = sum(part.tokens for part in parts)
        self.positions_read = sum(part.positions_read for part in parts)
        self.tokens_read = sum(part.tokens_read for part in parts)
        self.tokens_asked = sum(part.tokens_asked for part in parts)
        self.sampled_tokens = sum(part.sampled_tokens for part in parts)
        self.sums = {key: sum(part.sums[key] for part in parts) for key in self.sums}
        self.largest = {key: max(part.largest[key] for part in parts) for key in self.largest}

    def _mismatch(self, batch: Batch, logprobs_BL: torch.Tensor) -> dict[str, torch.Tensor]:
        """Sampler against trainer before any step has moved the weights; only sampled tokens."""
        if self.losses:
            return {}
        sampled = batch.scored_BL & batch.sampler_BL.isfinite()
        self.sampled_tokens += int(sampled.sum())
        gap = torch.where(sampled, logprobs_BL - batch.sampler_BL, 0.0)
        return {"mismatch_kl": (torch.exp(gap) - 1 - gap).sum(), "mismatch_max": gap.abs().max()}

    def stats(self, lr: float, seconds: float) -> UpdateStats:
        """Means over the tokens of the whole update."""
        mean = {key: value / max(self.tokens, 1) for key, value in self.sums.items()}
        sampled = self.sampled_tokens > 0
        return UpdateStats(
            loss=sum(self.losses) / len(self.losses),
            entropy=mean["entropy"],
            approx_kl=mean["approx_kl"],
            reference_kl=mean["reference_kl"],
            kl_max=self.largest["kl_max"],
            ratio_max=self.largest["ratio_max"],
            clip_fraction=mean["clipped"],
            grad_norm=max(self.grad_norms),
            mismatch_kl=self.sums["mismatch_kl"] / self.sampled_tokens if sampled else None,
            mismatch_max=self.largest["mismatch_max"] if sampled else None,
            lr=lr,
            num_tokens=self.tokens,
            padding_fraction=1 - self.tokens_read / self.positions_read,
            shared_fraction=1 - self.tokens_read / self.tokens_asked,
            rows_skipped=self.rows_skipped,
            optimizer_steps=len(self.losses),
            seconds=seconds,
        )
