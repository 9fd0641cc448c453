"""Delivery of one run folder to MLflow: whatever is missing there, each number exactly once.

MLflow drops a metric only where key, step, value and time all repeat, and the time stands in the
file: sending a line twice is harmless, so where in doubt we send again (at ten times the cost).
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import islice
from math import isfinite
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any, BinaryIO, TypeVar

from rlcotrain.files import CUT, RESTORE, parse, read_json, read_lines
from rlcotrain.signature import OUTSIDE
from rlcotrain.tracking.receipt import Receipt
from rlcotrain.tracking.store import PARENT, create, find, prepare, sweep_run
from rlcotrain.tracking.uri import redacted

if TYPE_CHECKING:
    from mlflow.entities import Metric
    from mlflow.tracking import MlflowClient

TABLE_ROWS = 500  # of rollouts, the newest; a table of all rows would outgrow the browser
FILES_EVERY_S = 60.0
LINES = 100  # of metrics.jsonl between two receipts
TAG_LENGTH = 5000  # below the limits of all MLflow servers in use
STATUS = {"finished": "FINISHED", "failed": "FAILED", None: "KILLED"}
T = TypeVar("T")


class Delivery:
    """What stands between a run folder and its MLflow run."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.run = _run(folder / "run.json")
        self.receipt = Receipt.read(folder)
        self.client: MlflowClient | None = None
        self.sent: dict[str, int] = {}  # file -> time of the version that was uploaded
        self.looked_s = monotonic()

    def delivered(self) -> bool:
        """Whether all of the folder was sent, its end included, as far as the receipt knows."""
        metrics = self.folder / "metrics.jsonl"
        size = metrics.stat().st_size if metrics.exists() else 0
        ended = self.receipt.finished == STATUS[self._result().get("status")]
        return ended and self.receipt.delivered == size

    def complete(self) -> bool:
        """Whether it was delivered and the tracker still has it."""
        tracking = self.run["tracking"]
        client, experiment = prepare(tracking["uri"], tracking["experiment"])
        found = find(client, experiment, self.run["id"], self.receipt.run_id)
        return self.delivered() and self.receipt.run_id == found

    def catch_up(self, final: bool) -> None:
        """Deliver what is missing; `final` also sets the status that the run ended with.

        Raises whatever the tracker raises; the next call starts where this one broke off.
        """
        client, self.client = self.client or self._open(final), None
        self._metrics(client)
        if final or monotonic() - self.looked_s > FILES_EVERY_S:
            self._files(client)
            self.looked_s = monotonic()
        if final:
            self._finish(client)
        if self.receipt.reason:
            self.note(reason=None)
        self.client = client  # kept only while all goes well, else the run is looked for again

    def note(self, **changes: Any) -> None:
        """Change the receipt, on disk too."""
        self.receipt = replace(self.receipt, **changes)
        self.receipt.write(self.folder)

    def _open(self, final: bool) -> MlflowClient:
        """Find or make the run. Tags may change with a resume; parameters are identity, never."""
        from mlflow.entities import RunTag

        tracking = self.run["tracking"]
        tags = {"signature": self.run["signature"], **self.run["tags"]}
        if (parent := self._parent()) is not None:
            tags[PARENT] = parent
        client, experiment = prepare(tracking["uri"], tracking["experiment"])
        run_id = find(client, experiment, self.run["id"], self.receipt.run_id)
        if run_id is None:
            start_ms = int(self.run["started"] * 1000)
            name = tracking.get("label") or self.run["name"]  # a point of a sweep has a label
            run_id = create(client, experiment, self.run["id"], name, start_ms, tags)
        if run_id != self.receipt.run_id:  # another store, or the run was deleted there
            self.receipt = Receipt(run_id=run_id)
        if not final:
            self.note(finished=None)
            client.update_run(run_id, "RUNNING")
        for some in _chunks([RunTag(key, value[:TAG_LENGTH]) for key, value in tags.items()], 100):
            client.log_batch(run_id, tags=some)
        if not self.receipt.parameters:
            self._parameters(client)
        return client

    def _parent(self) -> str | None:
        """The sweep's run; made here if the tracker was down when the sweep was launched."""
        tracking = self.run["tracking"]
        parent: str | None = tracking["parent"]
        sweep = tracking.get("sweep")
        if parent is not None or sweep is None:
            return parent
        tags = {key: value for key, value in self.run["tags"].items() if key.startswith("git_")}
        return sweep_run(tracking["uri"], tracking["experiment"], sweep["id"], sweep["name"], tags)

    def _parameters(self, client: MlflowClient) -> None:
        """The effective configuration with dotted keys, as far as it makes the run what it is."""
        from mlflow.entities import Param
        from mlflow.utils.validation import MAX_PARAM_VAL_LENGTH
        from omegaconf import OmegaConf

        config = OmegaConf.to_container(OmegaConf.load(self.folder / "config.yaml"))
        assert isinstance(config, dict)
        effective = {str(key): value for key, value in config.items() if key not in OUTSIDE}
        leaves = list(flatten(effective))
        for some in _chunks(leaves, 100):
            params = [Param(key, str(value)[:MAX_PARAM_VAL_LENGTH]) for key, value in some]
            client.log_batch(self._run_id, params=params)
        self.note(parameters=True)

    def _metrics(self, client: MlflowClient) -> None:
        file = self.folder / "metrics.jsonl"
        if not file.exists():
            return
        with open(file, "rb") as stream:
            self.receipt = self.receipt.as_far_as_true(stream)
            stream.seek(self.receipt.delivered)
            while lines := _whole_lines(stream):
                try:
                    numbers = [one for line in lines for one in _numbers(line)]
                except (ValueError, KeyError, TypeError):
                    _refuse(file)
                    raise
                for some in _chunks(numbers, 1000):
                    client.log_batch(self._run_id, metrics=some)
                self.note(marks=self.receipt.marked(stream))

    def _files(self, client: MlflowClient) -> None:
        """Upload what changed: configuration, result, plots, texts, and the table of rollouts."""
        names = ["config.yaml", "result.json", "*.png", "conversations.md", "rollouts.jsonl"]
        names += ["profile.json", "profile.md", "trace.json.gz"]
        for file in sorted(file for name in names for file in self.folder.glob(name)):
            version = file.stat().st_mtime_ns
            if self.sent.get(file.name) == version:
                continue
            if file.name == "rollouts.jsonl":
                self._table(client, file)
            elif file.name == "config.yaml":  # older versions took addresses with secrets
                client.log_text(self._run_id, redacted(file.read_text()), file.name)
            else:
                client.log_artifact(self._run_id, str(file))
            self.sent[file.name] = version

    def _table(self, client: MlflowClient, file: Path) -> None:
        """The newest rows as an MLflow table, rewritten: `log_table` would append them again."""
        count, newest = 0, deque[bytes](maxlen=TABLE_ROWS)
        with open(file, "rb") as stream:
            for line in stream:
                if line.endswith(b"\n"):
                    count += 1
                    newest.append(line)
        first = count - len(newest) + 1
        rows = [_row(line, f"{file}: line {number}") for number, line in enumerate(newest, first)]
        columns = list(dict.fromkeys(key for row in rows for key in row))
        data = [[_cell(row.get(key)) for key in columns] for row in rows]
        client.log_text(
            self._run_id, json.dumps({"columns": columns, "data": data}), "rollouts.json"
        )
        shown = json.dumps([{"path": "rollouts.json", "type": "table"}])
        client.set_tag(self._run_id, "mlflow.loggedArtifacts", shown)
        client.set_tag(self._run_id, "rollouts", f"newest {len(newest)} of {count} sampled")

    def _finish(self, client: MlflowClient) -> None:
        """Status and reason as result.json tells; without one the run was killed."""
        experiment = client.get_run(self._run_id).info.experiment_id
        find(client, experiment, self.run["id"], self._run_id)  # and nothing beside it
        names = ("result.json", "metrics.jsonl", "run.json")
        ended = next(file for name in names if (file := self.folder / name).exists())
        result = self._result()
        if result.get("reason"):
            client.set_tag(self._run_id, "reason", result["reason"][:TAG_LENGTH])
        status = STATUS[result.get("status")]
        client.set_terminated(self._run_id, status, ended.stat().st_mtime_ns // 10**6)
        self.note(finished=status)

    def _result(self) -> dict[str, Any]:
        return read_json(self.folder / "result.json") or {}

    @property
    def _run_id(self) -> str:
        assert self.receipt.run_id is not None, "open before sending"
        return self.receipt.run_id


def flatten(config: dict[str, Any], at: str = "") -> Iterator[tuple[str, Any]]:
    """Leaves with dotted keys; a list is a leaf, an empty table too."""
    for key, value in config.items():
        if isinstance(value, dict) and value:
            yield from flatten(value, f"{at}{key}.")
        else:
            yield f"{at}{key}", value


def _run(file: Path) -> dict[str, Any]:
    run = read_json(file) or {}
    tracking = run.get("tracking")
    if not isinstance(tracking, dict) or not {"id", "signature", "name", "tags"} <= run.keys():
        raise ValueError(f"{file}: is not what a run writes there; {RESTORE}")
    return run


def _row(line: bytes, what: str) -> dict[str, Any]:
    """A row of rollouts.jsonl; NaN is no JSON for a browser."""
    row = parse(line, what, RESTORE)
    return {k: None if isinstance(v, float) and not isfinite(v) else v for k, v in row.items()}


def _cell(value: Any) -> Any:
    return value if isinstance(value, str | int | float | None) else json.dumps(value)


def _numbers(line: bytes) -> Iterator[Metric]:
    from mlflow.entities import Metric

    row = json.loads(line)
    step, time_ms = row.pop("step"), round(row.pop("time") * 1000)
    for key, value in row.items():
        if isinstance(value, int | float):
            yield Metric(key, float(value), time_ms, step)


def _refuse(file: Path) -> None:
    """ValueError, naming the line of metrics.jsonl that is no line of numbers."""
    for number, line in enumerate(read_lines(file, keys=("step", "time")), 1):
        if not all(isinstance(line[key], int | float) for key in ("step", "time")):
            raise ValueError(f"{file}: line {number}: step and time are no numbers; {CUT}")


def _whole_lines(stream: BinaryIO) -> list[bytes]:
    """The next lines, at most LINES; one that is still being written is left where it is."""
    start = stream.tell()
    lines = [line for line in islice(stream, LINES) if line.endswith(b"\n")]
    stream.seek(start + sum(map(len, lines)))
    return lines


def _chunks(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    return (items[start : start + size] for start in range(0, len(items), size))
