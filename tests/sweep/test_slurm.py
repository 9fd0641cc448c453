"""What SLURM's commands say, told by scripts that stand in for them."""

import os
from math import inf
from pathlib import Path

import pytest

from rlcotrain.sweep.job import DIED, Job
from rlcotrain.sweep.slurm import SlurmSilent, Watcher, ask

QUEUE = """
7_0     RUNNING      2   0    None
7_1     PENDING      0   0    Resources
7_2     PENDING      0   0    launch_failed_requeued_held
7_3     FAILED       0   1    NonZeroExitCode
9       COMPLETING   0   0    None
70_4    RUNNING      0   0    None
"""
# A job that squeue has forgotten, and one still there in the other form of a state.
ACCOUNTS = "7_4|CANCELLED by 0|0:15\n7_5|OUT_OF_MEMORY|0:125\n"


def put(folder: Path, name: str, text: str, status: int = 0) -> None:
    script = folder / name
    stream = "&2" if status else "&1"
    script.write_text(f"#!/bin/sh\ncat >{stream} <<'END'\n{text}END\nexit {status}\n")
    script.chmod(0o755)


@pytest.fixture
def commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}/usr/bin{os.pathsep}/bin")
    put(tmp_path, "squeue", QUEUE.lstrip())
    put(tmp_path, "sacct", ACCOUNTS)
    return tmp_path


def test_states_come_from_squeue_and_of_older_jobs_from_sacct(commands: Path) -> None:
    found = ask([*(f"7_{task}" for task in range(7)), "9"])
    assert found["7_0"] == Job(state="running", restarts=2)
    assert found["7_1"] == Job(state="queued")
    assert found["7_2"] == Job(state="queued", words="launch_failed_requeued_held", hopeless=True)
    assert found["7_3"] == Job(state="ended", words=f"{DIED}: SLURM says FAILED, exit status 1")
    assert found["7_4"].words == "cancelled: SLURM says CANCELLED, exit status 0:15"
    assert found["7_5"].words == f"{DIED}: SLURM says OUT_OF_MEMORY, exit status 0:125"
    assert found["7_6"].words == f"{DIED}: SLURM knows nothing of it any more"
    assert found["9"].state == "running"
    assert len(found) == 8


def test_without_accounting_a_forgotten_job_has_ended(commands: Path) -> None:
    put(commands, "sacct", "Slurm accounting storage is disabled\n", status=1)
    assert ask(["7_4"])["7_4"].state == "ended"


def test_a_silent_slurm_is_no_answer(commands: Path) -> None:
    put(commands, "squeue", "slurm_load_jobs error: Unable to contact slurm controller\n", 1)
    with pytest.raises(SlurmSilent, match="squeue: slurm_load_jobs error: Unable to contact"):
        ask(["7_0"])
    assert ask([]) == {}


def test_a_watcher_knows_since_when_a_job_has_ended(commands: Path) -> None:
    watcher = Watcher()
    assert watcher(["7_3"])["7_3"].ended_s == 0
    assert 0 < watcher(["7_3"])["7_3"].ended_s < 60
    put(commands, "squeue", "7_3  RUNNING  1  0  None\n")  # requeued after all
    assert watcher(["7_3"])["7_3"].ended_s == inf
    put(commands, "squeue", QUEUE.lstrip())
    assert watcher(["7_3"])["7_3"].ended_s == 0
