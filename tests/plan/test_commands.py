"""The plan as a user asks for it: nothing is started, nothing is left behind."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from rlcotrain.plan.recorded import CALIBRATION
from tests.runs import TINY

ROOT = Path(__file__).parents[2]
WORDS = (
    *("experiment=phase1/nanochat_grpo", "loss=grpo", "schedule=rl", "schedule.steps=4", *TINY),
    *("schedule.cycle.solve.num_prompts=2", "sampling.max_tokens=4", "evaluation.num_problems=4"),
    *("evaluation.between_problems=4", "tracking=none", "export=false"),
)


def launch(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """`python launch.py` with its records and its sweep in `folder`."""
    places = (f"estimate.runs=[{folder}]", f"budget.ledger={folder}/ledger", f"folder={folder}/run")
    places = (*places, f"cache_dir={folder}/cache", f"hydra.sweep.dir={folder}/sweep")
    command = [sys.executable, "launch.py", *words, *WORDS, *places]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)


def test_a_plan_starts_nothing_then_calibrates_then_knows(tmp_path: Path) -> None:
    sweep = ("-m", "seed=1,2", "hardware.threads=1")
    done = launch(tmp_path, *sweep, "dry_run=true")
    assert done.returncode == 0, done.stderr
    assert "2 points, 0 finished already" in done.stdout
    assert "seed=2  4 solve  this process  unknown" in done.stdout
    assert "no recorded run is like it" in done.stdout
    assert "estimate: none, 0 of 2 runs are known; estimate.calibrate=true" in done.stdout
    assert list(tmp_path.iterdir()) == []

    done = launch(tmp_path, *sweep, "dry_run=true", "estimate.calibrate=true")
    assert done.returncode == 0, done.stderr
    assert "calibration of seed=1" in done.stdout and "calibration of seed=2" not in done.stdout
    assert " s with 1 at once, " in done.stdout and "a calibration" in done.stdout
    (result,) = (tmp_path / CALIBRATION).glob("*/result.json")
    assert json.loads(result.read_text())["steps"] == 3
    assert not (tmp_path / "sweep").exists() and not (tmp_path / "run").exists()

    done = launch(tmp_path, "dry_run=true")
    assert done.returncode == 0 and "1 recorded run, a calibration" in done.stdout
    assert not (tmp_path / "run").exists()


def test_the_script_is_shown_where_there_is_no_slurm(tmp_path: Path) -> None:
    asked = ("hardware=slurm_h100", "hydra.launcher.parallel=2", "hydra.launcher.partition=p7")
    done = launch(tmp_path, "-m", "seed=1,2,3", *asked, "dry_run=true")
    assert done.returncode == 0, done.stderr
    assert "1 node, 1 GPU each, 12 CPUs a task, 96 GB, 1440 min  unknown" in done.stdout
    lines = {
        *("#SBATCH --array=0-2%2", "#SBATCH --gpus-per-node=1", "#SBATCH --partition=p7"),
        *("#SBATCH --time=1440", "#SBATCH --job-name=sweep"),
    }
    assert lines <= set(done.stdout.splitlines())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("many", [True, False])
def test_a_sweep_above_a_limit_is_one_line_and_nothing_else(tmp_path: Path, many: bool) -> None:
    limit = ("hardware=gpu", "hardware.price_per_gpu_hour=2", "budget.max_usd=5")
    done = launch(tmp_path, *(("-m", "seed=1,2") if many else ()), *limit)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert "budget.max_usd=5: cannot be held, no recorded run tells how long" in line
    assert not (tmp_path / "run").exists() and not (tmp_path / "ledger").exists()
