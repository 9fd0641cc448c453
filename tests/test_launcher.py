"""The launcher, driven as a user does: `python launch.py -m ...` on runs of a second."""

import contextlib
import csv
import os
import signal
from fcntl import LOCK_EX, flock
from pathlib import Path

import pytest

from rlcotrain import sweep
from rlcotrain.tracking import prepare
from tests.sweeps import TINY, command, launch, launching, wait_until, write_conf

GRID = TINY + "hydra: {mode: MULTIRUN, sweeper: {params: {seed: '1,2'}}}\n"
LOUD = TINY + "hydra: {launcher: {parallel: 3}}\n"


@pytest.fixture(scope="module")
def conf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_conf(tmp_path_factory.mktemp("conf") / "conf", grid=GRID, loud=LOUD)


def test_a_sweep_goes_on_reports_and_resumes(tmp_path: Path, conf: Path) -> None:
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    folder = tmp_path / "lr"
    words = ("optimizer.lr=1e-3,1e30,0.001", "optimizer.warmup_steps=0", f"tracking.uri={uri}")
    done = launch(conf, folder, *words)
    assert done.returncode == 1
    assert "optimizer.lr=0.001: equal to another point, run once" in done.stdout
    assert "1 of 2 points failed:\n  optimizer.lr=1e+30: " in done.stderr
    good, bad = sweep.read(folder)
    assert (good.status, good.reason) == ("finished", None)
    assert bad.status == "failed" and "loss is nan at step 1" in (bad.reason or "")
    assert (folder / bad.signature / ".hydra" / "overrides.yaml").exists()
    lines = list(csv.DictReader((folder / "table.csv").open()))
    assert [line["optimizer.lr"] for line in lines] == ["0.001", "1e+30"]
    assert [line["status"] for line in lines] == ["finished", "failed"]

    client, experiment = prepare(uri, "rlcotrain")
    runs = {run.info.run_name: run for run in client.search_runs([experiment])}
    parent = runs.pop("lr")
    assert parent.info.status == "FAILED"
    files = {file.path for file in client.list_artifacts(parent.info.run_id)}
    assert files == {"table.csv", "sweep.png"}
    assert {run.data.tags["mlflow.parentRunId"] for run in runs.values()} == {parent.info.run_id}
    states = {name: run.info.status for name, run in runs.items()}
    assert states == {"optimizer.lr=0.001": "FINISHED", "optimizer.lr=1e+30": "FAILED"}

    result = (folder / good.signature / "result.json").stat().st_mtime_ns
    again = launch(conf, folder, "optimizer.lr=1e-3", "optimizer.warmup_steps=0")
    assert again.returncode == 0 and "1 points, 1 finished already" in again.stdout
    assert (folder / good.signature / "result.json").stat().st_mtime_ns == result


def test_a_tracker_that_was_down_gets_the_sweep_from_the_same_command(
    tmp_path: Path, conf: Path
) -> None:
    place, folder = tmp_path / "store", tmp_path / "late"
    place.touch()  # a file where the tracker's folder should be
    uri = f"sqlite:///{place}/mlflow.db"
    done = launch(conf, folder, f"tracking.uri={uri}")
    assert done.returncode == 0 and "MLflow has no run for this sweep yet" in done.stdout
    (row,) = sweep.read(folder)
    command = f"python -m rlcotrain.tracking sync {folder / row.signature}"
    assert command in done.stdout + done.stderr
    place.unlink()
    assert launch(conf, folder, f"tracking.uri={uri}").returncode == 0
    client, experiment = prepare(uri, "rlcotrain")
    runs = {run.info.run_name: run for run in client.search_runs([experiment])}
    parent, point = runs.pop("late"), runs.popitem()[1]
    assert not runs and {parent.info.status, point.info.status} == {"FINISHED"}
    assert point.data.tags["mlflow.parentRunId"] == parent.info.run_id
    files = {file.path for file in client.list_artifacts(parent.info.run_id)}
    assert files == {"table.csv", "sweep.png"}


def test_a_second_launch_of_a_sweep_is_refused(tmp_path: Path, conf: Path) -> None:
    with open(tmp_path / "sweep.lock", "ab") as lock:
        flock(lock, LOCK_EX)
        done = launch(conf, tmp_path)
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        f"{tmp_path}: another launch is at this sweep; let it end, or choose another name with "
        "sweep=NAME"
    ]
    assert not (tmp_path / "sweep.json").exists()


def jobs(folder: Path) -> dict[str, int]:
    """The processes that run points of a sweep: label -> process id."""
    found = {}
    for log in (folder / ".submitit").glob("*_0_log.out"):
        label = next((line for line in log.read_text().splitlines() if line.startswith("sch")), "")
        pid = f"SUBMITIT_LOCAL_JOB_ID={log.name.split('_')[0]}\0".encode()
        for process in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if pid in (process / "environ").read_bytes():
                    found[label] = int(process.name)
    return found


