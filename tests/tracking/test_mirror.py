"""The mirror's own process: killed trainings, locked files, a server that dies and comes back."""

import math
import os
import socket
import sqlite3
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from rlcotrain.tracking import Mirror
from rlcotrain.tracking.delivery import Delivery
from rlcotrain.tracking.mirror import attempt, deliver, sync
from rlcotrain.tracking.receipt import Receipt
from rlcotrain.tracking.store import IDENTITY
from tests.tracking.folders import (
    ROOT,
    as_written,
    make_folder,
    opened,
    stored,
    wait_until,
    write_lines,
    write_result,
)

TRAINING = """
import sys, time
from pathlib import Path
from rlcotrain.tracking import Mirror
Mirror(Path(sys.argv[1])).start()
time.sleep(60)
"""


def test_killed_then_resumed_then_finished(
    tmp_path: Path, uri: str, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = make_folder(tmp_path / "run", uri)
    write_lines(folder, range(3))
    training = subprocess.Popen([sys.executable, "-c", TRAINING, str(folder)], cwd=ROOT)
    wait_until((folder / "mlflow.json").exists)
    assert sync([tmp_path]) == 0
    assert "1 still running" in capsys.readouterr().out
    write_lines(folder, range(3, 5))
    training.kill()
    training.wait()
    wait_until(lambda: Receipt.read(folder).finished == "KILLED")
    assert stored(folder) == as_written(range(5))

    mirror = Mirror(folder)
    mirror.start()
    client, run_id = opened(folder)
    wait_until(lambda: client.get_run(run_id).info.status == "RUNNING")
    write_lines(folder, range(5, 8))
    write_result(folder)
    assert mirror.close(timeout_s=60) is None
    assert client.get_run(run_id).info.status == "FINISHED"
    assert stored(folder) == as_written(range(8))
    assert sync([tmp_path]) == 0
    assert "1 complete" in capsys.readouterr().out


def test_a_locked_database_is_reported_and_loses_nothing(tmp_path: Path, uri: str) -> None:
    folder = make_folder(tmp_path / "run", uri)
    write_lines(folder, range(3))
    lock = sqlite3.connect(uri.removeprefix("sqlite:///"), isolation_level=None)
    lock.execute("BEGIN EXCLUSIVE")
    mirror = Mirror(folder)
    mirror.start()
    reason = mirror.close(timeout_s=3)
    lock.execute("ROLLBACK")
    assert reason is not None and reason.startswith("not delivered within 3 s")
    assert sync([tmp_path]) == 0
    assert stored(folder) == as_written(range(3))


def test_an_ended_run_is_delivered_once(
    tmp_path: Path, uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make_folder(tmp_path / "run", uri)
    write_lines(folder, range(3))
    write_result(folder)
    assert deliver(folder, timeout_s=60) is None
    assert stored(folder) == as_written(range(3))
    monkeypatch.setattr(Mirror, "start", lambda mirror: pytest.fail("nothing was owed"))
    assert deliver(folder, timeout_s=60) is None
    assert deliver(make_folder(tmp_path / "alone", None), timeout_s=60) is None


def test_points_without_a_parent_make_one_together(tmp_path: Path, uri: str) -> None:
    sweep = {"id": tmp_path.as_posix(), "name": "lr"}
    folders = [make_folder(tmp_path / f"point{number}", uri, sweep=sweep) for number in range(4)]
    with ThreadPoolExecutor() as pool:
        reasons = pool.map(lambda folder: attempt(Delivery(folder), final=True), folders)
    assert [*reasons] == [None] * 4
    parents = set()
    for folder in folders:
        client, run_id = opened(folder)
        parents.add(client.get_run(run_id).data.tags["mlflow.parentRunId"])
    (parent,) = parents
    run = client.get_run(parent)
    assert run.info.run_name == "lr" and run.data.tags["git_commit"] == "abc"
    found = client.search_runs([run.info.experiment_id], f"tags.`{IDENTITY}` = '{sweep['id']}'")
    assert len(found) == 1


def test_parallel_first_starts_lose_nothing(tmp_path: Path) -> None:
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    folders = [make_folder(tmp_path / f"run{number}", uri) for number in range(3)]
    for folder in folders:
        write_lines(folder, range(120))
        write_result(folder)
    command = [sys.executable, "-m", "rlcotrain.tracking", "sync"]
    syncs = [subprocess.Popen([*command, str(folder)], cwd=ROOT) for folder in folders]
    assert [process.wait() for process in syncs] == [0, 0, 0]
    assert all(stored(folder) == as_written(range(120)) for folder in folders)
    client, run_id = opened(folders[0])
    assert client.get_run(run_id).info.artifact_uri.startswith((tmp_path / "mlartifacts").as_uri())


@contextmanager
def server(folder: Path, port: int) -> Iterator[None]:
    """MLflow's server as `mlflow server` runs it, less 5 s of wrapping; ended by SIGKILL."""
    store = {
        "_MLFLOW_SERVER_FILE_STORE": f"sqlite:///{folder}/server.db",
        "_MLFLOW_SERVER_ARTIFACT_ROOT": "mlflow-artifacts:/",
        "_MLFLOW_SERVER_ARTIFACT_DESTINATION": str(folder / "artifacts"),
        "_MLFLOW_SERVER_SERVE_ARTIFACTS": "true",
    }
    words = ["uvicorn", "mlflow.server.fastapi_app:app", "--port", str(port)]
    with open(folder / "server.log", "ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", *words], stdout=log, stderr=log, env={**os.environ, **store}
        )
    try:
        wait_until(lambda: _answers(f"http://127.0.0.1:{port}/health"), 60)
        yield
    finally:
        process.kill()
        process.wait()


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=1) as reply:
            return bool(reply.status == 200)
    except OSError:
        return False


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    return port


