"""A configuration as work: how much of what, and what counts as the same."""

from pathlib import Path

import pytest

from rlcotrain.build import check, resolved
from rlcotrain.plan.work import Part, parts
from tests.runs import ALONE, compose

BOTH = "experiment=phase2/tango"
PRELUDE = ["pretrain", "imitate", "judge_short", "judge"]


def work(folder: Path, *words: str) -> dict[str, Part]:
    """Parts by name; of the evaluations the one between."""
    return {part.name: part for part in parts(resolved(compose(folder, *words)))}


def test_the_parts_of_a_run(tmp_path: Path) -> None:
    counts = {
        "schedule.steps": 23,
        "schedule.cycle.solve.steps": 5,
        "schedule.cycle.verify.steps": 2,
        "schedule.cycle.verify.num_prompts": 16,
        "schedule.cycle.verify.verifications": 8,
        "evaluation.every": 10,
        "checkpoint.every": 50,
    }
    config = compose(tmp_path, BOTH, *(f"{key}={value}" for key, value in counts.items()))
    found = parts(resolved(config))
    assert [(part.name, part.count) for part in found] == [
        ("startup", 1),
        *(("pretrain", 400), ("imitate", 300), ("judge_short", 400), ("judge", 600)),
        *(("solve", 23), ("verify", 8)),  # four rounds of 5:2, and three steps more
        *(("evaluate", 2), ("evaluate", 2)),  # start and end; after 10 and 20
        ("save", 1731 // 50 + 2 + 1),
        ("rest", 1),
    ]
    assert [part.name for part in found if part.prelude] == PRELUDE
    rows = {part.name: part.rows for part in found}
    assert rows["imitate"] == 32
    assert rows["solve"] == 16 * 8 * 2  # each solution is judged once
    assert rows["verify"] == 16 * 1 * 9
    assert [part.rows for part in found if part.name == "evaluate"] == [1300, 260]
    schedule = check(config).schedule
    steps = sum(part.count for part in found if part.name in {p.name for p in schedule.phases})
    assert steps == schedule.total


@pytest.mark.parametrize(
    "word", ["seed=1", "optimizer.lr=1e-5", "loss=drgrpo", "reward.alpha=0.1", "name=x"]
)
def test_what_takes_as_long(word: str, tmp_path: Path) -> None:
    assert work(tmp_path, BOTH, word) == work(tmp_path, BOTH)


@pytest.mark.parametrize(
    ("word", "names"),
    [
        ("loss.beta=0.1", {"solve", "verify"}),  # a reference to pass as well
        ("loss.minibatches=2", {"solve", "verify"}),
        ("evaluation.levels=[4]", {"evaluate"}),
        ("schedule.cycle.solve.levels=[4]", {"solve"}),
        ("verifier.max_tokens=50", {"solve", "verify", "evaluate"}),
        ("hardware.threads=2", {*PRELUDE, "solve", "verify", "evaluate"}),
    ],
)
def test_what_does_not(word: str, names: set[str], tmp_path: Path) -> None:
    one, other = work(tmp_path, BOTH), work(tmp_path, BOTH, word)
    changed = {name for name in one if one[name].kind != other[name].kind}
    assert changed - {"save", "rest"} == names


def test_an_imitation_is_the_same_whoever_judges_later(tmp_path: Path) -> None:
    alone, both = work(tmp_path, *ALONE), work(tmp_path, BOTH)
    assert alone["imitate"] == both["imitate"]
    assert alone["solve"].kind != both["solve"].kind
    assert alone["solve"].rows == 16 * 8


def test_sizes_are_rows_and_not_kinds(tmp_path: Path) -> None:
    small = work(tmp_path, *ALONE, "schedule.cycle.solve.num_prompts=4")["solve"]
    large = work(tmp_path, *ALONE, "schedule.cycle.solve.group_size=16")["solve"]
    assert small.kind == large.kind and (small.rows, large.rows) == (32, 256)
