"""Which lengths go through a model together."""

from collections.abc import Sequence

MOST_PADDING = 0.05  # of a micro-batch, below its budget: more, smaller ones cost less than padding
A_PASS = 64  # tokens that cost as much as a further micro-batch does by itself, on a CPU


def pack(lengths: Sequence[int], budget: int) -> list[list[int]]:
    """Numbers of what goes through together: like lengths, padded size within the budget and of
    that at most MOST_PADDING padding, or so little that a pass more would cost as much."""
    order = sorted(range(len(lengths)), key=lambda index: (-lengths[index], index))
    assert not order or lengths[order[0]] <= budget, "a caller knows what to call its budget"
    batches: list[list[int]] = []
    width = tokens = 0  # of the newest one, whose first is its longest
    for index in order:
        size = width * (len(batches[-1]) + 1) if batches else 0
        padding = size - tokens - lengths[index]
        if not batches or size > budget or padding > max(MOST_PADDING * size, A_PASS):
            batches.append([])
            width, tokens = lengths[index], 0
        batches[-1].append(index)
        tokens += lengths[index]
    return batches