def test_a_server_that_is_restarted_while_runs_go_on(tmp_path: Path) -> None:
    port = free_port()
    folders = [make_folder(tmp_path / f"run{n}", f"http://127.0.0.1:{port}") for n in range(3)]
    mirrors = [Mirror(folder) for folder in folders]

    def reached(lines: int) -> bool:
        sizes = [sum(map(len, lined(folder)[:lines])) for folder in folders]
        sent = [Receipt.read(folder).delivered for folder in folders]
        return all(done >= size for done, size in zip(sent, sizes, strict=True))

    with server(tmp_path, port):
        for folder, mirror in zip(folders, mirrors, strict=True):
            write_lines(folder, range(3))
            mirror.start()
        wait_until(lambda: reached(3))
    for folder in folders:
        write_lines(folder, range(3, 6))
    wait_until(lambda: all(Receipt.read(folder).reason for folder in folders))
    with server(tmp_path, port):
        wait_until(lambda: reached(6))
        for folder in folders:
            write_result(folder)
        assert [mirror.close(timeout_s=60) for mirror in mirrors] == [None] * 3
        assert all(stored(folder) == as_written(range(6)) for folder in folders)


def lined(folder: Path) -> list[bytes]:
    return (folder / "metrics.jsonl").read_bytes().splitlines(keepends=True)


def test_a_server_that_dies_and_comes_back(tmp_path: Path) -> None:
    port = free_port()
    folder = make_folder(tmp_path / "run", f"http://127.0.0.1:{port}")
    write_lines(folder, range(3), nan=math.nan)
    mirror = Mirror(folder)
    with server(tmp_path, port):
        mirror.start()
        wait_until(lambda: Receipt.read(folder).delivered > 0)
    write_lines(folder, range(3, 6), nan=math.nan)
    write_result(folder)
    reason = mirror.close(timeout_s=60)
    assert reason is not None and f"port={port}" in reason
    assert attempt(Delivery(folder), final=True) is not None
    with server(tmp_path, port):
        assert sync([tmp_path]) == 0
        assert stored(folder) == as_written(range(6))
        assert [math.isnan(value) for _, value, _ in stored(folder, "nan")] == [True] * 6
        client, run_id = opened(folder)
        assert client.get_run(run_id).info.status == "FINISHED"
        assert {file.path for file in client.list_artifacts(run_id)} >= {"config.yaml"}
