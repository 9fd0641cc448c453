"""What a job of a sweep does when it is warned."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf
from submitit.core.job_environment import JobEnvironment, SignalHandler
from submitit.core.utils import DelayedSubmission, JobPaths

from hydra_plugins._rlcotrain_points import Point


class Cluster(JobEnvironment):
    """Counts what is requeued, and warns again meanwhile, as a preemption may."""

    requeued = 0
    global_rank = 0

    def _requeue(self, countdown: int) -> None:
        self.requeued += 1
        if self.requeued < 3:
            os.kill(os.getpid(), signal.SIGUSR2)


@pytest.fixture(autouse=True)
def handler() -> Iterator[None]:
    before = signal.getsignal(signal.SIGUSR2)
    yield
    signal.signal(signal.SIGUSR2, before)


def test_a_second_warning_does_not_break_into_the_first(tmp_path: Path) -> None:
    whatever: Any = {"task": None, "context": None, "state": None}
    point = Point(label="seed=1", steps=2, config=OmegaConf.create(), resolved={}, **whatever)
    job = DelayedSubmission(point)
    job.set_timeout(600, 3)
    cluster = Cluster()
    paths = JobPaths(tmp_path, job_id="7_3")
    warned = SignalHandler(cluster, paths, job).checkpoint_and_try_requeue
    signal.signal(signal.SIGUSR2, warned)
    with pytest.raises(SystemExit):
        os.kill(os.getpid(), signal.SIGUSR2)
    assert cluster.requeued == 1
    assert DelayedSubmission.load(paths.submitted_pickle).function.label == "seed=1"
