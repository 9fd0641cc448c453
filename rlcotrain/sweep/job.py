"""What whoever runs a job says of it."""

from dataclasses import dataclass
from math import inf
from typing import Literal

DIED = "died without a result (killed, or out of memory?)"


@dataclass(frozen=True, kw_only=True)
class Job:
    """One job, a process on this machine or on a cluster.

    restarts: how often it began anew.
    words: why it waits, or how it ended.
    ended_s: seconds since it was first seen to have ended.
    hopeless: whether it waits for what cannot come.
    """

    state: Literal["queued", "running", "ended"]
    restarts: int = 0
    words: str = ""
    ended_s: float = inf
    hopeless: bool = False
