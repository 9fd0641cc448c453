"""Does the bare command teach both roles, on every seed?  python benchmarks/learning.py [--seeds 5]

Runs `python launch.py seed=N` from nothing, no kept prelude, one after another, each in a process
of its own. Prints wall time and, with 95 % intervals, held-out accuracy of the generator and the
verifier's metrics before and after. What is asked of a seed: at most 180 s; the generator's rise;
balanced accuracy, F1 and contested-step score of the verifier, greedy and sampled, not below their
start; at most 0.2 of wrong solutions accepted greedily. "Clearly above": the interval of the paired
change lies above 0 for all three, sampled, and for none of the six below 0.
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
RISE = {"sampled": 0.4, "greedy": 0.5}  # of held-out accuracy
SECONDS = 180.0
FALSE_POSITIVES = 0.2
METRICS = ("balanced_accuracy", "f1", "contested_score")


def run_seed(seed: int, folder: Path, words: list[str]) -> tuple[float, dict[str, Any], str]:
    """(wall seconds of the whole command, its result, what it printed)."""
    began = time.monotonic()
    given = [f"seed={seed}", f"folder={folder}/{seed}", f"cache_dir={folder}/cache"]
    given += [f"tracking.uri=sqlite:///{folder}/mlflow.db", *words]
    done = subprocess.run(
        [sys.executable, "launch.py", *given], cwd=ROOT, check=True, capture_output=True, text=True
    )
    result: dict[str, Any] = json.loads((folder / str(seed) / "result.json").read_text())
    return time.monotonic() - began, result, done.stdout


def judged(seconds: float, result: dict[str, Any]) -> dict[str, bool]:
    """What a seed has reached, by name."""
    rises = {mode: result["accuracy"]["change"][mode]["mean"] for mode in RISE}
    verifier = result["verifier"]
    changes = {
        f"{name}/{mode}": verifier["change"][f"{name}/{mode}"] for name in METRICS for mode in RISE
    }
    sampled = [changes[f"{name}/sampled"] for name in METRICS]
    return {
        "in time": seconds <= SECONDS,
        "generator rises": all(rises[mode] >= RISE[mode] for mode in RISE),
        "verifier not below its start": all(one["mean"] >= 0 for one in changes.values()),
        "verifier clearly above": all(one["low"] > 0 for one in sampled)
        and all(one["high"] >= 0 for one in changes.values()),
        "few false positives": verifier["final"]["verifier/false_positive_rate/greedy"]
        < FALSE_POSITIVES,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("words", nargs="*", help="overrides of the configuration")
    given = parser.parse_args()
    reached: list[dict[str, bool]] = []
    for seed in range(given.seeds):
        with tempfile.TemporaryDirectory() as folder:
            seconds, result, printed = run_seed(seed, Path(folder), given.words)
        reached.append(judged(seconds, result))
        lines = [
            line for line in printed.splitlines() if line.startswith(("generator", "verifier"))
        ]
        missed = [name for name, holds in reached[-1].items() if not holds]
        print(f"seed {seed}, {seconds:.1f} s, missed: {', '.join(missed) or 'nothing'}")
        print("\n".join(f"  {line}" for line in lines), flush=True)
    for name in reached[0]:
        print(f"{name}: {sum(one[name] for one in reached)} of {given.seeds} seeds")
    needed = [holds for one in reached for name, holds in one.items() if "clearly" not in name]
    clearly = sum(one["verifier clearly above"] for one in reached)
    sys.exit(not all(needed) or clearly < 0.8 * given.seeds)


if __name__ == "__main__":
    main()
