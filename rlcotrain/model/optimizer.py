"""The optimizer, its learning rate over steps, and the steps it has taken."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch

from rlcotrain.hardware import Hardware
from rlcotrain.model.parallel import Replicas, Shards, gathered


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
                f"optimizer.decay_steps={horizon}: its schedule={self.schedule} needs a number of "
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


class Descent:
    """An optimizer on its way: torch's own state, the loss scale of fp16, and the steps done.

    layout: which part of the parameters each process of the run has.
    """

    def __init__(
        self,
        settings: Optimizer,
        parameters: Iterable[torch.nn.Parameter],
        hardware: Hardware,
        layout: Replicas | Shards,
    ) -> None:
        self.settings = settings
        self.steps = 0
        self._parameters = list(parameters)
        self._layout = layout
        self._optimizer = settings.create(self._parameters)
        self._scaler = torch.amp.GradScaler(hardware.device, enabled=hardware.dtype == "float16")

    def backward(self, loss: torch.Tensor) -> None:
        """Add the gradient of `loss`, this process's part, to what the next step will follow."""
        self._scaler.scale(loss * self._layout.loss_scale).backward()

    def clip(self) -> float:
        """Add up the gradient over all processes and clip it; returns its norm before."""
        self._layout.add_up(self._parameters)
        self._scaler.unscale_(self._optimizer)
        grads = [p.grad for p in self._parameters if p.grad is not None]
        norm = gathered(torch.nn.utils.get_total_norm(grads))
        torch.nn.utils.clip_grads_with_norm_(self._parameters, self.settings.max_grad_norm, norm)
        return norm.item()

    @property
    def skips_overflow(self) -> bool:
        """Whether a gradient that is not finite may be fp16's overflow, which `step` leaves out.

        The scale starts at 2^16 and is halved each time: what is not finite below 1 is none.
        """
        return self._scaler.is_enabled() and self._scaler.get_scale() >= 1

    def step(self) -> None:
        """Apply the clipped gradient at this step's rate."""
        for group in self._optimizer.param_groups:
            group["lr"] = self.settings.rate(self.steps)
        self._scaler.step(self._optimizer)
        self._scaler.update()
        self._optimizer.zero_grad(set_to_none=True)
        self.steps += 1

    def state_dict(self) -> dict[str, Any]:
        """Everything that `load_state_dict` needs to go on to the bit, with any layout."""
        state = self._optimizer.state_dict()
        moments = {
            number: {
                key: self._layout.full(value) if torch.is_tensor(value) else value
                for key, value in held.items()
            }
            for number, held in state["state"].items()
        }
        return {
            "settings": self.settings,
            "optimizer": state | {"state": moments},
            "scaler": self._scaler.state_dict(),
            "steps": self.steps,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a `state_dict` of equal settings."""
        moments = {
            number: {
                key: self._layout.part(value, self._parameters[number])
                if torch.is_tensor(value)
                else value
                for key, value in held.items()
            }
            for number, held in state["optimizer"]["state"].items()
        }
        self._optimizer.load_state_dict(state["optimizer"] | {"state": moments})
        self._scaler.load_state_dict(state["scaler"])
        self.steps = state["steps"]
