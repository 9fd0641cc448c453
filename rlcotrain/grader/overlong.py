"""DAPO's soft penalty for completions near the length limit (arXiv 2503.14476, equation 13)."""

from collections.abc import Sequence

from rlcotrain.types import Rollout


class Overlong:
    """0 up to max_tokens - buffer tokens, then falling evenly to -1 at max_tokens."""

    def __init__(self, *, max_tokens: int, buffer: float) -> None:
        """buffer: share of max_tokens in which the penalty grows (DAPO: 4096 of 20480, 0.2)."""
        if not 0 < buffer <= 1:
            raise ValueError(f"bonus.overlong.buffer={buffer}: must be above 0 and at most 1")
        self.max_tokens, self.buffer = max_tokens, buffer

    def pay(self, rows: Sequence[Rollout]) -> list[float | None]:
        """One penalty in -1..0 a row, in order."""
        room = self.buffer * self.max_tokens
        free = self.max_tokens - room
        return [-min(max((len(row.token_ids) - free) / room, 0.0), 1.0) for row in rows]
