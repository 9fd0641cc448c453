import pytest

from rlcotrain.tracking.uri import check_uri, redacted

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
