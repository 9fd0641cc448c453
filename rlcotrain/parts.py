"""What can be built without loading a model."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from rlcotrain.buffer import Buffer
from rlcotrain.checkpoint import Checkpoints
from rlcotrain.data.dataset import Dataset
from rlcotrain.data.sampler import Sampler
from rlcotrain.evaluate import Evaluation
from rlcotrain.hardware import Hardware
from rlcotrain.labelled import VerifierQuality
from rlcotrain.pass_at_k import PassAtK
from rlcotrain.record import Record
from rlcotrain.reward import Balance, Mix
from rlcotrain.schedule import Schedule
from rlcotrain.types import Sampling, Verifier


@dataclass(frozen=True, kw_only=True)
class Parts:
    """The light parts of a run; building them is the check of a configuration."""

    hardware: Hardware
    dataset: Dataset
    sampler: Sampler
    schedule: Schedule
    mix: Mix
    balance: Balance
    sampling: Sampling
    evaluation: Evaluation
    quality: VerifierQuality | None
    pass_at_k: PassAtK | None
    verifier: Verifier
    buffer: Buffer
    record: partial[Record]
    checkpoints: partial[Checkpoints]
