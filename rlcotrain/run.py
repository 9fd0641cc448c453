"""All that a run consists of, and its state from one life to the next."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from rlcotrain.buffer import Buffer
from rlcotrain.checkpoint import Checkpoints
from rlcotrain.evaluate import Evaluation
from rlcotrain.kept import Kept
from rlcotrain.labelled import VerifierQuality
from rlcotrain.model.agents import Agents
from rlcotrain.model.policy import Policy
from rlcotrain.pass_at_k import PassAtK
from rlcotrain.player import Player
from rlcotrain.record import Record
from rlcotrain.reward import Balance, Mix
from rlcotrain.schedule import Schedule
from rlcotrain.signals import Signals
from rlcotrain.verdict_intervals import Counts


@dataclass(kw_only=True)
class Run:
    """All that a run consists of, and the little that it remembers between steps."""

    seed: int
    schedule: Schedule
    player: Player
    policies: Mapping[str, Policy]
    agents: Agents
    mix: Mix
    balance: Balance
    buffer: Buffer
    evaluation: Evaluation
    quality: VerifierQuality | None
    pass_at_k: PassAtK | None
    record: Record
    checkpoints: Checkpoints
    kept: Kept | None
    signals: Signals = field(default_factory=Signals)
    export: bool = True
    scores: dict[str, dict[str, np.ndarray]] = field(default_factory=dict)  # start, final: by mode
    verdicts: dict[str, dict[str, float]] = field(default_factory=dict)  # start, final
    judged: dict[str, dict[str, Counts]] = field(default_factory=dict)  # start, final: by mode
    warned: set[str] = field(default_factory=set)  # metrics of a verifier that were warned of
    best: float | None = None
    seconds: float = 0.0  # of earlier lives of this run
    timing: dict[str, float] = field(  # of this life: what is no step and no evaluation
        default_factory=lambda: {"saves": 0, "save_seconds": 0.0, "wait_seconds": 0.0}
    )
    _began: float = field(default_factory=time.monotonic)

    def state_dict(self) -> dict[str, Any]:
        """Everything that a resumed run needs to go on to the bit."""
        return {
            "schedule": self.schedule.state_dict(),
            "player": self.player.state_dict(),
            "balance": self.balance.state_dict(),
            "buffer": self.buffer.state_dict(),
            "policies": {name: policy.state_dict() for name, policy in self.policies.items()},
            "scores": self.scores,
            "verdicts": self.verdicts,
            "judged": self.judged,
            "best": self.best,
            "seconds": self.elapsed(),
            "offsets": self.record.offsets(),
        }

    def elapsed(self) -> float:
        """Seconds over all lives of this run."""
        return self.seconds + time.monotonic() - self._began

    def save(self, best: bool = False) -> None:
        """Write a checkpoint of this moment."""
        began = time.monotonic()
        self.checkpoints.save(self.state_dict(), self.schedule.step, best)
        self.timing["saves"] += 1
        self.timing["save_seconds"] += time.monotonic() - began

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over a `state_dict`, files aside."""
        self.schedule.load_state_dict(state["schedule"])
        self.player.load_state_dict(state["player"])
        self.balance.load_state_dict(state["balance"])
        self.buffer.load_state_dict(state["buffer"])
        for name, policy in self.policies.items():
            policy.load_state_dict(state["policies"][name])
        self.scores, self.verdicts = state["scores"], state["verdicts"]
        self.judged, self.best, self.seconds = state["judged"], state["best"], state["seconds"]
        self.agents.sync()
