"""Processes of one run: one leads, all do the same, and none waits for a dead one."""

import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import submitit
import torch

from rlcotrain.ranks import Ranks, everywhere, started
from tests.model.tiny import hardware
from tests.ranks import apart, led


class Counter:
    """Adds up over processes; strikes where and how it is told to."""

    name = "counter"

    def __init__(self, ranks: Ranks) -> None:
        self.ranks = ranks
        self.seen: list[Any] = []

    @everywhere
    def add(self, value: float, *, times: float = 1.0) -> float:
        return self.ranks.sum(value * times * (self.ranks.rank + 1))

    @everywhere
    def add_twice(self, value: float) -> float:
        return self.add(value) + self.add(value)

    @everywhere
    def note(self, state: dict[str, Any]) -> list[Any]:
        tensor = state["weights"][0]
        self.seen.append((tensor.device.type, tuple(tensor.shape), state["step"]))
        return self.ranks.gather(self.seen[-1])

    @everywhere
    def strike(self, rank: int, how: str) -> float:
        if self.ranks.rank == rank:
            if how == "killed":
                os.kill(os.getpid(), signal.SIGKILL)
            raise ValueError("out of luck")
        return self.ranks.sum(1.0)


def build(ranks: Ranks) -> dict[str, Counter]:
    return {"counter": Counter(ranks)}


def lead(parts: dict[str, Counter]) -> Any:
    counter = parts["counter"]
    sums = counter.add(2.0), counter.add(2.0, times=0.5), counter.add_twice(1.0)
    return sums, counter.note({"weights": (torch.ones(2, 3),), "step": 7})


def test_what_the_first_calls_all_do(tmp_path: Path) -> None:
    sums, seen = led(tmp_path, 2, build, lead)
    assert sums == (2.0 + 4.0, 1.0 + 2.0, 2 * (1.0 + 2.0))
    # Tensors stay where they are, their shapes travel.
    assert seen == [("cpu", (2, 3), 7), ("meta", (2, 3), 7)]


def test_one_process_is_alone() -> None:
    with started(hardware()) as ranks:
        assert (ranks.rank, ranks.size, ranks.leads) == (0, 1, True)
        assert Counter(ranks).add(2.0) == 2.0


def _struck(rank: int, folder: Path, struck: int, how: str) -> None:
    try:
        with started(hardware(gpus=2)) as ranks:
            if ranks.leads:
                with ranks.together("", "build"):
                    parts = build(ranks)
                if how == "left":
                    raise ValueError("out of luck")
                parts["counter"].strike(struck, how)
            ranks.follow(lambda: build(ranks))
    except Exception as error:
        (folder / str(rank)).write_text(f"{type(error).__name__}: {error}")
        sys.exit(1)


@pytest.mark.parametrize(
    ("struck", "how", "statuses", "reasons"),
    [
        (1, "raises", [1, 1], ["ConnectionError: process 1 of 2 failed: ValueError: out of luck"]),
        (1, "killed", [1, -9], ["ConnectionError: a process of this run was lost"]),
        (0, "raises", [1, 1], ["ValueError: out of luck", "ConnectionError: a process of"]),
        (0, "killed", [-9, 1], [None, "ConnectionError: a process of this run was lost"]),
        (0, "left", [1, 0], ["ValueError: out of luck"]),
    ],
)
def test_a_failure_ends_all_at_once(
    struck: int, how: str, statuses: list[int], reasons: list[str | None], tmp_path: Path
) -> None:
    began = time.monotonic()
    assert apart(2, _struck, tmp_path, struck, how) == statuses
    assert time.monotonic() - began < 40  # most of which is the start of a process
    for rank, reason in enumerate(reasons):
        if reason is not None:
            assert (tmp_path / str(rank)).read_text().startswith(reason)


def test_as_many_processes_as_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["launch.py", "hardware.gpus=2", "folder=a b"])
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    plain = (
        r"^hardware.gpus=2: this is one process; start all with: "
        r"torchrun --nproc-per-node=2 launch.py hardware.gpus=2 'folder=a b'$"
    )
    with pytest.raises(ValueError, match=plain), started(hardware(gpus=2)):
        pass
    monkeypatch.setenv("WORLD_SIZE", "2")
    for gpus in (1, 3):
        wrong = rf"^hardware.gpus={gpus}: must be the number of processes, here 2$"
        with pytest.raises(ValueError, match=wrong), started(hardware(gpus=gpus)):
            pass
    with pytest.raises(ValueError, match=r"^hardware.gpus=0: must be 1 or more$"):
        hardware(gpus=0)


def _submitted() -> float:
    with started(hardware(gpus=2)) as ranks:
        if not ranks.leads:
            ranks.follow(lambda: build(ranks))
            return -1.0
        with ranks.together("", "build"):
            parts = build(ranks)
        return parts["counter"].add(1.0)


def test_tasks_of_a_submitit_job_are_the_processes(tmp_path: Path) -> None:
    executor = submitit.LocalExecutor(tmp_path)
    executor.update_parameters(tasks_per_node=2, timeout_min=2)
    assert executor.submit(_submitted).results() == [3.0, -1.0]
