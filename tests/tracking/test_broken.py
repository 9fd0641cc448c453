"""Stores whose making was cut off, and run folders that cannot be read: each told in one line."""

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from rlcotrain.tracking import deliver, prepare
from rlcotrain.tracking.mirror import sync
from rlcotrain.tracking.receipt import Receipt
from tests.tracking.folders import (
    EXPERIMENT,
    ROOT,
    as_written,
    make_folder,
    stored,
    wait_until,
    write_lines,
    write_result,
)


def run_of(folder: Path, uri: str) -> Path:
    """A finished run of three lines."""
    made = make_folder(folder, uri)
    write_lines(made, range(3))
    write_result(made)
    return made


def database(uri: str) -> Path:
    return Path(uri.removeprefix("sqlite:///"))


@pytest.mark.parametrize("wait_s", [0.0, 0.05, 0.2, 0.4])
def test_a_kill_while_the_store_is_made_costs_a_try(wait_s: float, tmp_path: Path) -> None:
    file = tmp_path / "mlflow.db"
    folder = run_of(tmp_path / "run", f"sqlite:///{file}")
    command = [sys.executable, "-m", "rlcotrain.tracking", "sync", str(folder)]
    with subprocess.Popen(command, cwd=ROOT) as syncing:
        wait_until((tmp_path / "mlflow.db.new").exists)
        time.sleep(wait_s)
        syncing.kill()
    assert not file.exists() or file.stat().st_size > 100_000, "whole or not there"
    assert sync([tmp_path]) == 0
    assert stored(folder) == as_written(range(3))
    assert not list(tmp_path.glob("mlflow.db.new*"))


def half_made(whole: Path, file: Path) -> None:
    """A store as MLflow leaves it in the middle: the first tables are there, the last steps not."""
    shutil.copy(whole, file)
    with closing(sqlite3.connect(file)) as base:
        base.executescript(
            "DELETE FROM tags; DELETE FROM latest_metrics; DELETE FROM metrics; DELETE FROM params;"
            "DELETE FROM runs; DROP TABLE spans; UPDATE alembic_version SET version_num = "
            "'451aebb31d03'"
        )


def test_an_old_half_made_store_is_named_with_its_cure(
    tmp_path: Path, uri: str, capsys: pytest.CaptureFixture[str]
) -> None:
    prepare(uri, EXPERIMENT)
    file = tmp_path / "mlflow.db"
    half_made(database(uri), file)
    folder = run_of(tmp_path / "run", f"sqlite:///{file}")
    assert sync([tmp_path]) == 1
    said, counts = capsys.readouterr().out.splitlines()
    assert said.startswith(f"{folder}: failed: {file}: ") and "SQL" not in said
    assert "its making was cut off and it holds no run: delete it, and `make sync`" in said
    assert counts == "1 failed"
    file.unlink()
    assert sync([tmp_path]) == 0 and stored(folder) == as_written(range(3))


def test_a_store_that_holds_runs_is_never_said_to_be_deleted(
    tmp_path: Path, uri: str, capsys: pytest.CaptureFixture[str]
) -> None:
    sync([run_of(tmp_path / "other", uri)])
    file = tmp_path / "mlflow.db"
    shutil.copy(database(uri), file)
    with closing(sqlite3.connect(file)) as base:
        base.executescript("UPDATE alembic_version SET version_num = '451aebb31d03'")
    folder = run_of(tmp_path / "run", f"sqlite:///{file}")
    capsys.readouterr()
    assert sync([folder]) == 1
    said = capsys.readouterr().out.splitlines()[0]
    assert "out-of-date database schema" in said and "delete" not in said


def test_the_journal_of_a_store_that_was_deleted_is_no_part_of_the_new_one(tmp_path: Path) -> None:
    """A process that is killed in a transaction leaves one; the cure says to delete the store."""
    file = tmp_path / "mlflow.db"
    script = f"""
import os, sqlite3
base = sqlite3.connect("{file}", isolation_level=None)
base.executescript("PRAGMA cache_size = 1; CREATE TABLE old (text TEXT);")
base.execute("INSERT INTO old VALUES ('" + "x" * 100000 + "')")
base.execute("BEGIN")
base.execute("UPDATE old SET text = '" + "y" * 100000 + "'")
os._exit(1)
"""
    subprocess.run([sys.executable, "-c", script])
    assert file.with_name("mlflow.db-journal").stat().st_size > 0, "or this tests nothing"
    file.unlink()
    folder = run_of(tmp_path / "run", f"sqlite:///{file}")
    assert sync([tmp_path]) == 0 and stored(folder) == as_written(range(3))


