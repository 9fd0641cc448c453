"""What games are played with in these tests: a task that knows its steps, and turns of it."""

from typing import Any

from rlcotrain.data.arithmetic import Arithmetic
from rlcotrain.data.wording import Wording
from rlcotrain.types import Sampling, Turn


def chains(**changes: Any) -> Arithmetic:
    fields: dict[str, Any] = {
        "seed": 0,
        "levels": [2, 3],
        "slip": "wrap",
        "slip_rate": 0.6,
        "held_out": 0.1,
        "stages": {},
        "wording": Wording(),
    }
    return Arithmetic(**fields | changes)


def turn(**changes: Any) -> Turn:
    fields: dict[str, Any] = {
        "seed": 0,
        "step": 5,
        "group_size": 4,
        "sampling": Sampling(max_tokens=5),
        "task": chains(),
    }
    return Turn(**fields | changes)
