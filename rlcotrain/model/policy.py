"""A policy: weights, their optimizer, and the update."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from rlcotrain.hardware import Hardware
from rlcotrain.loss.advantage import has_signal
from rlcotrain.loss.collate import split_minibatches, token_weights
from rlcotrain.loss.objective import Loss
from rlcotrain.model.export import export
from rlcotrain.model.optimizer import Descent, Optimizer
from rlcotrain.model.parallel import Replicas, Shards
from rlcotrain.model.passes import Pass, passes
from rlcotrain.model.plan import plan, shares
from rlcotrain.model.reference import Reference, Weights
from rlcotrain.model.shared import load_shared
from rlcotrain.model.source import Source
from rlcotrain.model.supported import check_supported
from rlcotrain.model.tally import Tally
from rlcotrain.ranks import Ranks, everywhere
from rlcotrain.types import Rollout, UpdateStats


class NonFiniteUpdate(ArithmeticError):
    """Loss or gradient became NaN or infinite; `rows` are those of the optimizer step."""

    def __init__(self, what: str, rows: Sequence[Rollout]) -> None:
        super().__init__(what)
        self.what = what
        self.rows = list(rows)


class Policy:
    """One set of weights that speaks (through an engine) and learns (here).

    `version` counts updates; `sampled` rows remember the version that spoke them. With `base`, the
    frozen weights and the tokenizer are those of that policy, in memory once, and only the adapters
    are this one's own. Raises ValueError if the two cannot share (`check_shared`).

    Where a run has several processes each holds a policy of the same name, and they act as one.
    """

    def __init__(
        self,
        name: str,
        model: Source,
        optimizer: Optimizer,
        hardware: Hardware,
        seed: int,
        base: Policy | None = None,
        ranks: Ranks | None = None,
    ) -> None:
        self.name = name
        self.ranks = ranks or Ranks()
        self.source = model
        self.hardware = hardware
        self.version = 0
        if base is None:
            self.module, self.chat = model.load(seed)
        else:
            self.module = load_shared(model, seed, base.source, base.module)
            self.chat = base.chat
        torch.nn.Module.to(self.module, hardware.torch_device)
        if model.gradient_checkpointing:
            self.module.gradient_checkpointing_enable()
        check_supported(self.module)
        self.layout = self._spread()
        self._parameters = {k: p for k, p in self.module.named_parameters() if p.requires_grad}
        self._reference = Reference(self._parameters, self.layout)
        self._own = self._descent = self._begin(optimizer)
        self._phase: str | None = None  # whose optimizer learns; None: the policy's own

    def _spread(self) -> Replicas | Shards:
        if self.ranks.size > 1 and self.hardware.parallel == "fsdp":
            return Shards(self.module, self.ranks, self.hardware.torch_device)
        return Replicas(self.module, self.ranks)

    @everywhere
    def use(self, phase: str, settings: Optimizer | None) -> None:
        """Learn with a phase's optimizer, or with the policy's own where `settings` is None.

        The own one lives on through all phases that use it; every other starts fresh: moments,
        warm-up and learning rate from the beginning.
        """
        if settings is None:
            self._phase, self._descent = None, self._own
        elif phase != self._phase:
            self._phase, self._descent = phase, self._begin(settings)

    def _begin(self, settings: Optimizer) -> Descent:
        return Descent(settings, self._parameters.values(), self.hardware, self.layout)

    @property
    def num_parameters(self) -> tuple[int, int]:
        """(all, trainable)."""
        trainable = sum(p.numel() for p in self._parameters.values())
        return sum(p.numel() for p in self.module.parameters()), trainable

    @everywhere
    def update(self, rows: Sequence[Rollout], loss: Loss, seed: int) -> UpdateStats:
        """One update from whole groups of rows: loss.epochs passes of loss.minibatches steps.

        Raises NonFiniteUpdate if loss or gradient is NaN or infinite, before that step is taken.
        """
        assert rows, "an update needs rows"
        # Of dropout, the only draw that torch's own generator makes here: each process its own.
        torch.manual_seed(seed ^ self.ranks.rank)
        began = time.perf_counter()
        rows = self._with_reference(rows, loss)
        parts = [
            split_minibatches(rows, loss.minibatches, seed, epoch) for epoch in range(loss.epochs)
        ]
        several = loss.minibatches * loss.epochs > 1
        old = None
        if loss.old == "sampler":
            old = [row.logprobs for row in rows]
        elif several:
            old = self.score(rows)
        self.module.train()
        tally = Tally()
        for epoch in parts:
            for part in epoch:
                self._step([rows[i] for i in part], old and [old[i] for i in part], loss, tally)
        tally.add_up(self.ranks.gather(tally))
        self.version += 1
        lr = self._descent.settings.rate(self._descent.steps - 1)
        return tally.stats(lr, time.perf_counter() - began)

    def _step(
        self,
        rows: list[Rollout],
        old: list[np.ndarray] | None,
        loss: Loss,
        tally: Tally,
    ) -> None:
        """One optimizer step over `rows`, cut into micro-batches that do not change it."""
        # Every row counts in the weights, also those that are left out because they teach nothing.
        weights = token_weights(rows, loss.aggregation, loss.constant_length)
        taught = list(range(len(rows)))
        if self.hardware.skip_zero_advantages and loss.ignores_zero_advantages:
            # A step is taken even so: the optimizer's moments go on.
            taught = [i for i in taught if has_signal(rows[i])] or [0]
        tally.rows_skipped += len(rows) - len(taught)
        total = 0.0
        for _, batch, logprobs_BL, entropy_BL, read in self._passes(
            [rows[i] for i in taught],
            [weights[i] for i in taught],
            old and [old[i] for i in taught],
            entropy_grad=loss.entropy != 0,
        ):
            value, sums = loss(batch, logprobs_BL, entropy_BL)
            self._descent.backward(value)
            total += value.item()
            tally.add_tokens(batch, logprobs_BL.detach(), sums, read)
        total = self.ranks.sum(total)
        if not math.isfinite(total):  # known to all processes, so that all stop
            raise NonFiniteUpdate(f"loss is {total}", rows)
        norm = self._descent.clip()
        if not math.isfinite(norm) and not self._descent.skips_overflow:
            raise NonFiniteUpdate(f"gradient norm is {norm}", rows)
        self._descent.step()
        tally.add_step(total, norm)

    def _passes(
        self,
        rows: Sequence[Rollout],
        weights: Sequence[np.ndarray],
        old: Sequence[np.ndarray] | None,
        entropy_grad: bool = False,
    ) -> Iterator[Pass]:
        share = self.hardware.share_prefixes and not self.source.gradient_checkpointing
        budget, ranks = self.hardware.micro_batch_tokens, self.ranks
        share = share and shares(rows)
        chunks = plan(rows, budget, share, ranks.rank, ranks.size, self.layout.lockstep)
        given = rows, weights, old, self.hardware, entropy_grad
        return passes(self.module, self.layout.forward, chunks, *given)

    @everywhere
    @torch.no_grad()
    def score(self, rows: Sequence[Rollout]) -> list[np.ndarray]:
        """Log-probabilities of the rows' own tokens, [T] each, at their sampling temperature."""
        self.module.eval()
        zeros = [np.zeros(len(row.token_ids), np.float32) for row in rows]
        plain = [
            replace(row, advantages=zero, reference=None)
            for row, zero in zip(rows, zeros, strict=True)
        ]
        mine: dict[int, np.ndarray] = {}
        for part, batch, logprobs_BL, *_ in self._passes(plain, zeros, None):
            lines = logprobs_BL.cpu().numpy()
            for i, line, start in zip(part, lines, batch.starts_B, strict=bool(part)):
                mine[i] = line[start : start + len(rows[i].token_ids)].copy()
        found = {i: line for held in self.ranks.gather(mine) for i, line in held.items()}
        return [found[i] for i in range(len(rows))]

    def _with_reference(self, rows: Sequence[Rollout], loss: Loss) -> list[Rollout]:
        """Rows with log-probabilities under the reference, where the loss asks for a KL to it."""
        if loss.beta == 0:
            return list(rows)
        self._reference.renew(self.version, loss.reference_every)
        with self._reference.in_place():
            scores = self.score(rows)
        return [replace(row, reference=line) for row, line in zip(rows, scores, strict=True)]

    def whole(self) -> AbstractContextManager[None]:
        """While this lasts, `speaker` has all weights: all processes ask for it together."""
        return self.layout.whole()

    @everywhere
    def weights(self) -> Weights:
        """A copy of what is trained, by parameter name."""
        return {key: self.layout.full(p.detach()).clone() for key, p in self._parameters.items()}

    @everywhere
    def load_weights(self, weights: Weights) -> None:
        """Take over trained weights, shape for shape."""
        with torch.no_grad():
            for key, parameter in self._parameters.items():
                parameter.copy_(self.layout.part(weights[key], parameter))

    @everywhere
    def state_dict(self) -> dict[str, Any]:
        """Everything a resumed run needs to go on to the bit."""
        return {
            "phase": self._phase,
            "weights": {key: self.layout.full(p.detach()) for key, p in self._parameters.items()},
            "own": self._own.state_dict(),
            "descent": self._descent.state_dict() if self._phase is not None else None,
            "version": self.version,
            **self._reference.state_dict(),
        }

    @everywhere
    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore a `state_dict`."""
        self.load_weights(state["weights"])
        self._own = self._descent = self._begin(self._own.settings)
        # A kept prelude may come from a run whose own optimizer was another and had not begun.
        if state["own"]["steps"]:
            self._own.load_state_dict(state["own"])
        self._phase = state["phase"]
        if self._phase is not None:
            self._descent = self._begin(state["descent"]["settings"])
            self._descent.load_state_dict(state["descent"])
        self.version = state["version"]
        self._reference.load_state_dict(state)

    @everywhere
    def export(self, folder: Path) -> None:
        """Write model or adapters and tokenizer like save_pretrained, in model.export_dtype."""
        with self.whole():
            if self.ranks.leads:
                dtype = getattr(torch, self.source.export_dtype)
                export(self.layout.speaker, set(self._parameters), dtype, folder)
                self.chat.tokenizer.save_pretrained(folder)
