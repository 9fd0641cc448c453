"""Run folders into a real SQLite store, each number exactly once."""

import json
import math
from pathlib import Path

import pytest

from rlcotrain.tracking.delivery import Delivery, flatten
from rlcotrain.tracking.mirror import sync
from rlcotrain.tracking.receipt import MARKS, Receipt
from tests.tracking.folders import (
    T0,
    as_written,
    make_folder,
    opened,
    stored,
    write_lines,
    write_result,
)


def test_delivers_the_whole_folder(
    tmp_path: Path, uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make_folder(tmp_path / "run", uri, parent="0" * 32)
    config = {"many": {f"k{number}": number for number in range(250)}, "long": "x" * 7000}
    (folder / "config.yaml").write_text(json.dumps(config | {"tracking": {"uri": "elsewhere"}}))
    write_lines(folder, range(2500))
    (folder / "curves.png").write_bytes(b"png")
    (folder / "profile.md").write_text("# Where the time goes\n")
    (folder / "trace.json.gz").write_bytes(b"gz")
    rows = [{"text": "1+1=2", "rewards": {"outcome": 1}}, {"text": "?", "advantage": math.nan}]
    (folder / "rollouts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows) + '{"te')
    write_result(folder, "failed", "ValueError: the loss is NaN")
    Delivery(folder).catch_up(final=True)
    Delivery(folder).catch_up(final=True)  # once more: nothing may double

    assert stored(folder) == as_written(range(2500))
    client, run_id = opened(folder)
    run = client.get_run(run_id)
    assert (run.info.status, run.info.start_time) == ("FAILED", int(T0 * 1000))
    assert run.data.params["many.k249"] == "249" and len(run.data.params["long"]) == 6000
    assert "tracking.uri" not in run.data.params
    wanted = {"git_commit": "abc", "signature": "0123456789ab", "mlflow.parentRunId": "0" * 32}
    assert wanted.items() <= run.data.tags.items()
    assert run.data.tags["reason"] == "ValueError: the loss is NaN"
    files = {file.path for file in client.list_artifacts(run_id)}
    profile = {"profile.md", "trace.json.gz"}
    assert files == {"config.yaml", "curves.png", "result.json", "rollouts.json"} | profile
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)  # load_table searches the default tracker
    table = client.load_table(run.info.experiment_id, "rollouts.json", [run_id])
    assert table["text"].tolist() == ["1+1=2", "?"]
    assert table["rewards"].tolist()[0] == '{"outcome": 1}' and table["advantage"].isna().all()


def test_what_is_no_number_survives(tmp_path: Path, uri: str) -> None:
    folder = make_folder(tmp_path / "run", uri)
    write_lines(folder, range(2), nan=math.nan, inf=math.inf)
    for _ in range(2):
        Receipt.read(folder)
        (folder / "mlflow.json").unlink(missing_ok=True)  # a lost receipt costs work only
        Delivery(folder).catch_up(final=False)
    assert [math.isnan(value) for _, value, _ in stored(folder, "nan")] == [True, True]
    assert [value > 1e308 for _, value, _ in stored(folder, "inf")] == [True, True]
    assert stored(folder) == as_written(range(2))


def test_a_line_being_written_waits(tmp_path: Path, uri: str) -> None:
    folder = make_folder(tmp_path / "run", uri)
    write_lines(folder, range(3))
    whole = (folder / "metrics.jsonl").read_bytes()
    (folder / "metrics.jsonl").write_bytes(whole[:-5])
    delivery = Delivery(folder)
    delivery.catch_up(final=False)
    assert stored(folder) == as_written(range(2))
    (folder / "metrics.jsonl").write_bytes(whole)
    delivery.catch_up(final=False)
    assert stored(folder) == as_written(range(3))


@pytest.mark.parametrize("replayed", [2, 8, 12])
def test_cut_and_replayed_lines_come_once(tmp_path: Path, uri: str, replayed: int) -> None:
    """A resume cut ten delivered lines to five; the replay is shorter, equal or longer."""
    folder = make_folder(tmp_path / "run", uri)
    write_lines(folder, range(10))
    Delivery(folder).catch_up(final=False)
    (folder / "metrics.jsonl").unlink()
    write_lines(folder, range(replayed))
    Delivery(folder).catch_up(final=False)
    write_lines(folder, range(replayed, 15))
    Delivery(folder).catch_up(final=False)
    assert stored(folder) == as_written(range(15))


def test_a_replay_that_differs_is_delivered_too(tmp_path: Path, uri: str) -> None:
    folder = make_folder(tmp_path / "run", uri)
    write_lines(folder, range(4), other=1.0)
    Delivery(folder).catch_up(final=False)
    (folder / "metrics.jsonl").unlink()
    write_lines(folder, range(6), other=2.0)
    Delivery(folder).catch_up(final=False)
    assert [value for _, value, _ in stored(folder, "other")].count(2.0) == 6


def test_a_cut_far_back_sends_only_what_follows(
    tmp_path: Path, uri: str, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = make_folder(tmp_path / "run", uri)
    delivery = Delivery(folder)
    for step in range(150):
        write_lines(folder, range(step, step + 1), x=1.0)
        delivery.catch_up(final=False)
    assert len(Receipt.read(folder).marks) <= MARKS
    (folder / "metrics.jsonl").unlink()
    write_lines(folder, range(100), x=1.0)
    write_lines(folder, range(100, 150), x=2.0)
    Delivery(folder).catch_up(final=False)
    assert [step for step, value, _ in stored(folder, "x") if value == 2.0] == [*range(100, 150)]
    assert "metrics.jsonl was cut: " in capsys.readouterr().out


def test_a_run_deleted_in_the_tracker_is_delivered_anew(tmp_path: Path, uri: str) -> None:
    folder = make_folder(tmp_path / "run", uri)
    write_lines(folder, range(3))
    Delivery(folder).catch_up(final=True)
    client, run_id = opened(folder)
    client.delete_run(run_id)
    assert sync([tmp_path]) == 0
    assert opened(folder)[1] != run_id and stored(folder) == as_written(range(3))


def test_the_parameters_of_a_list_or_an_empty_table_are_leaves() -> None:
    config = {"a": {"b": [1, {"c": 2}], "d": {}}, "e": None}
    assert dict(flatten(config)) == {"a.b": [1, {"c": 2}], "a.d": {}, "e": None}
