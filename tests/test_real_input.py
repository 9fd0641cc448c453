"""Real problems and a checkpoint read from disk: what a researcher brings along."""

import ast
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from rlcotrain.job import run
from tests.runs import ALONE, SMALL, compose, lines

REAL = Path(__file__).parents[2] / "shared" / "data" / "gsm8k"
FEW = (
    *ALONE,
    *("schedule=rl", "schedule.steps=2", "evaluation.num_problems=4"),
    *("evaluation.between_problems=2", "hardware.micro_batch_tokens=8192"),
    *("schedule.cycle.solve.num_prompts=2", "schedule.cycle.solve.group_size=2"),
)


@pytest.mark.skipif(not REAL.is_dir(), reason=f"the real GSM8K is not at {REAL}")
@pytest.mark.parametrize(
    ("model", "before", "after"),
    [
        ("qwen3_0.6b", "<|im_start|>user\n", "<|im_end|>\n<|im_start|>assistant\n"),
        ("qwen3_0.6b_base", "", ""),
    ],
)
def test_gsm8k_with_a_checkpoint_from_disk(
    model: str,
    before: str,
    after: str,
    tmp_path: Path,
    checkpoint: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    words = (f"model={model}", f"model.path={checkpoint}", "data=gsm8k", f"data.path={REAL}")
    config = compose(tmp_path, *SMALL, *FEW, *words)
    run(config, tmp_path / "run")
    printed = capfd.readouterr().err.splitlines()
    (prompt,) = [line for line in printed if line.startswith("first prompt:")]
    text = ast.literal_eval(prompt.removeprefix("first prompt:").strip())
    assert text.startswith(f"{before}Question: ") and text.endswith(f"\nAnswer:{after}")
    assert any(line.startswith("first completion: ") for line in printed)
    found = lines(tmp_path / "run" / "metrics.jsonl")
    assert [line["step"] for line in found if line["phase"] == "solve"] == [0, 1]
    for row in lines(tmp_path / "run" / "rollouts.jsonl"):
        assert row["problem"].startswith("gsm8k/train/") and len(row["text"]) > 0


def test_text_is_cut_at_the_stop_strings(tmp_path: Path, checkpoint: Path, sums: Path) -> None:
    """A model of random weights soon says one of the letters; nothing after it is judged."""
    stops = ["a", "e", "o"]
    words = (f"model.path={checkpoint}", "data=jsonl", f"data.path={sums}")
    config = compose(tmp_path, *SMALL, *FEW, "model=qwen3_0.6b_base", *words, "loss=reinforce_pp")
    OmegaConf.update(config, "data.wording.stop", stops)
    OmegaConf.update(config, "record.rollouts", 100)
    run(config, tmp_path / "run")
    rows = lines(tmp_path / "run" / "rollouts.jsonl")
    assert len(rows) == 8 and {row["stop"] for row in rows} >= {"stop"}
    for row in rows:
        assert not set(stops) & set(row["text"])
        assert row["stop"] == "stop" or row["length"] == 16
