"""Sweeps on a real SLURM: what it does to jobs changes nothing of what they compute."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from rlcotrain import sweep
from rlcotrain.sweep import slurm
from tests.runs import lines, timeless
from tests.slurm.disturb import KINDS, kill
from tests.sweeps import ROOT, command, launch, launching, wait_until, write_conf
from tests.terminal import SIZE, terminal

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
    weights = [torch.load(f / "checkpoints/000060/state.pt", weights_only=True) for f in folders]
    for folder, found in zip(folders, weights, strict=True):
        assert timeless(folder / "metrics.jsonl") == timeless(folders[-1] / "metrics.jsonl")
        expected = weights[-1]["policies"]["generator"]["weights"]
        for name, tensor in found["policies"]["generator"]["weights"].items():
            assert torch.equal(tensor, expected[name]), (folder, name)
        taken = [
            line["step"] for line in lines(folder / "metrics.jsonl") if line["phase"] != "evaluate"
        ]
        assert taken == list(range(60))


def test_a_run_of_two_processes_goes_on_after_a_kill(tmp_path: Path, conf: Path) -> None:
    words = (*CLUSTER, "hardware.gpus=2", "schedule.steps=40", "checkpoint.every=5")
    with launching(command(conf, tmp_path, *words)) as launcher:
        wait_until(lambda: len(jobs(tmp_path)) == 1)
        ((name, job),) = jobs(tmp_path).items()
        wait_until(lambda: steps(tmp_path / name) > 8)
        kill(job)
        out, err = launcher.communicate(timeout=240)
    assert launcher.returncode == 0, (out, err)
    assert slurm.ask([job])[job].restarts == 1
    taken = lines(tmp_path / name / "metrics.jsonl")
    assert [line["step"] for line in taken if line["phase"] != "evaluate"] == list(range(40))


def test_a_failure_a_death_and_a_cancel_at_a_terminal(tmp_path: Path, conf: Path) -> None:
    """Three points: one raises, one is killed and may not be requeued, one is left running."""
    grid = ("optimizer.lr=1e30,1e-3,1e-4", "optimizer.warmup_steps=0", *ENDLESS)
    words = command(conf, tmp_path, *CLUSTER, "hydra.launcher.max_requeues=0", *grid)
    with terminal() as screen:
        ends = {"stdin": screen.end, "stdout": screen.end, "stderr": screen.end}
        with launching(words, **ends, env={**os.environ, **SIZE}) as launcher:
            wait_until(lambda: len(jobs(tmp_path)) == 3)
            raises, dies, stays = jobs(tmp_path)
            wait_until(lambda: steps(tmp_path / dies) > 1 and steps(tmp_path / stays) > 1)
            kill(jobs(tmp_path)[dies])
            wait_until(lambda: "died without a result" in screen.text)
            wait_until(lambda: "2 failed, 1 running" in screen.text)
            launcher.send_signal(signal.SIGINT)
            wait_until(lambda: "cancel the 1 jobs that have not ended? [y/N]" in screen.text)
            screen.type("y\n")
            assert launcher.wait(60) == 1
    assert "running, step " in screen.text and " of 1000000" in screen.text
    assert "interrupted; the same command goes on" in screen.text
    rows = {row.signature: row for row in sweep.read(tmp_path)}
    assert "loss is nan at step 1" in (rows[raises].reason or "")
    assert "died without a result (killed, or out of memory?)" in (rows[dies].reason or "")
    assert [rows[name].status for name in jobs(tmp_path)] == ["failed", "failed", "unfinished"]

    wait_until(lambda: slurm.ask([jobs(tmp_path)[stays]])[jobs(tmp_path)[stays]].state == "ended")
    said = [slurm.ask([job])[job] for job in jobs(tmp_path).values()]
    assert [job.restarts for job in said] == [0, 0, 0]
    states = [job.words.partition("SLURM says ")[2].partition(",")[0] for job in said]
    assert states == ["FAILED", "FAILED", "CANCELLED"]


@pytest.mark.parametrize(
    ("word", "reason"),
    [
        ("partition=nowhere", "invalid partition specified: nowhere"),
        ("gpus_per_node=9", "Requested node configuration is not available"),
        ("account=nobody", "Invalid account or account/partition combination specified"),
    ],
)
def test_what_sbatch_refuses_is_one_line(
    word: str, reason: str, tmp_path: Path, conf: Path
) -> None:
    settings = subprocess.run(["scontrol", "show", "config"], capture_output=True, text=True).stdout
    if word.startswith("account") and "AccountingStorageEnforce = associations" not in settings:
        pytest.skip("this cluster takes any account")
    done = launch(conf, tmp_path, *CLUSTER, f"hydra.launcher.{word}")
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith("nothing was submitted: sbatch says: ") and reason in line
    assert jobs(tmp_path) == {}
