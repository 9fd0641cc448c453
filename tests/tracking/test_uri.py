"""Secrets in a tracker's address, of a configuration and of folders of older versions."""

from pathlib import Path

import pytest

from rlcotrain.tracking import ui_command
from rlcotrain.tracking.delivery import Delivery
from rlcotrain.tracking.mirror import sync
from rlcotrain.tracking.uri import check_uri, redacted
from tests.tracking.folders import make_folder, opened, write_lines, write_result

SECRETS = [
    "http://bob:hunter2@host:5000",
    "HTTP://bob:hunter2@host/api?x=1",
    "https://:hunter2@host",
    "https://hunter2@host",  # a user alone, which may be a token
    "http://bob:hun/ter2@host",
    "http://bob:hun@ter2@host",
    "http://bob:hun?ter2#@host",
    "http://bob%3Ahunter2@host",
    "postgresql+psycopg2://bob:hunter2@host:5432/db?sslmode=require",
    "mysql://host/db?user=bob&passwd=hunter2",
    "mssql+pyodbc://host/db?driver=x;PWD=hunter2",
    "mssql+pyodbc:///?odbc_connect=DRIVER%3Dx%3BPWD%3Dhunter2",
    "http://host?password=hunter2",
    "http://host/?a=1&access_token=hunter2",
    "http://host/?pass%77ord=hunter2",
    "http://host/#token=hunter2",
    "bob:hunter2@host:5000",
    "//bob:hunter2@host",
]
PLAIN = [
    "sqlite:///mlflow.db",
    "sqlite:////home/a@b/x:y@z/mlflow.db",
    "sqlite:////tmp/a.db?cache=shared&design=1",
    "sqlite:///C:/x@y.db",
    "file:///a/b@c",
    "./mlruns",
    "/data/x:y@z/mlruns",
    "http://127.0.0.1:5000",
    "http://[::1]:5000/path@x",
    "http://host?x=a@b",
    "databricks://profile",
]


@pytest.mark.parametrize("uri", SECRETS)
def test_a_secret_is_refused_and_not_repeated(uri: str) -> None:
    with pytest.raises(ValueError) as found:
        check_uri(uri)
    text = str(found.value)
    assert text.startswith("tracking.uri=") and "MLFLOW_TRACKING_PASSWORD" in text
    assert "\n" not in text and "hun" not in text and "ter2" not in text


@pytest.mark.parametrize("uri", [*PLAIN, "postgresql://bob@host/db"])
def test_addresses_without_a_secret_are_accepted(uri: str) -> None:
    check_uri(uri)


@pytest.mark.parametrize("uri", PLAIN)
def test_nothing_is_left_out_where_there_is_no_secret(uri: str) -> None:
    assert redacted(f"see {uri}, and {uri}") == f"see {uri}, and {uri}"


def test_every_secret_of_a_text_is_left_out() -> None:
    text = "ConnectionError: http://bob:hunter2@host:1/api (or 'postgresql://a:hunter2@b?token=hunter2')"
    expected = "ConnectionError: http://***@host:1/api (or 'postgresql://***@b?token=***')"
    assert redacted(text) == expected


def test_what_is_said_of_a_folder_holds_no_secret(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rlcotrain.tracking.mirror.LAST_TRIES_S", (0.0,))
    folder = make_folder(tmp_path / "run", "http://bob:hunter2@127.0.0.1:1")
    write_lines(folder, range(2))
    write_result(folder)
    assert sync([tmp_path]) == 1
    assert "hunter2" not in capsys.readouterr().out
    told = [file for file in folder.iterdir() if "hunter2" in file.read_text()]
    assert [file.name for file in told] == ["run.json"]  # where it was before
    assert ui_command("http://bob:hunter2@host") == "open http://***@host"


def test_an_old_configuration_is_uploaded_without_its_secret(tmp_path: Path, uri: str) -> None:
    folder = make_folder(tmp_path / "run", uri)
    config = folder / "config.yaml"
    config.write_text("seed: 1\ntracking: {uri: 'http://bob:hunter2@host'}\n")
    write_result(folder)
    write_lines(folder, range(1))
    Delivery(folder).catch_up(final=True)
    client, run_id = opened(folder)
    uploaded = Path(client.download_artifacts(run_id, "config.yaml", str(tmp_path)))
    assert uploaded.read_text() == config.read_text().replace("bob:hunter2@", "***@")
