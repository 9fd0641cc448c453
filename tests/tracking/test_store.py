"""The tracker: its URIs, and the run a sweep hangs on."""

from pathlib import Path

import pytest

from rlcotrain.tracking import close_sweep, open_sweep, prepare, resolve, ui_command
from rlcotrain.tracking.store import IDENTITY, create, find
from tests.tracking.folders import EXPERIMENT


def test_sweep_is_found_again(uri: str, tmp_path: Path) -> None:
    run_id = open_sweep(uri, EXPERIMENT, "sweep-1", "lr", {"git_commit": "abc"})
    table = tmp_path / "table.csv"
    table.write_text("point\n")
    close_sweep(uri, EXPERIMENT, run_id, "FAILED", [table])
    client, _ = prepare(uri, EXPERIMENT)
    assert client.get_run(run_id).info.status == "FAILED"
    assert [file.path for file in client.list_artifacts(run_id)] == ["table.csv"]
    assert open_sweep(uri, EXPERIMENT, "sweep-1", "lr", {}) == run_id
    assert client.get_run(run_id).info.status == "RUNNING"


def test_a_run_that_a_busy_server_made_twice_is_one(uri: str) -> None:
    client, experiment = prepare(uri, EXPERIMENT)

    def make(start_ms: int, **tags: str) -> str:
        return create(client, experiment, "twice", "lr", start_ms, tags)

    oldest, middle, newest = make(1000), make(2000), make(3000)
    child = create(client, experiment, "child", "a", 0, {"mlflow.parentRunId": newest})
    assert find(client, experiment, "twice", middle) == middle
    assert client.get_run(child).data.tags["mlflow.parentRunId"] == middle
    states = {client.get_run(run).info.lifecycle_stage for run in (oldest, newest)}
    assert states == {"deleted"}
    make(2500)
    assert find(client, experiment, "twice") == middle
    assert len(client.search_runs([experiment], f"tags.`{IDENTITY}` = 'twice'")) == 1


def test_uris(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert resolve("sqlite:///a/m.db") == f"sqlite:///{tmp_path}/a/m.db"
    assert resolve("sqlite:///./s?x=1") == f"sqlite:///{tmp_path}/s?x=1"
    assert resolve("http://host:5000") == "http://host:5000"
    assert ui_command("sqlite:////x/m.db") == "mlflow ui --backend-store-uri sqlite:////x/m.db"
    assert ui_command("http://host:5000") == "open http://host:5000"
