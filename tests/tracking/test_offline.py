"""Runs that only write their folders, delivered afterwards with the sweep they belong to."""

import json
from pathlib import Path

import pytest

from rlcotrain.job import run
from rlcotrain.tracking import prepare
from rlcotrain.tracking.mirror import sync
from rlcotrain.tracking.store import IDENTITY
from tests.runs import ALONE, SMALL, TINY, compose, lines
from tests.tracking.folders import as_written, make_folder, stored, write_lines, write_result


def test_a_run_offline_starts_no_mirror_and_is_delivered_later(
    tmp_path: Path, uri: str, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [word for word in SMALL if not word.startswith("tracking")]
    offline = ("tracking=offline", f"tracking.uri={uri}", "tracking.experiment=offline")
    words += [*TINY, *ALONE, *offline, "schedule=rl", "schedule.steps=1"]
    folder = tmp_path / "run"
    run(compose(tmp_path, *words, "schedule.cycle.solve.num_prompts=2"), folder)
    assert not {file.name for file in folder.iterdir()} & {"mirror.log", "mlflow.json"}
    assert f"python -m rlcotrain.tracking sync {folder}" in capsys.readouterr().out
    assert sync([tmp_path]) == 0
    client, experiment = prepare(uri, "offline")
    (found,) = client.search_runs([experiment])
    assert found.info.status == "FINISHED"
    last = lines(folder / "metrics.jsonl")[-1]
    assert found.data.metrics["accuracy/greedy"] == last["accuracy/greedy"]


def test_a_sweep_is_closed_once_its_points_have_ended(
    tmp_path: Path, uri: str, capsys: pytest.CaptureFixture[str]
) -> None:
    noted = {"id": tmp_path.as_posix(), "name": "lr"}
    folders = [make_folder(tmp_path / name, uri, sweep=noted) for name in ("one", "two")]
    points = {folder.name: {"overrides": []} for folder in folders}
    (tmp_path / "sweep.json").write_text(json.dumps({**noted, "parent": None, "points": points}))
    (tmp_path / "table.csv").write_text("point\n")
    for folder in folders:
        write_lines(folder, range(3))
    write_result(folders[0])
    assert sync([tmp_path]) == 0
    assert "unfinished: some of its points have no result" in capsys.readouterr().out
    client, experiment = prepare(uri, "tests")
    (parent,) = client.search_runs([experiment], f"tags.`{IDENTITY}` = '{noted['id']}'")
    assert parent.info.status == "RUNNING"

    write_result(folders[1], "failed", "ValueError: no")
    assert sync([tmp_path]) == 0
    assert client.get_run(parent.info.run_id).info.status == "FAILED"
    assert [file.path for file in client.list_artifacts(parent.info.run_id)] == ["table.csv"]
    assert all(stored(folder) == as_written(range(3)) for folder in folders)
    capsys.readouterr()
    assert sync([tmp_path]) == 0
    assert capsys.readouterr().out == "3 complete\n"