@pytest.mark.parametrize(("raw", "status"), [(b"", 0), (b"no database at all", 1)])
def test_a_file_that_is_no_store(
    raw: bytes, status: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "mlflow.db"
    file.write_bytes(raw)
    folder = run_of(tmp_path / "run", f"sqlite:///{file}")
    assert sync([tmp_path]) == status
    said = capsys.readouterr().out.splitlines()
    if status:
        assert said[0] == f"{folder}: failed: {file}: is no SQLite database; move it away"
        assert file.read_bytes() == raw


def test_a_store_on_a_full_disk_is_made_when_there_is_room(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    if os.system(f"mount -t tmpfs -o size=200k none {disk} 2>/dev/null"):
        pytest.skip("a small disk needs the right to mount one")
    try:
        folder = run_of(tmp_path / "run", f"sqlite:///{disk}/mlflow.db")
        assert sync([tmp_path]) == 1
        assert {path.name for path in disk.iterdir()} == {"mlflow.lock"}
        os.system(f"mount -o remount,size=20m {disk}")
        assert sync([tmp_path]) == 0 and stored(folder) == as_written(range(3))
    finally:
        os.system(f"umount {disk}")


BROKEN = {
    "run.json": ["", "{", "\0\0\0", "[]", "{}", '{"tracking": 3}'],
    "metrics.jsonl": [
        "garbage\n",
        '{"time": 1}\n',
        "[1]\n",
        "\0\0\n",
        '{"step": 1, "time": "a"}\n',
    ],
    "result.json": ["", "{", "[]"],
    "config.yaml": ["a: [", ""],
    "rollouts.jsonl": ["garbage\n"],
}


@pytest.mark.parametrize(
    ("name", "text"), [(name, text) for name, texts in BROKEN.items() for text in texts]
)
def test_one_broken_folder_stops_no_other(
    name: str, text: str, tmp_path: Path, uri: str, capsys: pytest.CaptureFixture[str]
) -> None:
    first, broken, last = (run_of(tmp_path / name, uri) for name in ("a", "b", "c"))
    (broken / name).write_text(text)
    assert sync([tmp_path]) == (1 if text or name != "config.yaml" else 0)
    said = [line for line in capsys.readouterr().out.splitlines() if line.startswith(str(broken))]
    assert len(said) == 1 and (name in said[0] or not text)
    assert stored(first) == stored(last) == as_written(range(3))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "\0\0\0\0",
        '{"x": 1}',
        '{"marks": "abc"}',
        '{"marks": [[1]]}',
        '{"run_id": 3}',
    ],
)
def test_a_receipt_that_cannot_be_read_is_none(
    text: str, tmp_path: Path, uri: str, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = run_of(tmp_path / "run", uri)
    assert sync([tmp_path]) == 0
    before = Receipt.read(folder)
    (folder / "mlflow.json").write_text(text)
    assert deliver(folder, timeout_s=60) is None  # as a finished run that is started again
    assert Receipt.read(folder) == before and stored(folder) == as_written(range(3))
    said = capsys.readouterr().out
    assert said.count("warning: no receipt, all is delivered again") >= 1


def test_a_broken_sweep_stops_no_run(
    tmp_path: Path, uri: str, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = run_of(tmp_path / "sweep" / "aaa", uri)
    (tmp_path / "sweep" / "sweep.json").write_text("{")
    assert sync([tmp_path]) == 1
    said = capsys.readouterr().out.splitlines()
    assert said[0] == f"{folder}: delivered" and said[1].startswith(f"{folder.parent}: failed: ")
    assert "sweep.json: is no JSON" in said[1]


def test_nothing_of_mlflow_stands_between_the_lines(tmp_path: Path, uri: str) -> None:
    folders = [run_of(tmp_path / name, uri) for name in ("a", "b")]
    command = [sys.executable, "-m", "rlcotrain.tracking", "sync", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.splitlines() == [
        *(f"{folder}: delivered" for folder in folders),
        "2 delivered",
    ]


def test_a_mirror_that_is_killed_while_the_store_is_made(tmp_path: Path) -> None:
    from rlcotrain.tracking import Mirror

    folder = run_of(tmp_path / "run", f"sqlite:///{tmp_path}/mlflow.db")
    mirror = Mirror(folder)
    mirror.start()
    wait_until((tmp_path / "mlflow.db.new").exists)
    assert mirror.child is not None
    os.kill(mirror.child.pid, signal.SIGKILL)
    assert mirror.close(timeout_s=30) is not None
    assert deliver(folder, timeout_s=60) is None and stored(folder) == as_written(range(3))
