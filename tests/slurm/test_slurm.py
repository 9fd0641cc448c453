"""Sweeps on a real SLURM: what it does to jobs changes nothing of what they compute."""

import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from rlcotrain import sweep
from rlcotrain.sweep import slurm
from tests.runs import lines, timeless
from tests.slurm.disturb import KINDS
from tests.sweeps import ROOT, command, launch, launching, wait_until, write_conf

CLUSTER = ("hardware=slurm_cpu", "hydra.launcher.cpus_per_task=1", "hydra.launcher.mem_gb=1")
ENDLESS = ("schedule.steps=1000000", "evaluation.every=1000000", "checkpoint.every=1000000")


@pytest.fixture(scope="module")
def conf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_conf(tmp_path_factory.mktemp("conf") / "conf")


def jobs(folder: Path) -> dict[str, str]:
    """Job of each point that has one."""
    points = sweep.Sweep.read(folder).points if (folder / "sweep.json").exists() else {}
    return {name: point.job for name, point in points.items() if point.job is not None}


def steps(folder: Path) -> int:
    file = folder / "metrics.jsonl"
    return file.read_text().count("\n") if file.exists() else 0


def status(folder: Path) -> str:
    words = [sys.executable, "-m", "rlcotrain.sweep", "status", str(folder)]
    return subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True).stdout


def test_disturbed_runs_end_as_if_nothing_had_been(tmp_path: Path, conf: Path) -> None:
    """Five equal runs, which differ in an evaluation that never comes; the first four, which fill
    a node, are disturbed."""
    every = "evaluation.every=" + ",".join(map(str, range(1000, 1005)))
    words = (
        *CLUSTER,
        "hydra.launcher.gpus_per_node=2",
        "schedule.steps=60",
        "checkpoint.every=10",
        every,
    )
    detached = launch(conf, tmp_path, *words, "launch.detach=true")
    assert detached.returncode == 0, detached.stderr
    assert "5 points submitted" in detached.stdout and "make status" in detached.stdout
    assert "of 60" in status(tmp_path) or "queued" in status(tmp_path)
    mine = jobs(tmp_path)
    for (name, job), disturb in zip(mine.items(), KINDS.values(), strict=False):
        wait_until(lambda name=name: steps(tmp_path / name) > 12)
        disturb(job)
    with launching(command(conf, tmp_path, *words)) as watching:
        out, err = watching.communicate(timeout=240)
    assert watching.returncode == 0, (out, err)
    assert "0 points submitted" in out and "requeued" in out
    assert jobs(tmp_path) == mine, "nothing is submitted twice"

    restarts = [job.restarts for job in slurm.ask(mine.values()).values()]
    assert min(restarts[:4]) >= 1 and restarts[4] == 0

    rows = sweep.read(tmp_path)
    assert [row.status for row in rows] == ["finished"] * 5
    folders = [tmp_path / row.signature for row in rows]
    weights = [torch.load(f / "checkpoints/000060/state.pt", weights_only=False) for f in folders]
    for folder, found in zip(folders, weights, strict=True):
        assert timeless(folder / "metrics.jsonl") == timeless(folders[-1] / "metrics.jsonl")
        expected = weights[-1]["policies"]["generator"]["weights"]
        for name, tensor in found["policies"]["generator"]["weights"].items():
            assert torch.equal(tensor, expected[name]), (folder, name)
        taken = [
            line["step"] for line in lines(folder / "metrics.jsonl") if line["phase"] != "evaluate"
        ]
        assert taken == list(range(60))
