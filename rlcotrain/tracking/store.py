"""The tracker itself: made safely, its runs found again, the run that a sweep hangs on."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from fcntl import LOCK_EX, flock
from pathlib import Path
from typing import TYPE_CHECKING

from rlcotrain.files import place, sync
from rlcotrain.tracking.uri import redacted

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

IDENTITY = "rlcotrain.id"  # the tag that finds a run again, whoever made it
PARENT = "mlflow.parentRunId"
SQLITE = "sqlite:///"
MAGIC = b"SQLite format 3\0"
BESIDE = ("-journal", "-wal", "-shm")  # what SQLite keeps beside a database
HALF_MADE = (
    "its making was cut off and it holds no run: delete it, and `make sync` delivers all runs anew"
)

# Short time-outs and few retries: by default MLflow blocks for minutes on a dead server.
ENVIRONMENT = {
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_LOGGING_LEVEL": "ERROR",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}


def resolve(uri: str) -> str:
    """The same tracker from every folder: the path of an SQLite URI made absolute."""
    if not uri.startswith(SQLITE):
        return uri
    file, mark, options = uri.removeprefix(SQLITE).partition("?")
    return f"{SQLITE}{Path(file).absolute()}{mark}{options}"


def ui_command(uri: str) -> str:
    """What to do to look at the runs; a server is its own UI."""
    shown = redacted(uri)
    return f"open {shown}" if uri.startswith("http") else f"mlflow ui --backend-store-uri {shown}"


def one_line(error: BaseException) -> str:
    """What an error says, without the statements that SQLAlchemy and MLflow add to it."""
    words = " ".join(redacted(str(error)).split()).partition(" [SQL:")[0][:300]
    return words if isinstance(error, ValueError) else f"{type(error).__name__}: {words}"


def prepare(uri: str, experiment: str) -> tuple[MlflowClient, str]:
    """Create store and experiment where they are missing; a client, and the experiment's id.

    Safe under parallel first starts: without the lock all but one of them crash in MLflow's
    migration. Artifacts of an SQLite store go beside it, so that a UI started anywhere shows them.
    ValueError, naming the file, where an SQLite store is no use.
    """
    for key, value in ENVIRONMENT.items():
        os.environ.setdefault(key, value)
    file = _database(uri)
    with _locked(file) as artifacts:
        if file is None:
            return _opened(uri, experiment, artifacts)
        try:
            _make(file, uri)
            return _opened(uri, experiment, artifacts)
        except Exception as error:  # of three libraries
            cure = f" ({HALF_MADE})" if _is_half_made(file) else ""
            raise ValueError(f"{file}: {one_line(error)}{cure}") from error


def _opened(uri: str, experiment: str, artifacts: str | None) -> tuple[MlflowClient, str]:
    from mlflow.exceptions import MlflowException
    from mlflow.tracking import MlflowClient

    client = MlflowClient(uri)
    found = client.get_experiment_by_name(experiment)
    if found is None:
        try:
            return client, client.create_experiment(experiment, artifacts)
        except MlflowException:  # on a server somebody may have been quicker
            found = client.get_experiment_by_name(experiment)
            if found is None:
                raise
    return client, str(found.experiment_id)


def _make(file: Path, uri: str) -> None:
    """Make a missing SQLite store aside and rename it: MLflow makes its tables in steps that a kill
    or a full disk can end between, and no later start mends them."""
    from mlflow.store.db.utils import _initialize_tables, create_sqlalchemy_engine
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    if file.exists() and file.stat().st_size:
        with file.open("rb") as stream:
            if stream.read(len(MAGIC)) != MAGIC:
                raise ValueError("is no SQLite database; move it away")
        return
    aside = file.with_name(f"{file.name}.new")
    left = [aside.with_name(aside.name + end) for end in ("", *BESIDE)]
    # Of one that was killed, or of a store that was deleted: SQLite would write a journal that it
    # finds into the new one.
    for path in (*left, *(file.with_name(file.name + end) for end in BESIDE)):
        path.unlink(missing_ok=True)
    if (known := SqlAlchemyStore._engine_map.get(uri)) is not None:
        known.dispose()  # of a file that was deleted since: its connections still write there
    engine = create_sqlalchemy_engine(f"{SQLITE}{aside}")
    try:
        _initialize_tables(engine)
        engine.dispose()
        sync(aside)
        place(aside, file)
    finally:
        engine.dispose()
        for path in left:
            path.unlink(missing_ok=True)


def _is_half_made(file: Path) -> bool:
    """Whether the making of an SQLite store ended early: its tables lack steps, and it has no run
    that could be lost."""
    from mlflow.store.db.utils import _get_latest_schema_revision

    if not file.exists():
        return False
    try:
        with closing(sqlite3.connect(file)) as base:
            tables = {name for (name,) in base.execute("SELECT name FROM sqlite_master")}
            if "runs" in tables and base.execute("SELECT 1 FROM runs").fetchone():
                return False
            known = "alembic_version" in tables
            steps = base.execute("SELECT version_num FROM alembic_version") if known else ()
            return _get_latest_schema_revision() not in {step for (step,) in steps}
    except sqlite3.Error:  # locked, or no database: then that is what the first error says
        return False


def find(
    client: MlflowClient, experiment: str, identity: str, ours: str | None = None
) -> str | None:
    """Id of the MLflow run tagged with `identity`.

    The tag, not a file, tells: a crash between making a run and noting its id doubles nothing. But
    a busy server may carry out a request that was given up and sent again: of several runs `ours`
    stays, else the oldest, with the children of all; the others are deleted.
    """
    runs = client.search_runs([experiment], f"tags.`{IDENTITY}` = '{identity}'")
    if not runs:
        return None
    ranked = sorted((run.info.run_id != ours, run.info.start_time, run.info.run_id) for run in runs)
    kept, *others = (str(run_id) for _, _, run_id in ranked)
    for other in others:
        for child in client.search_runs([experiment], f"tags.`{PARENT}` = '{other}'"):
            client.set_tag(child.info.run_id, PARENT, kept)
        client.delete_run(other)
    return kept


def create(
    client: MlflowClient,
    experiment: str,
    identity: str,
    name: str,
    start_ms: int,
    tags: dict[str, str],
) -> str:
    """Id of a new run that `find` will find; with a parent where the tags name one."""
    run = client.create_run(experiment, start_ms, {**tags, IDENTITY: identity}, name)
    return str(run.info.run_id)


def sweep_run(uri: str, experiment: str, identity: str, name: str, tags: dict[str, str]) -> str:
    """Id of the run that is the parent of a sweep's runs, made by whoever asks first.

    The lock keeps two points from making one each. On a server nothing does: there the launcher
    made it, unless the server was down, and then `find` puts it right at the sweep's end.
    """
    client, experiment_id = prepare(uri, experiment)
    with _locked(_database(uri)):
        start_ms = int(time.time() * 1000)
        found = find(client, experiment_id, identity)
        return found or create(client, experiment_id, identity, name, start_ms, tags)


def open_sweep(uri: str, experiment: str, identity: str, name: str, tags: dict[str, str]) -> str:
    """As `sweep_run`, and running again if the sweep is resumed."""
    run_id = sweep_run(uri, experiment, identity, name, tags)
    prepare(uri, experiment)[0].update_run(run_id, "RUNNING")
    return run_id


def close_sweep(uri: str, experiment: str, run_id: str, status: str, files: Iterable[Path]) -> None:
    """Hang the files on the sweep's run and end it; `status` is FINISHED, FAILED or KILLED."""
    client, _ = prepare(uri, experiment)
    for file in files:
        client.log_artifact(run_id, str(file))
    client.set_terminated(run_id, status)


def _database(uri: str) -> Path | None:
    """The file behind an SQLite URI, None for any other tracker."""
    return Path(uri.removeprefix(SQLITE).split("?")[0]) if uri.startswith(SQLITE) else None


@contextmanager
def _locked(file: Path | None) -> Iterator[str | None]:
    """Hold the lock beside an SQLite file; yields the place for its artifacts."""
    if file is None:
        yield None
        return
    file.parent.mkdir(parents=True, exist_ok=True)
    with open(file.with_suffix(".lock"), "ab") as lock:
        flock(lock, LOCK_EX)
        yield (file.parent.absolute() / "mlartifacts").as_uri()
