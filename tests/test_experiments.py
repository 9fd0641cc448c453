"""Every experiment file trains two steps of each of its phases, on a model that learns nothing."""

import json
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import hydra
import pytest
from omegaconf import DictConfig, OmegaConf

from rlcotrain.build import check
from rlcotrain.job import run
from tests.runs import CONF, PAIR, SMALL, TINY, compose, gsm8k, lines

FOLDER = CONF / "experiment"
FEW = ("quality.num_solutions=6", "quality.between_solutions=4")
EXPERIMENTS = sorted(
    str(path.relative_to(FOLDER).with_suffix("")) for path in FOLDER.rglob("*.yaml")
)


def shortened(config: DictConfig) -> DictConfig:
    """The configuration with two steps in every phase, a round of its cycle, and few rows."""
    for part in ("prelude", "cycle"):
        for phase in config.schedule[part].values():
            phase.steps = 2 if phase.steps else 0
            phase.num_prompts = max(4, phase.loss.minibatches)
            phase.group_size = min(phase.group_size, 4)
            phase.verifications = min(phase.get("verifications", 1), 2)
            if phase.get("optimizer"):
                phase.optimizer.warmup_steps = 0
    config.schedule.steps = 2
    return config


def words(name: str) -> list[str]:
    """Of the smallest run of an experiment; those of a verifier, only where it has one."""
    with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
        config = hydra.compose("config", [f"experiment={name}"])
    small = PAIR if "verifier" in config.policy else TINY
    return [*SMALL, *small, "checkpoint.every=1000", f"experiment={name}"]


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_experiment_trains_two_steps_of_each_phase(name: str, tmp_path: Path) -> None:
    config = shortened(compose(tmp_path, *words(name)))
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
    found = lines(folder / "metrics.jsonl")
    for phase, node in [*config.schedule.prelude.items(), *config.schedule.cycle.items()]:
        mine = [line for line in found if line["phase"] == phase]
        assert [line["step"] for line in mine] == list(range(node.steps))
        for role, line in product(node.train, mine):
            prefix = f"{phase}/" if phase in config.schedule.prelude else ""
            assert line[f"{prefix}{role}/updates_skipped"] == 0
            assert line[f"{prefix}{role}/optimizer_steps"] >= 1
    assert OmegaConf.load(folder / "config.yaml").name == name


def grid(name: str) -> dict[str, str]:
    """What an experiment's file sweeps over, as the command line would say it."""
    with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
        config = hydra.compose("config", [f"experiment={name}"], return_hydra_config=True)
    if config.hydra.mode is None or config.hydra.mode.name != "MULTIRUN":
        return {}
    found: dict[str, Any] = OmegaConf.to_container(config.hydra.sweeper.params, resolve=False)  # type: ignore[assignment]
    return {key: str(value) for key, value in found.items()}


GRIDS = {
    "phase2/alpha_ablation": {"reward.alpha": ["0.1", "0.3", "0.5", "1.0"]},
    "phase2/lr_beta": {
        "optimizer.lr": ["${model.rates.low}", "${model.rates.rl}", "${model.rates.high}"],
        "loss.beta": ["0.0", "0.001", "0.04"],
    },
    "phase2/schedule_ablation": {
        "schedule.cycle.solve.steps": ["1", "3", "5", "10"],
        "schedule.cycle.verify.steps": ["1"],
    },
    "phase3/asymmetric": {"pair": ["large_generator", "large_verifier"]},
    "phase3/zero_rl": {"schedule": ["zero_rl", "sft_then_rl"]},
}


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_an_ablation_is_one_command(name: str) -> None:
    found = {key: values.split(",") for key, values in grid(name).items()}
    assert found == GRIDS.get(name, {})


def points() -> Iterator[tuple[str, ...]]:
    for name, axes in GRIDS.items():
        for values in product(*axes.values()):
            assigned = [f"{key}={value}" for key, value in zip(axes, values, strict=True)]
            yield f"experiment={name}", *assigned


@pytest.mark.parametrize("point", [*points()], ids=" ".join)
def test_every_point_of_a_grid_passes_the_check(point: tuple[str, ...], tmp_path: Path) -> None:
    config = compose(tmp_path, *SMALL, *FEW, *point)
    parts = check(config)
    assert parts.schedule.total > 0
    for word in point[1:]:
        key, _, value = word.partition("=")
        if "." in key and "$" not in value:
            assert OmegaConf.select(config, key) == float(value), "what is swept arrives"


def test_rates_of_a_grid_are_those_of_the_model(tmp_path: Path) -> None:
    for rate in ("low", "rl", "high"):
        word = f"optimizer.lr=${{model.rates.{rate}}}"
        config = compose(tmp_path, *SMALL, "experiment=phase2/lr_beta", word)
        expected = config.model.rates[rate]
        assert config.policy.generator.optimizer.lr == expected
        assert config.policy.verifier.optimizer.lr == config.model.rates.verify, "it is not swept"


@pytest.mark.parametrize("name", ["phase1/nanochat_grpo", "phase1/fixed_verifier", "phase2/tango"])
def test_an_experiment_goes_to_gsm8k_by_model_and_data_alone(
    name: str, tmp_path: Path, checkpoint: Path
) -> None:
    given = ["model=qwen3_0.6b", "data=gsm8k", f"data.path={gsm8k(tmp_path)}"]
    given.append(f"model.path={checkpoint}")
    if name != "phase1/nanochat_grpo":
        given.append(f"policy.verifier.model.path={checkpoint}")
    parts = check(compose(tmp_path, *SMALL, f"experiment={name}", *given))
    learned = {name for phase in parts.schedule.prelude for name in phase.train}
    assert learned <= {"verifier"}, "the generator brings the skill along"
