"""One run as a whole: what it leaves when it ends well, and when it does not."""

import fcntl
import json
import re
from pathlib import Path

import matplotlib.image
import pytest
import torch
from omegaconf import DictConfig

from rlcotrain import stored
from rlcotrain.job import run
from rlcotrain.signature import signature
from tests.runs import ALONE, SMALL, TINY, compose, lines

WORDS = (
    *SMALL,
    *TINY,
    *ALONE,
    *("schedule=rl", "schedule.steps=2", "evaluation.every=1"),
    *("schedule.cycle.solve.num_prompts=4", "schedule.cycle.solve.group_size=4"),
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run of two steps that exports its model."""
    folder = tmp_path_factory.mktemp("run")
    run(compose(folder, *WORDS, "export=true"), folder / "run")
    return folder / "run"


def test_a_result_says_what_became_of_it(folder: Path) -> None:
    result = json.loads((folder / "result.json").read_text())
    assert (result["status"], result["reason"], result["steps"]) == ("finished", None, 2)
    for mode in ("sampled", "greedy"):
        start, final, change = (
            result["accuracy"][part][mode] for part in ("start", "final", "change")
        )
        assert start["count"] == final["count"] == change["count"] == 20
        assert change["mean"] == pytest.approx(final["mean"] - start["mean"])
    assert result["signature"] == json.loads((folder / "run.json").read_text())["signature"]
    assert set(result["best"]) == {"accuracy/sampled"}


def test_lines_of_a_run_in_their_order(folder: Path) -> None:
    found = lines(folder / "metrics.jsonl")
    assert [(line["phase"], line["step"]) for line in found] == [
        *(("evaluate", 0), ("solve", 0), ("evaluate", 1), ("solve", 1), ("evaluate", 2)),
    ]
    assert [line["time"] for line in found] == sorted(line["time"] for line in found)
    always = ("zero_signal_fraction", "mismatch_kl", "age", "entropy", "grad_norm", "lr")
    for step in (found[1], found[3]):
        assert {f"generator/{key}" for key in always} <= set(step)
        assert step["time/tokens_per_second"] > 0
        assert step["generator/mismatch_max"] < 1e-4 and step["generator/age"] == 0


def test_the_exported_model_is_the_trained_one(folder: Path) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    state = torch.load(folder / "checkpoints/000002/state.pt", weights_only=True)
    model = AutoModelForCausalLM.from_pretrained(folder / "model" / "generator")
    for name, weights in state["policies"]["generator"]["weights"].items():
        assert torch.equal(model.get_parameter(name), weights), name
    tokenizer = AutoTokenizer.from_pretrained(folder / "model" / "generator")
    assert tokenizer.encode("<step>") == [tokenizer.convert_tokens_to_ids("<step>")]


def broken(folder: Path) -> DictConfig:
    """A run whose second step meets weights of 1e30: the first has a signal, with this seed."""
    return compose(folder, *WORDS, "optimizer.lr=1e30", "seed=1")


def test_a_run_that_breaks_says_where_and_why(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    with pytest.raises(ArithmeticError, match=r"at step 1 of phase solve \(policy generator\)"):
        run(broken(tmp_path), folder)
    result = json.loads((folder / "result.json").read_text())
    assert result["status"] == "failed" and result["reason"].startswith("ArithmeticError: ")
    (file,) = folder.glob("nonfinite_*.pt")
    assert str(file) in result["reason"]
    rows = stored.read(file)
    assert rows and all(row.policy == "generator" for row in rows)
    assert matplotlib.image.imread(folder / "curves.png").shape[0] > 500
    assert not (folder / "model").exists(), "what broke is not exported"


def test_a_failed_run_is_tried_again(tmp_path: Path) -> None:
    """From its last checkpoint, with what it reported before."""
    for _ in range(2):
        with pytest.raises(ArithmeticError, match="at step 1 of phase solve"):
            run(broken(tmp_path), tmp_path / "run")
    steps = [line["step"] for line in lines(tmp_path / "run/metrics.jsonl")]
    assert steps == [0, 0, 1]


def test_two_processes_never_write_one_folder(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    with (folder / "run.lock").open("w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        with pytest.raises(ValueError, match=r"folder=.*run: another process is at this run"):
            run(compose(tmp_path, *WORDS), folder)
    assert [path.name for path in folder.iterdir()] == ["run.lock"]


def test_what_is_cut_off_at_the_top_is_warned_of(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    run(compose(tmp_path, *WORDS, "sampling.top_p=0.9"), tmp_path / "run")
    printed = capfd.readouterr()
    assert "warning: sampling.top_p or top_k cut the distribution" in printed.err
    assert "first prompt:" in printed.err and "first completion:" in printed.err
    assert re.search(rf"finished after 2 steps, \d+ s: {tmp_path}/run", printed.out)


@pytest.mark.parametrize(
    ("words", "warned"),
    [
        (["loss.kl=k1", "loss.beta=0.1"], 1),
        (["loss.kl=k1"], 0),
        (["loss.kl=k2", "loss.beta=0.1"], 0),
        (["schedule.cycle.solve.loss.kl=k1", "schedule.cycle.solve.loss.beta=0.1"], 1),
    ],
)
def test_a_kl_whose_gradient_is_0_is_warned_of_once(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], words: list[str], warned: int
) -> None:
    run(compose(tmp_path, *WORDS, "schedule.steps=0", *words), tmp_path / "run")
    said = capfd.readouterr().err
    assert said.count("warning: loss.kl=k1") == warned
    if warned:
        assert "(phases: solve)" in said and "expected gradient of 0" in said


def test_a_buffer_that_leaves_fewer_groups_than_minibatches(tmp_path: Path) -> None:
    """Groups without signal go; what is left is one minibatch or none, and no error."""
    words = ("buffer=signal", "loss.minibatches=4", "schedule.steps=3")
    run(compose(tmp_path, *WORDS, *words), tmp_path / "run")
    found = [line for line in lines(tmp_path / "run/metrics.jsonl") if line["phase"] == "solve"]
    groups = [round(4 * (1 - line["generator/zero_signal_fraction"])) for line in found]
    assert {1, 2, 3} & set(groups), "or this tests nothing"
    for line, count in zip(found, groups, strict=True):
        assert line.get("generator/optimizer_steps", 0) == count
        assert line["generator/updates_skipped"] == (count == 0)


def test_where_a_run_lies_is_no_part_of_what_it_is(tmp_path: Path) -> None:
    from rlcotrain.build import resolved

    one, two = (resolved(compose(tmp_path / name, *WORDS)) for name in ("one", "two"))
    assert one["folder"] != two["folder"] and signature(one) == signature(two)
    assert signature(one) != signature(one | {"seed": 1})
    dearer, faster = (
        one | {"hardware": one["hardware"] | change}
        for change in ({"price_per_gpu_hour": 9.0}, {"threads": 2})
    )
    assert signature(one) == signature(dearer) != signature(faster)
