"""Real problems and a checkpoint read from disk: what a researcher brings along."""

import ast
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from rlcotrain.job import run
from tests.runs import ALONE, SMALL, TINY, competition, compose, lines

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


DATA = REAL.parent
MATH = (f"path={DATA}/math", "test.file=test_dev_half.jsonl")
SETS = {
    "gsm8k": [f"data.path={REAL}"],
    "math": [f"data.{word}" for word in MATH],
    "aime": [f"data.path={DATA}/aime"],
    "mixed": [f"data.sets.gsm8k.path={REAL}", *(f"data.sets.math.{word}" for word in MATH)],
    "jsonl": [f"data.path={DATA}/math/amc23.jsonl", "data.question_field=problem"],
}


@pytest.mark.skipif(not REAL.is_dir(), reason=f"the real data are not at {DATA}")
@pytest.mark.parametrize("name", SETS)
def test_a_step_of_training_on_real_data(
    name: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """The tiny model reads bytes: what is too long for it is left out, and said."""
    words = (f"data={name}", *SETS[name], "grader.watch=[math_verify]", "model.max_length=8192")
    config = compose(tmp_path, *SMALL, *TINY, *FEW, *words)
    run(config, tmp_path / "run")
    told = capfd.readouterr().err
    assert "problems to train on" in told
    found = [row for row in lines(tmp_path / "run" / "metrics.jsonl") if row["phase"] == "solve"]
    assert [row["step"] for row in found] == [0, 1]
    assert all(row["rollout/problems_repeated"] == 0 for row in found)
    if name == "mixed":
        (start, *_) = [
            row for row in lines(tmp_path / "run" / "metrics.jsonl") if row["phase"] == "evaluate"
        ]
        assert {"accuracy/sampled/gsm8k", "accuracy/sampled/math"} <= set(start)
    for row in lines(tmp_path / "run" / "rollouts.jsonl"):
        assert row["problem"].startswith(("gsm8k/", "math/", "aime/", "amc23/"))


def test_data_smaller_than_a_batch_repeat_and_are_told(
    tmp_path: Path, sums: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Three problems, five a step: two come again, each step."""
    rows = sums.read_text().splitlines(keepends=True)
    (tmp_path / "few.jsonl").write_text("".join(rows[:3]))
    (tmp_path / "test.jsonl").write_text("".join(rows[10:20]))
    words = (f"data.path={tmp_path}/few.jsonl", f"data.test_path={tmp_path}/test.jsonl")
    words += ("data=jsonl", "schedule.cycle.solve.num_prompts=5", "tracking=none")
    config = compose(tmp_path, *SMALL, *TINY, *FEW, *words)
    run(config, tmp_path / "run")
    message = "warning: phase solve draws 5 problems a step of 3 that there are: they repeat"
    assert message in capfd.readouterr().err
    found = [row for row in lines(tmp_path / "run" / "metrics.jsonl") if row["phase"] == "solve"]
    assert [row["rollout/problems_repeated"] for row in found] == [2.0, 2.0]
    run(compose(tmp_path, *SMALL, *TINY, *FEW, *words, "schedule.steps=0"), tmp_path / "none")
    assert "they repeat" not in capfd.readouterr().err, "nothing is drawn"


def test_data_for_evaluation_only(tmp_path: Path) -> None:
    """They are evaluated where nothing is trained, and refused where something would be."""
    words = (*SMALL, *TINY, *FEW, "data=amc", f"data.path={competition(tmp_path)}")
    words += ("sampling.max_tokens=4",)
    with pytest.raises(ValueError, match=r"data=amc: phase solve has no problems to train on"):
        run(compose(tmp_path, *words), tmp_path / "run")
    run(compose(tmp_path, *words, "schedule.steps=0"), tmp_path / "run")
    found = lines(tmp_path / "run" / "metrics.jsonl")
    assert {row["phase"] for row in found} == {"evaluate"}


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
