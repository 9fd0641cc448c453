"""The command line, as a user meets it."""

import fcntl
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.runs import ALONE, SMALL, TINY

ROOT = Path(__file__).parents[1]
HEAVY = {"torch", "transformers", "mlflow", "matplotlib", "datasets", "pydantic", "submitit"}


def launch(*words: str, python: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *python, "launch.py", *words]
    settings = {**os.environ, "HF_HUB_OFFLINE": "1"}
    settings.pop("HYDRA_FULL_ERROR", None)
    return subprocess.run(
        command, cwd=ROOT, env=settings, capture_output=True, text=True, timeout=120
    )


def assert_one_line(done: subprocess.CompletedProcess[str], message: str) -> None:
    """It failed, and all it says is one line of this kind."""
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert re.fullmatch(f"error: {message}", line), line
    assert done.stdout == ""


@pytest.mark.parametrize(
    ("word", "answer"), [("--help", "Configuration groups"), ("--cfg=job", "optimizer:\n")]
)
def test_questions_are_answered_without_a_heavy_library(word: str, answer: str) -> None:
    done = launch(*word.split("="), python=("-X", "importtime"))
    assert done.returncode == 0 and answer in done.stdout
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "hydra" in imported and not imported & HEAVY


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("loss=nope", r"In 'config': Could not find 'loss/nope' .*: cispo .* grpo .*"),
        ("optimizer.foo=1", r"optimizer\.foo: no such key; optimizer is algorithm, lr, .*"),
        (
            "policy.generator.model.max_length=9",
            r"policy\.generator\.model\.max_length: .*; set model\.max_length",
        ),
        (
            "schedule.cycle.verify.game.verifier.grader.tolerance=9",
            r"schedule\.cycle\..*; set grader\.tolerance",
        ),
        ("loss=inherit", r"loss\._target_: refers to itself; .*"),
        ("foo=1", r"foo: no such key; there is .*seed, folder.*"),
        ("optimizer.foo=1 hardwear=gpu evalation.x=1", r"optimizer\.foo: no such key; .*lr, .*"),
        ("launch.detach=true", r"launch\.detach=true: a sweep can be left alone, .*: add -m"),
        ("optimizer.lr=[", r"no viable alternative at input '\['.*"),
        ("cache_dir=null", r"cache_dir=None: must be the name of a folder"),
        ("cache_dir=3", r"cache_dir=3: must be the name of a folder"),
        ("name=a=b", r"name=a=b: a value that holds = is quoted twice, as in 'folder=\"a=b\"'"),
    ],
)
def test_what_does_not_exist_is_told_with_what_does(
    word: str, message: str, tmp_path: Path
) -> None:
    assert_one_line(launch(f"folder={tmp_path}/run", *word.split()), message)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("sweep", [[], ["-m", "seed=1,2"]])
def test_a_password_of_the_tracker_is_refused_and_written_nowhere(
    sweep: list[str], tmp_path: Path
) -> None:
    (tmp_path / "sweep").mkdir()
    (tmp_path / "sweep/sweep.json").write_text("{}")  # of an earlier launch
    place = [f"folder={tmp_path}/run", f"hydra.sweep.dir={tmp_path}/sweep"]
    done = launch(*sweep, *place, "tracking.uri=http://bob:hunter2@host:5000")
    assert_one_line(done, r"tracking\.uri=http://\*\*\*@host:5000: .*MLFLOW_TRACKING_PASSWORD.*")
    assert [file.name for file in tmp_path.rglob("*") if file.is_file()] == ["sweep.json"]


def test_hydra_calls_nothing_that_executes(tmp_path: Path) -> None:
    called = f"{{_target_: subprocess.getoutput, cmd: touch {tmp_path}/marker}}"
    done = launch(f"folder={tmp_path}/run", f"+hydra.callbacks.x={called}")
    assert_one_line(done, r"Target 'subprocess\.getoutput' is blocklisted .*")
    assert not list(tmp_path.iterdir())


def test_hydras_own_plugins_are_all_that_it_may_call(tmp_path: Path) -> None:
    done = launch("-m", f"hydra.sweep.dir={tmp_path}", "hydra.launcher._target_=os.system")
    assert_one_line(done, r"hydra\.launcher\._target_, .* 'os\.system': not the hydra_plugins .*")


def test_a_bad_value_is_one_line_and_no_folder(tmp_path: Path) -> None:
    done = launch(f"folder={tmp_path}/run", "optimizer.lr=abc")
    assert_one_line(done, r"optimizer\.lr=abc: input should be a valid number")
    assert not (tmp_path / "run").exists()


