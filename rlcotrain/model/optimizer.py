"""The optimizer and its learning rate over steps."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch


@dataclass(frozen=True, kw_only=True)
class Optimizer:
    """Settings of one optimizer; `create` starts it.

    The rate rises linearly over `warmup_steps`, then stays (constant) or falls to
    `final_lr_share` of `lr` at `decay_steps` (linear, cosine) and stays there.
    """

    algorithm: Literal["adamw", "sgd"]
    lr: float
    betas: Sequence[float]
    eps: float
    momentum: float
    weight_decay: float
    warmup_steps: int
    schedule: Literal["constant", "linear", "cosine"]
    decay_steps: int | None
    final_lr_share: float
    max_grad_norm: float

    def __post_init__(self) -> None:
        checks = {
            "lr": (self.lr >= 0, "0 or more"),
            "betas": (len(self.betas) == 2 and all(0 <= b < 1 for b in self.betas), "two in 0..1"),
            "eps": (self.eps > 0, "above 0"),
            "warmup_steps": (self.warmup_steps >= 0, "0 or more"),
            "max_grad_norm": (self.max_grad_norm > 0, "above 0"),
            "final_lr_share": (0 <= self.final_lr_share <= 1, "in 0..1"),
        }
        for key, (holds, allowed) in checks.items():
            if not holds:
                raise ValueError(f"optimizer.{key}={getattr(self, key)}: must be {allowed}")
        horizon = self.decay_steps
        if (self.schedule != "constant") and (horizon is None or horizon <= self.warmup_steps):
            raise ValueError(
                f"optimizer.decay_steps={horizon}: schedule={self.schedule} needs a number of "
                f"steps above warmup_steps={self.warmup_steps}"
            )

    def create(self, parameters: Iterable[torch.nn.Parameter]) -> torch.optim.Optimizer:
        """A fresh torch optimizer over `parameters`."""
        if self.algorithm == "sgd":
            return torch.optim.SGD(
                parameters, self.lr, momentum=self.momentum, weight_decay=self.weight_decay
            )
        return torch.optim.AdamW(
            parameters,
            self.lr,
            betas=(self.betas[0], self.betas[1]),
            eps=self.eps,
            weight_decay=self.weight_decay,
            fused=True,
        )

    def rate(self, step: int) -> float:
        """Learning rate of optimizer step 0, 1, 2 ..."""
        if step < self.warmup_steps:
            return self.lr * (step + 1) / self.warmup_steps
        if self.schedule == "constant":
            return self.lr
        assert self.decay_steps is not None
        progress = min((step - self.warmup_steps) / (self.decay_steps - self.warmup_steps), 1.0)
        left = 1 - progress if self.schedule == "linear" else (1 + math.cos(math.pi * progress)) / 2
        return self.lr * (self.final_lr_share + (1 - self.final_lr_share) * left)
