"""What does the launcher cost?  python benchmarks/sweep64.py [--points 64] [--failing 8]

On the SLURM that answers here (tests/slurm/cluster.sh start DIR): one sweep of runs of two steps, a
GPU each, 16 at once, some of which fail on purpose. Checks that every point is in the table with
what became of it, and prints the launcher's own seconds: its processor time, and the wall time that
is neither Hydra's composing and checking nor the jobs' own.
"""

import argparse
import csv
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from rlcotrain import sweep  # noqa: E402
from tests.sweeps import command, write_conf  # noqa: E402

RATES = ("1e-3", "1e30")  # the second makes the loss nan at its second step
PARALLEL = 16


def words(points: int, failing: int) -> list[str]:
    """Overrides of a grid of `points`, `failing` of them with a rate that breaks."""
    rates = [f"{1 + number / 1000}e-3" for number in range(points // failing - 1)] + ["1e30"]
    return [
        *("hardware=slurm_cpu", "hydra.launcher.cpus_per_task=1", "hydra.launcher.mem_gb=1"),
        *("hydra.launcher.gpus_per_node=1", f"hydra.launcher.parallel={PARALLEL}"),
        *("optimizer.warmup_steps=0", f"optimizer.lr={','.join(rates)}"),
        f"seed={','.join(str(seed) for seed in range(failing))}",
    ]


def spent() -> float:
    """Processor seconds of the processes that were waited for."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--points", type=int, default=64)
    parser.add_argument("--failing", type=int, default=8)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        conf, grid = write_conf(folder / "conf"), words(asked.points, asked.failing)
        began, before = time.time(), spent()
        done = subprocess.run(
            command(conf, folder / "sweep", *grid), cwd=ROOT, capture_output=True, text=True
        )
        ended, processor = time.time(), spent() - before
        rows = sweep.read(folder / "sweep")
        submitted = (folder / "sweep" / "submitted").stat().st_mtime
    return 0
