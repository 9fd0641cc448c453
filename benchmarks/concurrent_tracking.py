"""Does a sweep of 32 lose anything on its way to MLflow?  python benchmarks/concurrent_tracking.py

32 processes at once write a run folder of 100 steps each, every one with the mirror beside it that
a training has, a second a step: to an SQLite file, to a `mlflow server`, and to a server that is
killed while they run and started again. Then every run, parameter, metric value (with its step and
time) and file in MLflow is compared with the folders. `make sync` follows where a mirror gave up.
"""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
RUNS, STEPS, STEP_S = 32, 100, 1.0
METRICS = 20
EXPERIMENT = "concurrent"
SWEEP = {"id": "concurrent", "name": "concurrent"}
SECONDS_TO_DELIVER = 300.0  # 64 processes start on however few cores there are


def write_run(folder: Path, uri: str, parent: str) -> None:
    """What a training does for its records, without the training."""
    from omegaconf import OmegaConf

    from rlcotrain.files import write_json
    from rlcotrain.record import Record
    from rlcotrain.tracking import Mirror

    number = int(folder.name)
    tracking = {"uri": uri, "experiment": EXPERIMENT, "parent": parent, "sweep": SWEEP}
    record = Record(folder, rollouts=0)
    record.open(f"{number:012d}", folder.name, {"seed": folder.name}, tracking)
    config = {"seed": number, "optimizer": {"lr": number / 7, "betas": [0.9, 0.95]}}
    OmegaConf.save(OmegaConf.create(config), folder / "config.yaml")
    mirror = Mirror(folder)
    mirror.start()
    for step in range(STEPS):
        values = {f"generator/m{i}": (number + 1) * (step + 1) / (i + 3) for i in range(METRICS)}
        record.line("solve", step, values)
        time.sleep(STEP_S)
    write_json(folder / "result.json", {"status": "finished", "reason": None})
    reason = mirror.close(SECONDS_TO_DELIVER)
    if reason is not None:
        print(f"left to make sync: {reason}", flush=True)


def differences(folder: Path, client: Any, experiment: str) -> Iterator[str]:
    """What MLflow has of a run that its folder has not, and the other way round."""
    from omegaconf import OmegaConf

    from rlcotrain.files import read_lines
    from rlcotrain.tracking.delivery import flatten
    from rlcotrain.tracking.store import IDENTITY

    run = json.loads((folder / "run.json").read_text())
    found = client.search_runs([experiment], f"tags.`{IDENTITY}` = '{run['id']}'")
    if len(found) != 1:
        yield f"{len(found)} runs"
        return
    (mirrored,) = found
    if mirrored.info.status != "FINISHED" or not mirrored.data.tags.get("mlflow.parentRunId"):
        yield f"status {mirrored.info.status}, parent {mirrored.data.tags}"
    config = OmegaConf.to_container(OmegaConf.load(folder / "config.yaml"))
    assert isinstance(config, dict)
    if mirrored.data.params != {key: str(value) for key, value in flatten(config)}:
        yield f"parameters {mirrored.data.params}"
    lines = list(read_lines(folder / "metrics.jsonl"))
    for i in range(METRICS):
        key = f"generator/m{i}"
        history = client.get_metric_history(mirrored.info.run_id, key)
        stored = sorted((one.step, one.value, one.timestamp) for one in history)
        if stored != [(line["step"], line[key], round(line["time"] * 1000)) for line in lines]:
            yield f"{key}: {len(stored)} of {len(lines)} values"
    for name in ("config.yaml", "result.json"):
        with tempfile.TemporaryDirectory() as place:
            copy = client.download_artifacts(mirrored.info.run_id, name, place)
            if Path(copy).read_bytes() != (folder / name).read_bytes():
                yield f"{name} differs"


@contextlib.contextmanager
def server(folder: Path, port: int) -> Iterator[None]:
    """A `mlflow server` with its store in `folder`; it and its workers end by SIGKILL."""
    words = ["server", "--port", str(port), "--backend-store-uri", f"sqlite:///{folder}/server.db"]
    words += ["--artifacts-destination", str(folder / "artifacts")]
    with open(folder / "server.log", "ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "mlflow", *words], stdout=log, stderr=log, start_new_session=True
        )
    try:
        while not _answers(f"http://127.0.0.1:{port}/health"):
            assert process.poll() is None, f"see {folder}/server.log"
            time.sleep(0.5)
        yield
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as reply:
            return bool(reply.status == 200)
    except OSError:
        return False


def start(folder: Path, uri: str) -> list[subprocess.Popen[bytes]]:
    """The processes that write, all at once, below a sweep that the launcher has made."""
    from rlcotrain.tracking import open_sweep

    parent = open_sweep(uri, EXPERIMENT, *SWEEP.values(), {})
    command = [sys.executable, __file__, "write"]
    return [
        subprocess.Popen([*command, str(folder / str(number)), uri, parent])
        for number in range(RUNS)
    ]


def receipts(folder: Path) -> list[Any]:
    """How far each run's delivery has come."""
    from rlcotrain.tracking.receipt import Receipt

    return [Receipt.read(folder / str(number)) for number in range(RUNS)]


def end(name: str, folder: Path, uri: str, writers: list[subprocess.Popen[bytes]]) -> None:
    """Wait for the writers, deliver what is left, compare, and print a line."""
    from rlcotrain.tracking import prepare

    assert [writer.wait() for writer in writers] == [0] * RUNS
    live = sum(receipt.finished == "FINISHED" for receipt in receipts(folder))
    command = [sys.executable, "-m", "rlcotrain.tracking", "sync", str(folder)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    client, experiment = prepare(uri, EXPERIMENT)
    lost = [
        f"{number}: {words}"
        for number in range(RUNS)
        for words in differences(folder / str(number), client, experiment)
    ]
    extra = len(client.search_runs([experiment])) - RUNS - 1  # the sweep's own run
    print(
        f"{name}: {RUNS} runs of {STEPS} steps, {RUNS * STEPS * METRICS} values; {live} delivered "
        f"live, {RUNS - live} by make sync; {len(lost)} differences, {extra} runs too many",
        flush=True,
    )
    print("\n".join(lost), end="\n" if lost else "")


def main() -> None:
    for name in sys.argv[1:] or ("SQLite", "server", "server killed and restarted"):
        with tempfile.TemporaryDirectory() as place, contextlib.ExitStack() as running:
            folder, uri = Path(place), f"sqlite:///{place}/mlflow.db"
            if name != "SQLite":
                with socket.socket() as free:
                    free.bind(("127.0.0.1", 0))
                    port = free.getsockname()[1]
                uri = f"http://127.0.0.1:{port}"
                first = running.enter_context(contextlib.ExitStack())
                first.enter_context(server(folder, port))
            writers = start(folder, uri)
            if name == "server killed and restarted":
                while sum(receipt.delivered > 0 for receipt in receipts(folder)) < RUNS / 2:
                    time.sleep(0.5)
                first.close()
                time.sleep(10)
                running.enter_context(server(folder, port))
            end(name, folder, uri, writers)


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    os.environ["PYTHONPATH"] = str(ROOT)
    if sys.argv[1:2] == ["write"]:
        write_run(Path(sys.argv[2]), *sys.argv[3:])
    else:
        main()