def test_a_cluster_is_for_sweeps(tmp_path: Path) -> None:
    done = launch(f"folder={tmp_path}/run", "hardware=slurm_h100")
    assert_one_line(done, "hardware=slurm_h100: submits sweeps, also of one point: add -m")
    assert not (tmp_path / "run").exists()


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 200 KiB: enough to begin a run, too small for its first state."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=200k", "none", folder]).returncode:
        pytest.skip("a small disk needs the right to mount one")
    try:
        yield folder
    finally:
        subprocess.run(["umount", folder], check=True)


def test_a_full_disk_is_one_line(disk: Path, tmp_path: Path) -> None:
    small = (*SMALL, *TINY, *ALONE, "schedule=rl", "schedule.cycle.solve.num_prompts=4")
    done = launch(f"folder={disk}/run", f"cache_dir={tmp_path}/cache", "checkpoint.every=1", *small)
    assert done.returncode == 1
    *said, last = done.stderr.splitlines()
    assert re.fullmatch(rf"error: .*No space left on device.*{disk}/run.*", last), last
    assert "Traceback" not in done.stderr
    assert any(line.startswith("held-out accuracy after 0 steps") for line in said)
    left = {path.name for path in (disk / "run").rglob("*") if path.is_file()}
    assert not left & {"state.pt", "latest"}, "no half state"


def test_a_folder_that_cannot_be_written_is_one_line(disk: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
    done = launch(f"folder={disk}/run", *SMALL)
    assert_one_line(done, rf".*Read-only file system: '{disk}/run'")


BRIEF = (*SMALL, *TINY, *ALONE, "schedule=rl", "schedule.cycle.solve.num_prompts=2")


def contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def test_a_refused_start_leaves_a_run_as_it_was(tmp_path: Path) -> None:
    run = tmp_path / "run"
    words = (f"folder={run}", f"cache_dir={tmp_path}/cache", *BRIEF, "schedule.steps=1")
    words += (f"budget.ledger={tmp_path}/ledger.jsonl",)
    assert launch(*words).returncode == 0
    before = contents(run)
    assert "schedule.steps=1\n" in before[".hydra/overrides.yaml"].decode()
    assert {".hydra/config.yaml", ".hydra/hydra.yaml"} <= set(before)
    other = launch(*words, "optimizer.lr=0.5")
    assert_one_line(other, r"folder=.*: holds a run of another configuration .*")
    assert contents(run) == before
    (run / "result.json").unlink()  # as if it were still at it
    with (run / "run.lock").open("w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        busy = launch(*words, "name=other")
    assert_one_line(busy, r"folder=.*: another process is at this run; .*")
    del before["result.json"]
    assert contents(run) == before


@pytest.fixture
def heard() -> Iterator[None]:
    """As at a terminal, though a script may have put the tests into the background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def interrupted(words: tuple[str, ...], wait: object) -> tuple[int, str]:
    """Ctrl-C, which goes to all processes of a terminal, once `wait` is over: status and screen."""
    command = [sys.executable, "launch.py", *words]
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    with subprocess.Popen(command, cwd=ROOT, start_new_session=True, **streams) as process:  # type: ignore[call-overload]
        if isinstance(wait, Path):
            end = time.monotonic() + 60
            while not (wait.exists() and wait.read_bytes().count(b"\n") > 3):
                assert time.monotonic() < end and process.poll() is None, process.stdout.read()
                time.sleep(0.02)
        else:
            time.sleep(float(str(wait)))
        os.killpg(process.pid, signal.SIGINT)
        said, _ = process.communicate(timeout=60)
    return process.returncode, said


@pytest.mark.parametrize("seconds", [0.08, 0.2, 0.35, 0.5])
def test_an_early_ctrl_c_is_no_traceback(seconds: float, tmp_path: Path, heard: None) -> None:
    status, said = interrupted((f"folder={tmp_path}/run", *BRIEF), seconds)
    assert status in (1, -signal.SIGINT)
    assert "Traceback" not in said and len(said.splitlines()) <= 1
    assert not list(tmp_path.rglob("*.json*")), "or this tests something else"


def test_ctrl_c_saves_and_says_how_to_go_on(tmp_path: Path, heard: None) -> None:
    run = tmp_path / "run"
    words = (*BRIEF, "schedule.steps=150", "checkpoint.every=1000", f"cache_dir={tmp_path}/cache")
    words += ("evaluation.every=1000", f"budget.ledger={tmp_path}/ledger.jsonl", f"folder={run}")
    status, said = interrupted(words, run / "metrics.jsonl")
    assert status == 1 and "Traceback" not in said and "FakeTensor" not in said
    saved = int((run / "checkpoints/latest").read_text())
    assert (run / "metrics.jsonl").read_text().count("\n") == saved + 1  # and an evaluation
    last = said.splitlines()[-1]
    assert last.startswith("interrupted; to go on: python launch.py ")
    python, *command = shlex.split(last.partition("go on: ")[2])
    assert python == "python"
    done = subprocess.run([sys.executable, *command], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0 and f"resumed after step {saved} of 150" in done.stderr
