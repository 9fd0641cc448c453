"""Every option under conf/ composes, and every key of it is used by what it configures."""

import json
import re
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import hydra
import pytest
import torch
from omegaconf import DictConfig

from rlcotrain.build import check, resolved
from rlcotrain.job import run
from tests.runs import ALONE, CONF, SMALL, competition, compose, gsm8k

GROUPS = sorted(path.name for path in CONF.iterdir() if path.is_dir() and path.name != "local")
OPTIONS = [
    f"{group}={file.relative_to(CONF / group).with_suffix('')}"
    for group in GROUPS
    for file in sorted((CONF / group).rglob("*.yaml"))
    if file.stem != "inherit"  # for phases and policies, which all have it
]
COMPETITIONS = [
    f"data={name}"
    for name in ("math", "aime", "amc", "olympiadbench", "beyond_aime", "allenai_rlvr")
]
needs_gym = pytest.mark.skipif(
    find_spec("reasoning_gym") is None, reason="the package reasoning-gym is not installed"
)
EVALUATION_ONLY = ["schedule=rl", "schedule.steps=0"]
# What an option does not go without. Options that are not here go with what conf/config.yaml says.
NEEDS = {
    "data=allenai_rlvr": ["schedule=rl"],
    **{f"data={name}": EVALUATION_ONLY for name in ("amc", "olympiadbench", "beyond_aime")},
    "data=reasoning_gym": ["schedule=rl"],
    "evaluation=pass_at_k": ["pass_at_k.split=test", "pass_at_k.num_problems=5"],
    "evaluation=verifier": ["verifier=llm"],
    "game=demonstrate": ["loss=nll", "verifier=llm", "schedule.cycle.solve.train=[verifier]"],
    "game=imitate": ["loss=nll"],
    "loss=nll": ["game=imitate"],
    "sampler=staged": ["data.stages.train=null"],
    "grader=mixed": ["data=mixed"],
    "grader=allenai_rlvr": ["data=allenai_rlvr", "schedule=rl"],
    "grader=ifeval": ["data=jsonl"],
    "grader=reasoning_gym": ["data=reasoning_gym", "schedule=rl"],
    "reward=steps": ["verifier=llm_steps"],
    "reward=tango": ["verifier=llm_steps"],
    **{
        f"schedule={name}": ["verifier=llm_steps"]
        for name in (
            *("interleaved", "interleaved_apart", "joint", "sft_then_rl", "zero_rl"),
            *("frozen_generator", "frozen_verifier"),
        )
    },
}


def needs(option: str, sums: Path, checkpoint: Path) -> Sequence[str]:
    """What an option must be given: other options, and files that only its user has."""
    group, _, name = option.partition("=")
    if group == "experiment":
        return []
    if group == "pair":
        apart = ["experiment=phase3/asymmetric"]
        if name.startswith("qwen3"):
            apart += [f"{at}.path={checkpoint}" for at in ("model", "policy.verifier.model")]
        return apart
    files: Sequence[str] = []
    if group == "model" and not name.startswith("tiny"):
        files = [f"model.path={checkpoint}"]
    elif option == "data=jsonl":
        files = [f"data.path={sums}", "data.solution_field=solution", "evaluation.num_problems=2"]
    elif option in ("grader=choice", "grader=last_letters"):
        lettered = sums.with_name("lettered.jsonl")
        lettered.write_text(re.sub(r'"answer": "\d+"', '"answer": "B"', sums.read_text()))
        files = ["data=jsonl", f"data.path={lettered}", "data.solution_field=solution"]
        files = [*files, "evaluation.num_problems=2"]
    elif option == "grader=function":
        files = ["grader.path=tests.grader.rewards.holds_answer"]
    elif option == "grader=ifeval":
        followed = sums.with_name("followed.jsonl")
        rows = [json.loads(line) for line in sums.read_text().splitlines()]
        instruction = {"answer": json.dumps({"func_name": "validate_no_commas"})}
        followed.write_text("".join(json.dumps(row | instruction) + "\n" for row in rows))
        files = [f"data.path={followed}", "data.solution_field=solution"]
        files = [*files, "evaluation.num_problems=2"]
    elif option == "data=gsm8k":
        files = [f"data.path={gsm8k(sums.parent)}"]
    elif option in ("data=mixed", "grader=mixed"):
        (folder := sums.parent / "math").mkdir()
        files = [f"data.sets.gsm8k.path={gsm8k(sums.parent)}"]
        files += [f"data.sets.math.path={competition(folder)}"]
    elif option in (*COMPETITIONS, "grader=allenai_rlvr"):
        files = [f"data.path={competition(sums.parent)}", "evaluation.num_problems=1"]
    elif option == "sampler=easy_to_hard":
        rates = sums.parent / "rates.jsonl"
        rates.write_text('{"id": "gsm8k/train/1", "n": 4, "c": 3}\n')
        files = ["data=gsm8k", f"data.path={gsm8k(sums.parent)}", f"sampler.pass_rates={rates}"]
    return [*ALONE, *NEEDS.get(option, []), *files]


@pytest.mark.parametrize(
    "option",
    [
        pytest.param(option, marks=needs_gym if option.endswith("=reasoning_gym") else ())
        for option in OPTIONS
    ],
)
def test_every_option_composes_and_passes_the_check(
    option: str, tmp_path: Path, sums: Path, checkpoint: Path
) -> None:
    words = [*SMALL, "evaluation.between_problems=1", option, *needs(option, sums, checkpoint)]
    config = compose(tmp_path, *words)
    check(config)
    assert not (tmp_path / "run").exists(), "a check writes nothing"