def trains(folder: Path, label: str) -> bool:
    """Whether the point has taken a step."""
    if not (folder / "sweep.json").exists():
        return False
    key, _, value = label.partition("=")
    (row,) = (row for row in sweep.read(folder) if row.overrides[key] == value)
    return (folder / row.signature / "metrics.jsonl").exists()


def test_jobs_that_are_killed_or_cancelled(tmp_path: Path, conf: Path) -> None:
    """Two at once: one ends well, one is killed, one runs when the sweep is interrupted."""
    one, two, three = (f"schedule.steps={steps}" for steps in (1, 1000001, 1000002))
    local = ("hydra.launcher.executor=local", "hydra.launcher.parallel=2")
    words = command(conf, tmp_path, "schedule.steps=1,1000001,1000002", *local)
    with launching(words) as launcher:
        wait_until(lambda: trains(tmp_path, two) and trains(tmp_path, three))  # so one has ended
        os.kill(jobs(tmp_path)[two], signal.SIGKILL)
        noted = sweep.Sweep.read
        wait_until(lambda: any(point.reason for point in noted(tmp_path).points.values()))
        launcher.send_signal(signal.SIGTERM)
        out, err = launcher.communicate(timeout=60)
    assert launcher.returncode == 1 and "interrupted; the same command" in err
    assert not jobs(tmp_path), "a job outlived its sweep"
    rows = {row.overrides["schedule.steps"]: row for row in sweep.read(tmp_path)}
    states = {steps: row.status for steps, row in rows.items()}
    assert states == {"1": "finished", "1000001": "failed", "1000002": "unfinished"}
    assert "died without a result" in (rows["1000001"].reason or "")
    assert f"{one} finished, sampled accuracy" in out


def test_what_cannot_run_as_asked_is_refused_before_anything_runs(
    tmp_path: Path, conf: Path
) -> None:
    words = ("experiment=tiny,grid,loud", "optimizer.lr=1e-3,abc")
    done = launch(conf, tmp_path, *words)
    assert done.returncode == 1
    title, *points = done.stderr.splitlines()
    assert title == "nothing was started, 5 of 6 points are refused:"
    assert points[0].startswith("  experiment=tiny optimizer.lr=abc: ") and "lr=abc" in points[0]
    assert "hydra.sweeper.params={'seed': '1,2'} (the sweep has None)" in points[1]
    assert "hydra.launcher.parallel=3 (the sweep has None)" in points[3]
    assert not tmp_path.exists(), "nothing stays behind"


@pytest.mark.parametrize(
    "words, reason",
    [
        (("hydra.launcher.parallel=1,2",), "Sweeping over Hydra's configuration is not supported"),
        (
            ("hydra.launcher.executor=cloud",),
            "hydra.launcher.executor=cloud; allowed: inline, local, slurm",
        ),
        (
            ("hardware=slurm_cpu", "hydra.launcher.max_requeues=-1"),
            "hydra.launcher.max_requeues=-1; allowed: 0 or more",
        ),
        (
            ("hardware=slurm_cpu", "hydra.launcher.timeout_min=2"),
            "hydra.launcher.signal_delay_s=120: the warning would come before the start; "
            "allowed: less than timeout_min, 120 s",
        ),
        (("launch.detach=true",), "launch.detach=true: needs a cluster, as of hardware=slurm_cpu"),
        (("launch.detach=1",), "launch.detach=1: input should be a valid boolean"),
        (("seed=1,2", "optimizer.lrr=1"), "optimizer.lrr: no such key; optimizer is algorithm, lr"),
        (
            ("hydra.launcher.memm=1",),
            "hydra.launcher.memm: no such key; hydra.launcher is executor",
        ),
        (("hydra.launcher.mem_gb=lots",), "'lots' of type 'str' could not be converted to Float"),
        (("sweep=../x",), "sweep=../x: must be a name"),
        (("budget.max_usd=-1",), "budget.max_usd=-1: must be 0 or more, or null for no limit"),
        (("hardware.gpus=2",), "hardware.gpus=2: a point has one process here; allowed: 1, or"),
        (
            ("hardware=slurm_cpu", "hydra.launcher.nodes=2", "hardware.gpus=2"),
            "hardware.gpus=2: must be the processes of a point, "
            "hydra.launcher.nodes=2 x tasks_per_node=2",
        ),
        (("hydra.launcher.parallel=0",), "hydra.launcher.parallel=0; allowed: 1 or more, or null"),
    ],
)
def test_a_launcher_that_cannot_be(
    tmp_path: Path, conf: Path, words: tuple[str, ...], reason: str
) -> None:
    done = launch(conf, tmp_path, *words)
    assert done.returncode == 1 and reason in done.stderr
    assert "Traceback" not in done.stderr and "Error in call" not in done.stderr


def test_a_sweep_under_torchrun_is_refused_by_each_process(
    tmp_path: Path, conf: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RANK", "1")
    done = launch(conf, tmp_path)
    assert done.returncode == 1 and "say it without torchrun" in done.stderr
    assert not (tmp_path / "sweep.json").exists()
