import json
from pathlib import Path

import numpy as np
import pytest

from rlcotrain.build import check
from rlcotrain.evaluate import wilson
from rlcotrain.job import run
from rlcotrain.pass_at_k import FILE
from tests.runs import ALONE, SMALL, TINY, compose, lines

FEW = (
    *(*SMALL, *ALONE, *TINY, "schedule=rl", "data=jsonl", "data.level_field=level"),
    *("evaluation=pass_at_k", "evaluation.num_problems=2", "evaluation.between_problems=1"),
    *("pass_at_k.num_samples=4", "pass_at_k.k=[1,2]", "sampling.max_tokens=2"),
)


@pytest.fixture
def digits(tmp_path: Path) -> Path:
    """Eighty questions; every answer is 1, which a model of random weights says now and then."""
    file = tmp_path / "digits.jsonl"
    rows = [{"question": f"{n}?", "answer": "1", "level": 1 + n % 2} for n in range(80)]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


def measure(folder: Path, digits: Path, *words: str) -> Path:
    """The file that the run writes."""
    config = compose(folder, *FEW, f"data.path={digits}", "schedule.steps=0", *words)
    run(config, folder / "run")
    return folder / "run" / FILE


def test_a_file_of_every_training_problem_that_an_order_reads(tmp_path: Path, digits: Path) -> None:
    file = measure(tmp_path / "a", digits)
    found = lines(file)
    parts = check(compose(tmp_path, *FEW, f"data.path={digits}"))
    assert {line["id"] for line in found} == {p.id for p in parts.sampler.problems(None)}
    for line in found:
        n, c = line["n"], line["c"]
        assert n == 4 and line["pass@1"] == pytest.approx(c / 4)
        # 6 pairs of 4 answers; those of wrong ones only are (4 - c)(3 - c) / 2.
        assert line["pass@2"] == pytest.approx(1 - (4 - c) * (3 - c) / 12)
    (metrics,) = (
        line
        for line in lines(file.parent / "metrics.jsonl")
        if line["step"] == 0 and "pass_at_k/1" in line
    )
    mean = sum(line["pass@1"] for line in found) / len(found)
    assert metrics["pass_at_k/1"] == pytest.approx(mean)
    interval = wilson(np.array([line["pass@1"] for line in found]))
    assert metrics["pass_at_k/1_low"] == interval.low < interval.high == metrics["pass_at_k/1_high"]
    words = ("sampler=easy_to_hard", f"sampler.pass_rates={file}", "evaluation=accuracy")
    few = [word for word in FEW if "pass_at_k" not in word]
    config = compose(
        tmp_path / "b",
        *few,
        *words,
        f"data.path={digits}",
        "schedule.steps=2",
        "schedule.cycle.solve.num_prompts=2",
    )
    run(config, tmp_path / "b" / "run")
    fourth = sorted((line["c"] for line in found), reverse=True)[3]
    assert fourth > 0, "a test that shows nothing"
    drawn = {line["problem"] for line in lines(tmp_path / "b" / "run" / "rollouts.jsonl")}
    assert drawn <= {line["id"] for line in found if line["c"] >= fourth}


def test_a_file_that_was_begun_is_gone_on_with_to_the_byte(tmp_path: Path, digits: Path) -> None:
    whole = measure(tmp_path / "a", digits).read_bytes()
    folder = tmp_path / "b" / "run"
    folder.mkdir(parents=True)
    cut = whole.split(b"\n")
    (folder / FILE).write_bytes(b"\n".join(cut[:40]) + b'\n{"id": "dig')
    assert measure(tmp_path / "b", digits).read_bytes() == whole


def test_a_file_of_other_problems_is_refused(tmp_path: Path, digits: Path) -> None:
    folder = tmp_path / "a" / "run"
    folder.mkdir(parents=True)
    (folder / FILE).write_text('{"id": "x", "n": 4, "c": 1, "pass@1": 0.25, "pass@2": 0.5}\n' * 32)
    with pytest.raises(ValueError, match="is of other problems or another"):
        measure(tmp_path / "a", digits)


def test_held_out_problems_and_some_only(tmp_path: Path, digits: Path) -> None:
    found = lines(measure(tmp_path, digits, "pass_at_k.split=test", "pass_at_k.num_problems=3"))
    parts = check(compose(tmp_path, *FEW, f"data.path={digits}"))
    tested = parts.dataset.test_problems(3, None)
    assert [line["id"] for line in found] == [problem.id for problem in tested]


def test_answers_that_could_not_be_graded_are_counted(tmp_path: Path, digits: Path) -> None:
    words = ("grader=function", "grader.path=tests.grader.rewards.undecided")
    file = measure(tmp_path, digits, *words)
    assert {(line["c"], line["unknown"]) for line in lines(file)} == {(0, 4)}
    (share,) = [
        line["pass_at_k/unknown_fraction"]
        for line in lines(file.parent / "metrics.jsonl")
        if "pass_at_k/unknown_fraction" in line
    ]
    assert share == 1.0


def test_data_that_are_made_as_they_are_drawn(tmp_path: Path) -> None:
    words = [word for word in FEW if not word.startswith("data")]
    with pytest.raises(ValueError, match=r"split=train, num_problems=None: data set 'arithmetic'"):
        check(compose(tmp_path, *words))
    with pytest.raises(ValueError, match=r"split=test, num_problems=None: .* split=test and a num"):
        check(compose(tmp_path, *words, "pass_at_k.split=test"))
    check(compose(tmp_path, *words, "pass_at_k.split=test", "pass_at_k.num_problems=5"))


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("pass_at_k.k=[5]", r"pass_at_k\.k=\[5\]: each must be in 1\.\.num_samples, here 4"),
        ("pass_at_k.k=[]", r"pass_at_k\.k=\[\]: each must be in"),
        ("pass_at_k.temperature=0.0", r"pass_at_k\.temperature=0\.0: must be above 0"),
        ("pass_at_k.split=test pass_at_k.num_problems=0", r"num_problems=0: data set 'digits' has"),
        ("pass_at_k.num_problems=999", r"pass_at_k\.num_problems=999: data set 'digits' has 1\.\."),
    ],
)
def test_what_cannot_be_measured(tmp_path: Path, digits: Path, word: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check(compose(tmp_path, *FEW, f"data.path={digits}", *word.split()))
