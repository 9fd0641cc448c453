"""What does the launcher cost?  python benchmarks/sweep64.py [--points 64] [--failing 8]

On the SLURM that answers here (tests/slurm/cluster.sh start DIR): one sweep of runs of two steps, a
GPU each, 16 at once, some of which fail on purpose. Checks that the table says of every point what
became of it, with the reason of those that failed. The launcher's own cost is printed in seconds of
wall time and of its processor: checking the points, submitting them, and from the end of the last
job (a whole second of accounting) to its own; Hydra's composing of the points apart.
"""

import argparse
import csv
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from tests.sweeps import command, write_conf  # noqa: E402

PARALLEL = 16
# In the launcher's process: what Hydra's composing takes, and when this or that was done.
TIMED = """
import runpy, sys, time
sys.path.insert(0, {root!r})
sys.argv = sys.argv[1:]
def say(what):
    print("\\n" + what, time.time(), time.process_time(), flush=True)
def then_say(owner, name, what):
    function = getattr(owner, name)
    def told(*given, **more):
        try:
            return function(*given, **more)
        finally:
            say(what)
    setattr(owner, name, told)
from hydra._internal.config_loader_impl import ConfigLoaderImpl
compose, spent = ConfigLoaderImpl.load_sweep_config, [0.0, 0.0]
def timed(*given):
    began = time.monotonic(), time.process_time()
    try:
        return compose(*given)
    finally:
        spent[0] += time.monotonic() - began[0]
        spent[1] += time.process_time() - began[1]
ConfigLoaderImpl.load_sweep_config = timed
import rlcotrain.build  # what a sweep imports once, however many points
from hydra_plugins._rlcotrain_slurm import Slurm
then_say(Slurm, "submit", "submitted")
say("imported")
try:
    runpy.run_path("launch.py", run_name="__main__")
finally:
    print("composed", *spent, flush=True)
    say("ended")
"""


def grid(points: int, failing: int) -> list[str]:
    """Overrides of `points` points, `failing` of them with a rate that breaks."""
    rates = [f"{number}e-4" for number in range(1, points // failing)] + ["1e30"]
    return [
        *("hardware=slurm_cpu", "hydra.launcher.cpus_per_task=1", "hydra.launcher.mem_gb=1"),
        *("hydra.launcher.gpus_per_node=1", f"hydra.launcher.parallel={PARALLEL}"),
        *("optimizer.warmup_steps=0", f"optimizer.lr={','.join(rates)}"),
        f"seed={','.join(str(seed) for seed in range(failing))}",
    ]


def accounted(job: str) -> tuple[int, int]:
    """The most jobs of an array that ran at the same time, and the second when the last ended."""
    words = ["sacct", "-XnP", f"--jobs={job}", "--format=Start,End"]
    env = os.environ | {"SLURM_TIME_FORMAT": "%s"}
    said = subprocess.run(words, capture_output=True, text=True, check=True, env=env).stdout
    ends = [
        (int(second), change)
        for line in said.split()
        for second, change in zip(line.split("|"), (1, -1), strict=True)
    ]
    running = most = 0
    for _, change in sorted(ends):
        running += change
        most = max(most, running)
    return most, max(ends)[0]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--points", type=int, default=64)
    parser.add_argument("--failing", type=int, default=8)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "sweep"
        words = command(
            write_conf(Path(scratch) / "conf"), folder, *grid(asked.points, asked.failing)
        )
        started = time.time()
        python = [sys.executable, "-c", TIMED.format(root=str(ROOT)), *words[1:]]
        done = subprocess.run(python, cwd=ROOT, capture_output=True, text=True)
        rows = list(csv.DictReader((folder / "table.csv").open()))
        job = next(folder.glob(".submitit/*_submission.sh")).name.partition("_")[0]
        most, last = accounted(job)
    said = {
        name: tuple(map(float, values.split()))
        for name, values in re.findall(r"^([a-z]+) (\d[\d.]* \d[\d.]*)$", done.stdout, re.M)
    }
    composing, after = said["composed"], said["ended"][0] - last
    before, beside = (
        [end - begin for end, begin in zip(said[to], said[since], strict=True)]
        for to, since in (("submitted", "imported"), ("ended", "submitted"))
    )
    own = [all_of - part for all_of, part in zip(before, composing, strict=True)]
    failed = [row for row in rows if row["status"] == "failed"]
    good = (
        len(rows) == asked.points
        and len(failed) == asked.failing
        and all(
            row["optimizer.lr"] == "1e+30" and "nan at step 1" in row["reason"] for row in failed
        )
        and sum(row["status"] == "finished" for row in rows) == asked.points - asked.failing
        and done.returncode == 1
    )
    named = "yes" if good else "NO"
    print(f"{len(rows)} points, {len(failed)} failed, each with its reason: {named}")
    print(f"at most {most} at once; {said['ended'][0] - started:.0f} s in all")
    print(f"Hydra's composing: {composing[0]:.1f} s")
    print(f"checking and submitting: {own[0]:.1f} s, {own[1]:.1f} s of the processor")
    print(f"from the last job's end to the launcher's, table and picture written: {after:.1f} s")
    print(f"watching, table and picture: {beside[1]:.1f} s of the processor in {beside[0]:.0f} s")
    print(f"load of the machine: {os.getloadavg()[1]:.1f} on {os.cpu_count()} cores")
    if not good:
        print(done.stdout, done.stderr)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
