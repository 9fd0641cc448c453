"""Rows on their way to the policy that learns from them."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any, Literal

from rlcotrain.loss.advantage import has_signal
from rlcotrain.types import Rollout

Keep = Literal["all", "signal"]


class Buffer:
    """Holds rows by policy until they are taken, whole groups at a time.

    keep: `all` rows, or only groups with a `signal`, some advantage other than 0 (DAPO's filter,
    arXiv 2503.14476); the mean over a step is then over the rows that were kept.
    """

    def __init__(self, keep: Keep) -> None:
        self.keep = keep
        self._rows: dict[str, list[Rollout]] = defaultdict(list)

    def add(self, rows: Sequence[Rollout]) -> None:
        """Take in rows that have their advantages."""
        signal = {row.peers for row in rows if has_signal(row)}
        for row in rows:
            if self.keep == "all" or row.peers in signal:
                self._rows[row.policy].append(row)

    def take(self, policy: str) -> list[Rollout]:
        """All rows of a policy; they are gone afterwards."""
        return self._rows.pop(policy, [])

    def clear(self) -> int:
        """Drop what nobody took; returns how many rows that were."""
        dropped = sum(map(len, self._rows.values()))
        self._rows.clear()
        return dropped

    def state_dict(self) -> dict[str, Any]:
        """The waiting rows."""
        return {"rows": dict(self._rows)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Put back the rows of `state_dict`."""
        self._rows = defaultdict(list, state["rows"])
