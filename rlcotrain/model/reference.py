"""What a policy was: the weights to which a KL holds it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch

from rlcotrain.model.parallel import Replicas, Shards

Weights = dict[str, torch.Tensor]


class Reference:
    """A copy of trained weights, of the policy's version at which it was taken; none at first."""

    def __init__(
        self, parameters: Mapping[str, torch.nn.Parameter], layout: Replicas | Shards
    ) -> None:
        self._parameters, self._layout = parameters, layout
        self._weights: Weights | None = None
        self._version = 0

    def renew(self, version: int, every: int | None) -> None:
        """Take the weights of now, if there are none yet or they are `every` updates old."""
        if self._weights is None or (every and version - self._version >= every):
            self._weights = {key: p.detach().clone() for key, p in self._parameters.items()}
            self._version = version

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """While this lasts, the parameters are these weights, which hold theirs: no third copy."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    @torch.no_grad()
    def _swap(self) -> None:
        assert self._weights is not None, "renew comes first"
        for key, parameter in self._parameters.items():
            kept = parameter.clone()
            parameter.copy_(self._weights[key])
            self._weights[key].copy_(kept)

    def state_dict(self) -> dict[str, Any]:
        """Part of its policy's state."""
        weights = self._weights
        full = weights and {key: self._layout.full(kept) for key, kept in weights.items()}
        return {"reference": full, "reference_version": self._version}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a `state_dict`."""
        weights = state["reference"]
        self._weights = weights and {
            key: self._layout.part(kept, self._parameters[key]) for key, kept in weights.items()
        }
        self._version = state["reference_version"]
