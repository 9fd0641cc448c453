"""Does the bare command learn, on every seed?  python benchmarks/learning.py [--seeds 5]

Runs `python launch.py seed=N` from nothing, no kept prelude, one after another, each in a process
of its own, and prints wall time, held-out accuracy before and after with 95 % intervals, and the
verifier's contested-step score.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
TARGET = {"sampled": 0.4, "greedy": 0.5}  # rise of held-out accuracy
TARGET_SECONDS = 180.0
CONTESTED = "verifier/contested_score/sampled"


def run_seed(seed: int, folder: Path) -> tuple[float, dict[str, Any]]:
    """(wall seconds of the whole command, its result)."""
    began = time.monotonic()
    words = [f"seed={seed}", f"folder={folder}/{seed}", f"cache_dir={folder}/cache"]
    subprocess.run(
        [sys.executable, "launch.py", *words, f"tracking.uri=sqlite:///{folder}/mlflow.db"],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    result: dict[str, Any] = json.loads((folder / str(seed) / "result.json").read_text())
    return time.monotonic() - began, result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=5)
    reached = 0
    seeds = parser.parse_args().seeds
    for seed in range(seeds):
        with tempfile.TemporaryDirectory() as folder:
            seconds, result = run_seed(seed, Path(folder))
        accuracy = result["accuracy"]
        rises = {mode: accuracy["change"][mode]["mean"] for mode in TARGET}
        first, last = (result["verifier"][moment][CONTESTED] for moment in ("start", "final"))
        learned = all(rises[m] >= TARGET[m] for m in TARGET) and last > first
        good = seconds <= TARGET_SECONDS and learned
        reached += good
        words = [f"{mode} {spoken(accuracy, mode)}" for mode in TARGET]
        words.append(f"contested {first:.2f} -> {last:.2f}")
        print(f"seed {seed}  {seconds:5.1f} s  {'  '.join(words)}", flush=True)
    print(
        f"{reached} of {seeds} seeds reach {TARGET} and a better verifier in {TARGET_SECONDS:.0f} s"
    )
    sys.exit(reached != seeds)


def spoken(accuracy: dict[str, Any], mode: str) -> str:
    """`0.058 -> 0.607 (+0.549 [+0.516, +0.582])`."""
    start, final = (accuracy[moment][mode]["mean"] for moment in ("start", "final"))
    change = accuracy["change"][mode]
    return (
        f"{start:.3f} -> {final:.3f} "
        f"({change['mean']:+.3f} [{change['low']:+.3f}, {change['high']:+.3f}])"
    )


if __name__ == "__main__":
    main()
