"""Which lengths go through a model together."""

from collections.abc import Sequence

MOST_PADDING = 0.05  # of a micro-batch, below its budget: more, smaller ones cost less than padding
HELD = 4  # keys and values of a token take a fraction of what its way through the layers does
A_PASS = 64  # tokens that cost as much as a further micro-batch does by itself, on a CPU


def pack(
    lengths: Sequence[int],
    budget: int,
    behind: Sequence[int] | None = None,
    besides: Sequence[int] | None = None,
) -> list[list[int]]:
    """Numbers of what goes through together: like lengths, padded size within the budget and of
    that at most MOST_PADDING padding, or so little that a pass more would cost as much.

    behind: tokens that each stands behind; those of all together are at most HELD budgets.
    besides: tokens that are read later because of each; padding may be a share of them as well.
    """
    order = sorted(range(len(lengths)), key=lambda index: (-lengths[index], index))
    assert not order or lengths[order[0]] <= budget, "a caller knows what to call its budget"
    nothing = [0] * len(lengths)
    behind, besides = behind or nothing, besides or nothing
    batches: list[list[int]] = []
    width = tokens = held = later = 0  # of the newest one, whose first is its longest
    for index in order:
        count = len(batches[-1]) + 1 if batches else 0
        size, held, later = width * count, max(held, behind[index]), later + besides[index]
        full = size > budget or held * count > HELD * budget
        padded = size - tokens - lengths[index] > max(MOST_PADDING * (size + later), A_PASS)
        if not batches or full or padded:
            batches.append([])
            width, tokens, held, later = lengths[index], 0, behind[index], besides[index]
        batches[-1].append(index)
        tokens += lengths[index]
    return batches