@pytest.mark.parametrize("option", sorted(NEEDS))
def test_what_an_option_needs_is_asked_for(option: str, tmp_path: Path) -> None:
    """Without it the check refuses, or the configuration has nothing to refer to."""
    assert option in OPTIONS
    with pytest.raises(ValueError):
        check(compose(tmp_path, *SMALL, *ALONE, option))


def test_the_bare_command_is_tango(tmp_path: Path) -> None:
    config = resolved(compose(tmp_path))
    assert config["name"] == "phase2/tango"
    assert config["roles"] == {"generator": "generator", "verifier": "verifier"}
    cycle = config["schedule"]["cycle"]
    assert (cycle["solve"]["steps"], cycle["verify"]["steps"]) == (5, 2)
    assert config["reward"]["weights"] == {"outcome": 1.0, "step": 1.0, "verdict": 1.0}
    assert config["verifier"]["steps"] is True and config["quality"] is not None


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU is here")
def test_a_gpu_that_is_not_there_is_missed_where_the_run_runs(tmp_path: Path) -> None:
    config = compose(tmp_path, *SMALL, "hardware=gpu")
    with pytest.raises(ValueError, match=r"hardware\.device=cuda: no GPU is visible here"):
        run(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("verifier", ["rule", "majority"])
def test_what_is_set_at_its_source_reaches_every_copy(tmp_path: Path, verifier: str) -> None:
    words = [*ALONE, "optimizer.lr=0.5", "model.layers=2", f"verifier={verifier}"]
    config = resolved(compose(tmp_path, *SMALL, *words))
    assert config["policy"]["generator"]["optimizer"]["lr"] == 0.5
    assert config["policy"]["generator"]["model"]["layers"] == 2
    assert config["schedule"]["cycle"]["solve"]["game"]["verifier"] == config["verifier"]
    assert config["verifier"]["_target_"].endswith(f".{verifier}.{verifier.capitalize()}")


def test_a_verifier_follows_the_generator_where_nothing_else_is_said(tmp_path: Path) -> None:
    """The same kind of model, at that model's own rate; what is said of its own goes first."""
    words = ["model=tiny_wide", "optimizer.lr=0.5"]
    policy = resolved(compose(tmp_path, *SMALL, *words))["policy"]
    assert policy["verifier"]["model"] == policy["generator"]["model"]
    assert policy["verifier"]["model"]["hidden_size"] == 160
    assert policy["verifier"]["optimizer"]["lr"] == policy["verifier"]["model"]["rates"]["verify"]
    own = [
        *words,
        "model@policy.verifier.model=tiny",
        *("policy.verifier.optimizer.lr=0.25", "schedule=interleaved_apart"),
    ]
    policy = resolved(compose(tmp_path, *SMALL, *own))["policy"]
    roles = ("generator", "verifier")
    assert [policy[name]["model"]["hidden_size"] for name in roles] == [160, 96]
    assert [policy[name]["optimizer"]["lr"] for name in roles] == [0.5, 0.25]


def test_every_phase_plays_with_the_verifier_that_was_set(tmp_path: Path) -> None:
    config = resolved(compose(tmp_path, *SMALL, "verifier.format_weight=0.3"))
    cycle = config["schedule"]["cycle"]
    for phase in (cycle["solve"], cycle["verify"], config["schedule"]["prelude"]["warmup"]):
        assert phase["game"]["verifier"]["format_weight"] == 0.3


def launcher(folder: Path, *words: str) -> DictConfig:
    """The launcher's part of the configuration, with another folder of options beside conf/."""
    given = [*words, f"hydra.searchpath=[file://{folder}]"]
    with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
        return hydra.compose("config", given, return_hydra_config=True).hydra.launcher


@pytest.mark.skipif((CONF / "local").exists(), reason="this checkout has its own conf/local")
def test_a_clusters_own_words_stand_in_one_file(tmp_path: Path) -> None:
    assert launcher(tmp_path, "hardware=slurm_h100").partition is None
    (tmp_path / "local").mkdir()
    words = "{partition: gpu, account: lab, setup: [module load cuda]}"
    text = f"# @package _global_\nhydra: {{launcher: {words}}}\n"
    (tmp_path / "local" / "slurm.yaml").write_text(text)
    for name in ("slurm_cpu", "slurm_a100", "slurm_h100", "slurm_h100x8"):
        found = launcher(tmp_path, f"hardware={name}")
        assert (found.partition, found.account, found.qos) == ("gpu", "lab", None), name
        assert found.setup == ["module load cuda"], name
    assert launcher(tmp_path, "hardware=slurm_cpu", "hydra.launcher.partition=x").partition == "x"
    assert launcher(tmp_path, "hardware=cpu").partition is None


def test_a_process_a_gpu(tmp_path: Path) -> None:
    found = launcher(tmp_path, "hardware=slurm_h100x8")
    assert (found.gpus_per_node, found.tasks_per_node, found.executor) == (8, 8, "slurm")
    one = launcher(tmp_path, "hardware=slurm_a100")
    assert (one.gpus_per_node, one.tasks_per_node) == (1, 1)
