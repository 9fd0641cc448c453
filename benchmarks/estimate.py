"""How far off is the plan of a sweep?  python benchmarks/estimate.py

Ten small sweeps of the embedded task, one after another, each planned and then run by the command
line. What the first have taken is what the plans of the later ones know; where none tells, the plan
calibrates. Compared are the wall time from the first process to the last, and CPU core-hours.

A plan cannot know what else a machine will do. `load` is wall seconds a CPU second of the steps of
a sweep, and the last columns are the errors if it had been what it was in the runs before.
"""

import subprocess
import sys
import tempfile
from collections.abc import Mapping
from itertools import product
from pathlib import Path
from statistics import median
from typing import Any

ROOT = Path(__file__).parents[1]
ALONE = ("experiment=phase1/nanochat_grpo", "loss=grpo")
BOTH = ("experiment=phase2/tango",)
LOCAL = ("hardware=submitit_local",)  # two at once
SWEEPS: dict[str, tuple[tuple[str, ...], dict[str, list[str]]]] = {
    "losses": (("experiment=phase1/nanochat_grpo",), {"loss": ["grpo", "drgrpo"]}),
    "rates": (ALONE, {"optimizer.lr": ["1e-4", "3e-4", "1e-3"]}),
    "seeds, two at once": ((*ALONE, *LOCAL), {"seed": ["1", "2", "3"]}),
    "problems a step": (ALONE, {"schedule.cycle.solve.num_prompts": ["8", "32"]}),
    "group sizes": (ALONE, {"schedule.cycle.solve.group_size": ["4", "16"]}),
    "alpha, both learn": (BOTH, {"reward.alpha": ["0.1", "0.5"]}),
    "seeds, both learn, two at once": ((*BOTH, *LOCAL), {"seed": ["1", "2"]}),
    "Ng, both learn": (BOTH, {"schedule.cycle.solve.steps": ["1", "3", "5"]}),
    "KL weights": (ALONE, {"loss.beta": ["0.001", "0.04"]}),
    "model sizes": (ALONE, {"model": ["tiny", "tiny_wide"]}),
}
ERRORS = ("wall error", "core error", "wall error, equal load", "core error, equal load")
SMALL = (
    *("schedule.prelude.pretrain.steps=30", "schedule.prelude.imitate.steps=30"),
    *("schedule.steps=10", "evaluation.num_problems=60", "evaluation.between_problems=30"),
    *("tracking=none", "export=false"),
)
SMALL_BOTH = (
    *(
        *("schedule.prelude.judge_short.steps=30", "schedule.prelude.judge.steps=60"),
        "quality.num_solutions=20",
        "quality.between_solutions=10",
    ),
)


def planned(words: list[str], grid: Mapping[str, list[str]], folder: Path, width: int) -> Any:
    """The plan that `python launch.py -m ... dry_run=true` shows."""
    from rlcotrain.build import resolved
    from rlcotrain.plan.ahead import look_ahead
    from tests.runs import compose

    def calibrated(labels: object) -> None:
        raise AssertionError("the command line has calibrated")

    configs = {}
    for values in product(*grid.values()):
        point = [f"{key}={value}" for key, value in zip(grid, values, strict=True)]
        configs[" ".join(point)] = resolved(compose(folder, *words, *point))
    return look_ahead(configs, width, width > 1, calibrated)


def measured(folder: Path) -> tuple[float, float]:
    """Wall seconds from the first process of a sweep to the end of its last, and core-seconds."""
    from rlcotrain.plan.lives import FILE, read

    lives = [life for file in folder.glob(f"*/{FILE}") for life in read(file.parent)]
    began = min(life.began - (life.startup or 0.0) for life in lives)
    return max(life.ended or 0.0 for life in lives) - began, sum(life.seconds for life in lives)


def load(out: Path) -> float:
    """Wall seconds a CPU second, over the steps of all runs below a folder."""
    from rlcotrain.files import read_lines

    seconds = {"step": 0.0, "cpu": 0.0}
    for file in out.rglob("metrics.jsonl"):
        if "cache" in file.parts:
            continue
        for line in read_lines(file):
            for clock in seconds:
                found = line.get(f"time/{clock}", line.get(f"{line['phase']}/time/{clock}", 0.0))
                seconds[clock] += found
    return seconds["step"] / seconds["cpu"]


def one_sweep(number: int, name: str, out: Path) -> list[float]:
    """Plan a sweep, run it; errors of wall time and core-hours, then at equal load, of the true."""
    options, grid = SWEEPS[name]
    folder = out / f"sweep{number}"
    given = [*options, *SMALL, *(SMALL_BOTH if options[0] == BOTH[0] else ())]
    given += [f"cache_dir={out}/cache", f"estimate.runs=[{out}]", f"budget.ledger={out}/ledger"]
    over = [f"{key}={','.join(values)}" for key, values in grid.items()]
    command = [sys.executable, "launch.py", "-m", *given, *over, f"hydra.sweep.dir={folder}"]
    ahead = [*command, "dry_run=true", "estimate.calibrate=true"]
    said = subprocess.run(ahead, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    source = "a calibration" if "calibration" in said else "recorded runs"
    plan, before = planned(given, grid, out, 2 if LOCAL[0] in options else 1), load(out)
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    wall, cores = measured(folder)
    slower = load(folder) / before
    errors = [
        1 - plan.wall / wall,
        1 - plan.cpu_hours * 3600 / cores,
        1 - plan.wall * slower / wall,
        1 - plan.cpu_hours * 3600 * slower / cores,
    ]
    shown = " | ".join(f"{error:+.0%}" for error in errors)
    print(
        f"| {name} | {len(plan.configs)} | {source} | {plan.wall:.0f} | {wall:.0f} | "
        f"{plan.cpu_hours * 3600:.0f} | {cores:.0f} | {load(folder):.2f} | {shown} |",
        flush=True,
    )
    return errors


def all_sweeps(out: Path) -> None:
    columns = ["wall s, plan", "true", "core s, plan", "true", "load", *ERRORS]
    print("| " + " | ".join(["sweep", "runs", "from", *columns]) + " |")
    print("|---" * (3 + len(columns)) + "|")
    found = [one_sweep(number, name, out) for number, name in enumerate(SWEEPS)]
    for what, errors in zip(ERRORS, zip(*found, strict=True), strict=True):
        sizes = [abs(error) for error in errors]
        print(f"{what}: median error {median(sizes):.0%}, worst {max(sizes):.0%}")


def main() -> None:
    sys.path.insert(0, str(ROOT))
    with tempfile.TemporaryDirectory() as folder:
        all_sweeps(Path(folder))


if __name__ == "__main__":
    main()
