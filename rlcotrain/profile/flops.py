"""Floating-point operations that a model's work needs: what model FLOPs utilization is a share of.

Two for each weight of a matrix product and token, in the forward pass; as many again in the
backward pass for the gradient by what went in, and as many for each weight that is trained (6 N a
token where all are). Attention: four for each channel of the queries and each pair of a token and
one that it sees, twice that in the backward pass. Padding and what checkpointing computes again
count nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import torch

# Of the matrices that are multiplied to find the peak. On a CPU that takes milliseconds, so that
# one try of many is not interrupted by other work.
SIZE = {"cpu": 512, "cuda": 8192}
TRIES = 32


@dataclass(frozen=True, kw_only=True)
class Work:
    """tokens: that go through the layers; pairs: of each with all that it sees, itself included;
    scored: that go through the output layer."""

    tokens: int
    pairs: int
    scored: int

    @classmethod
    def of(cls, counts: Collection[int], starts: Iterable[int] = (), scored: int = 0) -> Work:
        """Rows of so many tokens each, that stand behind so many others (0)."""
        behind = zip(counts, starts or [0] * len(counts), strict=True)
        pairs = sum(start * count + count * (count + 1) // 2 for count, start in behind)
        return cls(tokens=sum(counts), pairs=pairs, scored=scored)

    def __add__(self, other: Work) -> Work:
        return Work(
            tokens=self.tokens + other.tokens,
            pairs=self.pairs + other.pairs,
            scored=self.scored + other.scored,
        )


@dataclass(frozen=True, kw_only=True)
class Weights:
    """Sizes that decide what a token costs; `channels` of all layers' queries together."""

    layers: int
    layers_trained: int
    head: int
    head_trained: int
    channels: int

    def forward(self, work: Work) -> float:
        """Operations of a forward pass."""
        return (
            2.0 * self.layers * work.tokens
            + 2.0 * self.head * work.scored
            + 4.0 * self.channels * work.pairs
        )

    def backward(self, work: Work) -> float:
        """Operations of a backward pass."""
        return (
            2.0 * (self.layers + self.layers_trained) * work.tokens
            + 2.0 * (self.head + self.head_trained) * work.scored
            + 8.0 * self.channels * work.pairs
        )


def weights_of(model: Any) -> Weights:
    """Of a decoder of the usual kind; what is looked up (embeddings) or scales (norms) is free."""
    config, head = model.config, model.get_output_embeddings()
    of_head = {id(p) for p in head.parameters()}
    looked_up = {id(p) for p in model.get_input_embeddings().parameters()}
    matrices = [p for p in model.parameters() if p.ndim == 2]
    layers = [p for p in matrices if id(p) not in of_head | looked_up]
    heads = [p for p in matrices if id(p) in of_head]
    size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    return Weights(
        layers=sum(p.numel() for p in layers),
        layers_trained=sum(p.numel() for p in layers if p.requires_grad),
        head=sum(p.numel() for p in heads),
        head_trained=sum(p.numel() for p in heads if p.requires_grad),
        channels=config.num_hidden_layers * config.num_attention_heads * size,
    )


def peak_flops(device: torch.device, dtype: torch.dtype) -> float:
    """Operations a second of a large matrix product, the best of some."""
    size = SIZE[device.type]
    # Of equal numbers a GPU multiplies more a second. A run's own draws are left alone.
    draws = torch.Generator(device).manual_seed(0)
    left = torch.randn(size, size, device=device, dtype=dtype, generator=draws)
    best = float("inf")
    for _ in range(TRIES):
        began = perf_counter()
        (left @ left)[0, 0].item()  # waits for the device
        best = min(best, perf_counter() - began)
    return 2.0 * size**3 / best
