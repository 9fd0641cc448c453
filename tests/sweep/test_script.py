"""The lines of a job's script that put a killed task back into the queue, run by bash."""

import os
import subprocess
from pathlib import Path

import pytest

from hydra_plugins._rlcotrain_slurm import parameters
from hydra_plugins.rlcotrain_launcher import LauncherConf

KILLED = "sh -c 'kill -9 $$'"
ARRAY = {"SLURM_JOB_ID": "9", "SLURM_ARRAY_JOB_ID": "7", "SLURM_ARRAY_TASK_ID": "3"}
SINGLE = {"SLURM_JOB_ID": "9"}


@pytest.mark.parametrize(
    ("command", "job", "left", "status", "requeued"),
    [
        (KILLED, ARRAY, "", 137, True),
        (KILLED, SINGLE, "", 137, True),
        (KILLED, ARRAY | {"SLURM_RESTART_COUNT": "1"}, "", 137, True),
        (KILLED, ARRAY | {"SLURM_RESTART_COUNT": "2"}, "", 137, False),
        (KILLED, ARRAY, "7_3_5_result.pkl", 137, False),  # task 5 raised
        (KILLED, ARRAY, "7_30_0_result.pkl", 137, True),  # another job's
        (KILLED, SINGLE, "9_0_result.pkl", 137, False),
        ("exit 255", ARRAY, "", 255, False),  # submitit has requeued it
        ("exit 1", ARRAY, "", 1, False),
        ("true", ARRAY, "", 0, False),
    ],
)
def test_only_what_was_killed_is_requeued(
    command: str, job: dict[str, str], left: str, status: int, requeued: bool, tmp_path: Path
) -> None:
    folder = tmp_path / "a sweep"
    (folder / ".submitit").mkdir(parents=True)
    if left:
        (folder / ".submitit" / left).touch()
    (tmp_path / "scontrol").write_text('#!/bin/sh\necho "$@" >>"$0.log"\n')
    (tmp_path / "scontrol").chmod(0o755)
    resources = vars(LauncherConf(max_requeues=2))
    asked = parameters(resources, "sweep", folder / ".code" / "HASH", points=1)
    done = subprocess.run(
        ["bash", "-c", "\n".join([*asked["setup"], command])],
        env=job | {"PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"},
    )
    assert done.returncode == status
    log = tmp_path / "scontrol.log"
    assert (log.read_text() if log.exists() else "") == ("requeue 9\n" if requeued else "")


def test_what_is_null_is_left_to_the_cluster(tmp_path: Path) -> None:
    asked = parameters(vars(LauncherConf(max_requeues=0)), "sweep", tmp_path / ".code/HASH", 64)
    assert not {"partition", "account", "qos", "mem", "cpus_per_task", "gpus_per_node"} & set(asked)
    assert asked["array_parallelism"] == 64
    assert asked["additional_parameters"] == {"no-requeue": True}
    assert not any("requeue" in line for line in asked["setup"])
    given = LauncherConf(mem_gb=1.5, parallel=8, gpus_per_node=2, setup=["module load cuda"])
    asked = parameters(vars(given), "sweep", tmp_path / ".code/HASH", 64)
    assert (asked["mem"], asked["array_parallelism"], asked["gpus_per_node"]) == ("1536M", 8, 2)
    assert asked["setup"][0] == "module load cuda"
