"""Every experiment file trains two steps of each of its phases, on a model that learns nothing."""

import json
from pathlib import Path

import pytest
from omegaconf import DictConfig, OmegaConf

from rlcotrain.job import run
from tests.runs import CONF, SMALL, TINY, compose, lines

EXPERIMENTS = sorted(path.stem for path in (CONF / "experiment").glob("*.yaml"))


def shortened(config: DictConfig) -> DictConfig:
    """The configuration with two steps in every phase, two of its turns, and few rows."""
    for part in ("prelude", "cycle"):
        for phase in config.schedule[part].values():
            phase.steps = 2
            phase.num_prompts = max(4, phase.loss.minibatches)
            phase.group_size = min(phase.group_size, 4)
    config.schedule.steps = 2 * len(config.schedule.cycle)
    return config


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_experiment_trains_two_steps_of_each_phase(name: str, tmp_path: Path) -> None:
    config = shortened(compose(tmp_path, *SMALL, *TINY, f"experiment={name}"))
    folder = tmp_path / "run"
    assert 0 <= run(config, folder) <= 1
    result = json.loads((folder / "result.json").read_text())
    assert result["status"] == "finished" and result["reason"] is None
    assert result["steps"] == config.schedule.steps and result["seconds"] > 0
    for moment in ("start", "final"):
        for mode in ("sampled", "greedy"):
            found = result["accuracy"][moment][mode]
            assert 0 <= found["low"] <= found["mean"] <= found["high"] <= 1
            assert found["count"] == 20
    trained = [line["phase"] for line in lines(folder / "metrics.jsonl")]
    for phase in [*config.schedule.prelude, *config.schedule.cycle]:
        assert trained.count(phase) == 2
    assert OmegaConf.load(folder / "config.yaml").name == name
