"""Whole runs small enough for a test: composed in process, a second each."""

import json
from pathlib import Path
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

CONF = Path(__file__).parents[1] / "conf"
# A model that learns nothing, and as little of everything else as there can be.
TINY = (
    *("model.layers=1", "model.hidden_size=32", "model.intermediate_size=64"),
    *("model.heads=1", "model.key_value_heads=1"),
)
# The same for a verifier that is a model, and little of what is asked of it.
PAIR = (
    *TINY,
    *(f"policy.verifier.{word}" for word in TINY),
    *("verifier.max_tokens=16", "quality.num_solutions=6", "quality.between_solutions=4"),
)
# No experiment: what conf/config.yaml itself chooses, one model and a rule.
ALONE = ("~experiment", "name=alone")
SMALL = (
    *("evaluation.num_problems=20", "evaluation.between_problems=10", "sampling.max_tokens=16"),
    *("tracking=none", "hardware.threads=1", "export=false"),
)


def compose(folder: Path, *words: str) -> DictConfig:
    """The configuration of these overrides, as `python launch.py` would hand it to the job."""
    given = [f"folder={folder}/run", f"cache_dir={folder}/cache"]
    given = [*given, f"budget.ledger={folder}/ledger.jsonl", *words]
    with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
        config = hydra.compose("config", given, return_hydra_config=True)
    task = OmegaConf.masked_copy(config, [key for key in config if key != "hydra"])
    HydraConfig.instance().set_config(config)
    try:  # follow what only Hydra can: nothing of it is left behind
        task.name, task.tracking.uri = task.name, task.tracking.uri
    finally:
        HydraConfig.instance().cfg = None
    return task


def lines(file: Path) -> list[dict[str, Any]]:
    """The lines of a .jsonl file."""
    return [json.loads(line) for line in file.read_text().splitlines()]


def timeless(file: Path) -> list[dict[str, Any]]:
    """The lines without what a clock said."""
    return [
        {key: value for key, value in line.items() if "time" not in key.split("/")}
        for line in lines(file)
    ]


def gsm8k(folder: Path) -> Path:
    """A folder with 20 problems as GSM8K has them, to train on and to be tested on."""
    for split, first in (("train", 0), ("test", 20)):
        numbers = range(first, first + 20)
        rows = [f'{{"question": "{n}+1?", "answer": "#### {n + 1}"}}\n' for n in numbers]
        (folder / f"{split}.jsonl").write_text("".join(rows))
    return folder


def competition(folder: Path) -> Path:
    """A folder of worked sums in the files, and with the fields, of conf/data's competitions."""
    trained = ("train.jsonl", "aime_1983_2023.jsonl")
    tested = ("test.jsonl", "aime24.jsonl", "amc23.jsonl", "olympiadbench.jsonl")
    for start, names in ((0, trained), (20, (*tested, "beyond_aime.jsonl"))):
        rows = [
            {
                "problem": f"{n}+1?",
                "answer": str(n + 1),
                "final_answer": [str(n + 1)],
                "solution": f"It is $\\boxed{{{n + 1}}}$.",
                "level": f"Level {1 + n % 2}",
                "type": "Prealgebra",
                "id": n,
                "messages": [{"role": "user", "content": f"{n}+1?"}],
                "ground_truth": str(n + 1),
                "dataset": "MATH",
            }
            for n in range(start, start + 20)
        ]
        for name in names:
            (folder / name).write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder
