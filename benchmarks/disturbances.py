"""Do runs survive what a cluster does to them?  python benchmarks/disturbances.py [--count 20]

On the SLURM that answers here (tests/slurm/cluster.sh start DIR), as a sweep of equal runs, each
alone on its node: every run but the first is disturbed at a random step, by SIGKILL, by the signal
before a preemption, by a requeue, by a job of a higher partition, in turn. Prints a line for each
and what they come to: restarted, same final weights as the undisturbed first run, same lines in
metrics.jsonl, no step twice, and as many values in MLflow as in the folder.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

import torch  # noqa: E402

from rlcotrain import sweep  # noqa: E402
from rlcotrain.tracking import prepare  # noqa: E402
from tests.runs import timeless  # noqa: E402
from tests.slurm.disturb import KINDS  # noqa: E402
from tests.sweeps import command, write_conf  # noqa: E402

STEPS = 150
KEY = "evaluation.every"


def launch(folder: Path, count: int) -> subprocess.Popen[bytes]:
    """A launch that watches; the runs differ in an evaluation that never comes."""
    every = ",".join(str(1000 + number) for number in range(count + 1))
    words = (
        *("hardware=slurm_cpu", "hydra.launcher.cpus_per_task=1", "hydra.launcher.mem_gb=1"),
        *("hydra.launcher.gpus_per_node=8", "hydra.launcher.parallel=2"),
        *(f"schedule.steps={STEPS}", "checkpoint.every=10", f"{KEY}={every}"),
        f"tracking.uri=sqlite:///{folder}/mlflow.db",
    )
    conf = write_conf(folder / "conf")
    with (folder / "launch.log").open("wb") as log:
        return subprocess.Popen(
            command(conf, folder / "sweep", *words), cwd=ROOT, stdout=log, stderr=log
        )


def steps(folder: Path) -> int:
    file = folder / "metrics.jsonl"
    return file.read_text().count("\n") if file.exists() else 0


def disturb(folder: Path, launcher: subprocess.Popen[bytes], seed: int) -> dict[str, str]:
    """Strike each run but the first once it has come to its step; signature -> how."""
    random, struck = Random(seed), dict[str, str]()
    while not (folder / "sweep.json").exists() or not sweep.Sweep.read(folder).points:
        time.sleep(0.5)
        assert launcher.poll() is None, "the launch ended early"
    names = list(sweep.Sweep.read(folder).points)[1:]
    moments = {name: random.randint(3, STEPS // 3) for name in names}
    while launcher.poll() is None and len(struck) < len(names):
        points = sweep.Sweep.read(folder).points
        for number, name in enumerate(names):
            if name not in struck and steps(folder / name) >= moments[name]:
                kind = list(KINDS)[number % len(KINDS)]
                KINDS[kind](str(points[name].job))
                struck[name] = f"{kind} after {steps(folder / name) - 1} steps"
        time.sleep(0.05)
    return struck


def weights(folder: Path) -> dict[str, torch.Tensor]:
    state = torch.load(folder / f"checkpoints/{STEPS:06d}/state.pt", weights_only=True)
    found: dict[str, torch.Tensor] = state["policies"]["generator"]["weights"]
    return found


def values(folder: Path) -> Iterator[tuple[str, float]]:
    """Every (name, value) of metrics.jsonl that MLflow should have."""
    for line in (folder / "metrics.jsonl").read_text().splitlines():
        for key, value in json.loads(line).items():
            if key not in ("step", "time", "phase"):
                yield key, value


def in_mlflow(folder: Path, uri: str) -> int:
    """Values that MLflow has of a run's metrics, those of them with a name in the folder."""
    client, experiment = prepare(uri, "rlcotrain")
    runs = client.search_runs([experiment], f"tags.signature = '{folder.name}'")
    assert len(runs) == 1, f"{len(runs)} MLflow runs of {folder.name}"
    names = runs[0].data.metrics
    return sum(len(client.get_metric_history(runs[0].info.run_id, name)) for name in names)


def verdict(folder: Path, first: Path, uri: str) -> list[str]:
    """What is wrong with a disturbed run."""
    wrong = []
    mine, expected = weights(folder), weights(first)
    if not all(torch.equal(mine[name], expected[name]) for name in expected):
        wrong.append("other weights")
    if timeless(folder / "metrics.jsonl") != timeless(first / "metrics.jsonl"):
        wrong.append("other metrics")
    count, expected_count = in_mlflow(folder, uri), in_mlflow(first, uri)
    if count != expected_count:
        wrong.append(f"{count} values in MLflow, {expected_count} expected")
    return wrong


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--count", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        began, launcher = time.monotonic(), launch(folder, asked.count)
        try:
            struck = disturb(folder / "sweep", launcher, asked.seed)
            status = launcher.wait(3600)
        finally:
            launcher.terminate()
            for point in sweep.Sweep.read(folder / "sweep").points.values():
                subprocess.run(["scancel", "--quiet", str(point.job)], check=False)
        log = (folder / "launch.log").read_text()
        if status != 0:
            print(log)
            return 1
        points = sweep.Sweep.read(folder / "sweep").points
        first, *others = (folder / "sweep" / name for name in points)
        good = 0
        for run in others:
            wrong = verdict(run, first, f"sqlite:///{folder}/mlflow.db")
            (label,) = (word for word in points[run.name].overrides if word.startswith(KEY))
            restarts = log.count(f"{label} requeued, ")
            wrong += [] if restarts else ["not restarted"]
            good += not wrong
            print(f"{struck[run.name]}, {restarts} restarts: {'; '.join(wrong) or 'the same run'}")
        count, seconds = len(list(values(first))), time.monotonic() - began
    print(f"{good} of {len(others)} the same; {count} values each, {seconds:.0f} s in all")
    return 0 if good == len(others) else 1


if __name__ == "__main__":
    sys.exit(main())
