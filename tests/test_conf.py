"""Every option under conf/ composes, and every key of it is used by what it configures."""

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

from rlcotrain.build import check, resolved
from rlcotrain.job import run
from tests.runs import CONF, SMALL, compose

GROUPS = sorted(path.name for path in CONF.iterdir() if path.is_dir() and path.name != "local")
OPTIONS = [
    f"{group}={file.relative_to(CONF / group).with_suffix('')}"
    for group in GROUPS
    for file in sorted((CONF / group).rglob("*.yaml"))
]


def needs(option: str, sums: Path, checkpoint: Path) -> Sequence[str]:
    """What an option must be given: files that only its user has."""
    if option == "game=imitate":
        return ["loss=nll"]
    if option == "loss=nll":
        return ["game=imitate"]
    if option.startswith("model=") and option != "model=tiny":
        return [f"model.path={checkpoint}"]
    if option == "data=jsonl":
        return [f"data.path={sums}", "data.solution_field=solution", "evaluation.num_problems=2"]
    if option == "data=gsm8k":
        rows = [f'{{"question": "{n}+1?", "answer": "#### {n + 1}"}}\n' for n in range(20)]
        for split in ("train", "test"):
            (sums.parent / f"{split}.jsonl").write_text("".join(rows))
        return [f"data.path={sums.parent}"]
    return []


@pytest.mark.parametrize("option", OPTIONS)
def test_every_option_composes_and_passes_the_check(
    option: str, tmp_path: Path, sums: Path, checkpoint: Path
) -> None:
    words = [*SMALL, "evaluation.between_problems=1", option, *needs(option, sums, checkpoint)]
    config = compose(tmp_path, *words)
    check(config)
    assert not (tmp_path / "run").exists(), "a check writes nothing"


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU is here")
def test_a_gpu_that_is_not_there_is_missed_where_the_run_runs(tmp_path: Path) -> None:
    config = compose(tmp_path, *SMALL, "hardware=gpu")
    with pytest.raises(ValueError, match=r"hardware\.device=cuda: no GPU is visible here"):
        run(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("verifier", ["rule", "majority"])
def test_what_is_set_at_its_source_reaches_every_copy(tmp_path: Path, verifier: str) -> None:
    words = ["optimizer.lr=0.5", "model.layers=2", f"verifier={verifier}"]
    config = resolved(compose(tmp_path, *SMALL, *words))
    assert config["policy"]["generator"]["optimizer"]["lr"] == 0.5
    assert config["policy"]["generator"]["model"]["layers"] == 2
    assert config["schedule"]["cycle"]["solve"]["game"]["verifier"] == config["verifier"]
    assert config["verifier"]["_target_"].endswith(f".{verifier}.{verifier.capitalize()}")
