"""A run that is killed and started again is the run that was left alone, to the bit."""

import json
import os
import shutil
from dataclasses import fields, is_dataclass
from pathlib import Path
from random import Random
from signal import SIGKILL, SIGTERM, SIGXFSZ
from typing import Any, Literal

import pytest
import torch

from rlcotrain import stored
from rlcotrain.build import resolved
from rlcotrain.job import run
from tests.lives import Event, born, live
from tests.runs import ALONE, PAIR, SMALL, TINY, compose, lines, timeless

Config = dict[str, Any]

# Six steps of prelude and seven after it; a state every other step, and at each evaluation that is
# the best so far: the first and the second of three, with this seed.
WORDS = (
    *SMALL,
    *TINY,
    *ALONE,
    *("schedule.prelude.pretrain.steps=3", "schedule.prelude.imitate.steps=3"),
    *("schedule.prelude.pretrain.num_prompts=4", "schedule.prelude.imitate.num_prompts=4"),
    *(
        "schedule.steps=7",
        "schedule.cycle.solve.num_prompts=4",
        "schedule.cycle.solve.group_size=4",
    ),
    *("loss.beta=0.01", "loss.reference_every=3", "loss.minibatches=2", "optimizer.lr=0.003"),
    *(
        "schedule.steps=7",
        "evaluation.every=3",
        "checkpoint.every=2",
        *("checkpoint.metric=accuracy/greedy", "seed=8"),
    ),
)


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Config:
    """The configuration of all these runs, but for the folder of what is kept."""
    composed = resolved(compose(tmp_path_factory.mktemp("unused"), *WORDS))
    return {key: value for key, value in composed.items() if key != "cache_dir"}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, config: Config) -> Path:
    """The folder of a run that nobody disturbed."""
    folder = tmp_path_factory.mktemp("whole")
    assert live(folder, config) == 0, screen(folder)
    assert (folder / "run/checkpoints/best").read_text() == "000012\n"
    return folder


# Two that learn in turn, 2:1: a step of each prelude phase, then solve solve verify solve solve
# verify solve solve verify; the verifier judges the generator's newest solutions anew.
PAIR_WORDS = (
    *SMALL,
    *PAIR,
    "experiment=phase2/tango",
    *(
        f"schedule.prelude.{name}.steps=1"
        for name in ("pretrain", "imitate", "judge_short", "judge", "warmup")
    ),
    *(
        f"schedule.prelude.{name}.num_prompts=4"
        for name in ("pretrain", "imitate", "judge_short", "judge")
    ),
    *("schedule.prelude.judge.optimizer.schedule=constant", "schedule.steps=6"),
    *("schedule.cycle.solve.num_prompts=4", "schedule.cycle.solve.group_size=4"),
    *("schedule.cycle.solve.steps=2", "schedule.cycle.verify.steps=1"),
    *("schedule.cycle.verify.num_prompts=3", "schedule.cycle.verify.verifications=3"),
    *("schedule.cycle.verify.rollouts=shared", "reward=tango", "reward.alpha=0.5"),
    *("loss.beta=0.01", "loss.reference_every=2", "evaluation.every=3", "checkpoint.every=6"),
    "loss.entropy=0.01",  # what moves a verifier that cannot judge yet
)


@pytest.fixture(scope="module")
def pair_config(tmp_path_factory: pytest.TempPathFactory) -> Config:
    composed = resolved(compose(tmp_path_factory.mktemp("unused"), *PAIR_WORDS))
    return {key: value for key, value in composed.items() if key != "cache_dir"}


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory, pair_config: Config) -> Path:
    """The folder of a run of two policies that nobody disturbed."""
    folder = tmp_path_factory.mktemp("pair")
    assert live(folder, pair_config) == 0, screen(folder)
    found = lines(folder / "run/metrics.jsonl")
    cycle = [line for line in found if line["phase"] in ("solve", "verify")]
    assert [(line["phase"][0], line["step"]) for line in cycle] == [
        *(("s", 0), ("s", 1), ("v", 0), ("s", 2), ("s", 3), ("v", 1), ("s", 4), ("s", 5), ("v", 2)),
    ]
    assert all(line["verifier/grad_norm"] > 0 for line in cycle if line["phase"] == "verify")
    return folder


def files(folder: Path) -> list[str]:
    """Everything that the run and its cache consist of."""
    found = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    return sorted(str(path) for path in found if not path.name.startswith("screen-"))


def state(file: Path) -> dict[str, Any]:
    """A saved state, without what a clock said (offsets count its digits)."""
    found = stored.read(file)
    return {key: value for key, value in found.items() if key not in ("seconds", "offsets")}


def assert_equal(found: Any, expected: Any, at: str = "") -> None:
    """Equal to the bit, tables and tensors of any depth."""
    assert type(found) is type(expected), at
    if isinstance(expected, dict):
        assert list(found) == list(expected), at
        for key in expected:
            assert_equal(found[key], expected[key], f"{at}/{key}")
    elif isinstance(expected, list | tuple):
        assert len(found) == len(expected), at
        for number, (one, other) in enumerate(zip(found, expected, strict=True)):
            assert_equal(one, other, f"{at}/{number}")
    elif is_dataclass(expected):
        for key in fields(expected):
            name = key.name
            assert_equal(getattr(found, name), getattr(expected, name), f"{at}.{name}")
    elif isinstance(expected, torch.Tensor):
        assert torch.equal(found, expected), at
    elif hasattr(expected, "tobytes"):
        assert found.tobytes() == expected.tobytes(), at
    else:
        assert found == expected, at


def assert_same_run(folder: Path, whole: Path) -> None:
    """The same numbers, rows, weights and files; nothing half-written lies about."""
    assert files(folder) == files(whole)
    for file in files(whole):
        if file.endswith("metrics.jsonl"):
            assert timeless(folder / file) == timeless(whole / file), file
        elif file.endswith(("rollouts.jsonl", "checkpoints/best")):
            assert (folder / file).read_bytes() == (whole / file).read_bytes(), file
        elif file.endswith("state.pt"):
            assert_equal(state(folder / file), state(whole / file), file)
    results = [json.loads((path / "run" / "result.json").read_text()) for path in (folder, whole)]
    assert results[0]["accuracy"] == results[1]["accuracy"]


# The lives of a run, one after another: each but the last dies at its moment.
DEATHS = {
    "while lines are written": [
        Event("open", r"run/metrics", 1),  # before the first
        Event("open", r"run/metrics", 4, "half"),
        Event("open", r"run/rollouts", 2),  # between a line and its rows
        Event("open", r"run/rollouts", 3, "half"),
    ],
    "while lines are cut": [
        Event("open", r"run/metrics", 4),
        Event("open", r"run/\.cut", 1, "half"),
        Event("os.rename", r"run/cut", 1),
        Event("os.truncate", r"run/metrics", 1),
        Event("os.truncate", r"run/rollouts", 1),
    ],
    "while states are saved": [
        Event("open", r"run/.*/state", 1, "half"),
        Event("os.rename", r"\.saving-000004$", 1),
        Event("os.rename", r"checkpoints/latest$", 2),
        Event("os.rename", r"checkpoints/latest$", 1),
        Event("shutil.rmtree", r"checkpoints/00000\d$", 1),
        Event("os.rmdir", r"checkpoints/00000\d$", 2),
    ],
    "while the best is named": [
        Event("os.rename", r"checkpoints/best$", 2),
        Event("open", r"checkpoints/\.latest$", 1),  # what the best points to is not the latest
        Event("os.rmdir", r"checkpoints/000012$", 1),  # nor is it there
    ],
    "while the prelude is kept": [
        Event("open", r"cache/.*/state", 1, "half"),
        Event("open", r"cache/.*/rollouts", 1),
        Event("os.rename", r"cache/prelude/\.", 1),
    ],
    "while it ends": [
        Event("os.rename", r"\.saving-000013$", 1),
        Event("open", r"curves\.png$", 1, "half"),
        Event("os.rename", r"result\.json$", 1),
    ],
}


@pytest.mark.parametrize("moment", DEATHS)
def test_killed_at_bad_moments(moment: str, tmp_path: Path, whole: Path, config: Config) -> None:
    for event in DEATHS[moment]:
        status = live(tmp_path, config, event)
        assert status == (-SIGXFSZ if event.then == "half" else -SIGKILL), (event, screen(tmp_path))
    assert not (tmp_path / "run" / "result.json").exists()
    assert live(tmp_path, config) == 0
    assert_same_run(tmp_path, whole)


@pytest.mark.parametrize(
    "events",
    [
        # Rows are written of four steps of the prelude, then solve solve verify ...; states are
        # saved after the second solve, after the third (the best so far) and after the last.
        pytest.param([Event("open", r"run/rollouts", 7)], id="before the verifier's step"),
        pytest.param([Event("open", r"run/metrics", 9, "half")], id="after the verifier's step"),
        pytest.param(
            [
                Event("open", r"run/rollouts", 6),
                Event("open", r"run/rollouts", 3, "term"),
                Event("open", r"run/rollouts", 2),
                Event("os.rename", r"checkpoints/latest$", 1),
            ],
            id="again and again",
        ),
    ],
)
def test_two_policies_go_on_in_the_middle_of_a_cycle(
    events: list[Event], tmp_path: Path, pair: Path, pair_config: Config
) -> None:
    for event in events:
        expected = {"kill": -SIGKILL, "half": -SIGXFSZ, "term": -SIGTERM}[event.then]
        assert live(tmp_path, pair_config, event) == expected, (event, screen(tmp_path))
    assert live(tmp_path, pair_config) == 0, screen(tmp_path)
    assert_same_run(tmp_path, pair)


@pytest.mark.parametrize("seed", range(2))
def test_killed_again_and_again(seed: int, tmp_path: Path, whole: Path, config: Config) -> None:
    """Anywhere, replays included; and a line keeps the time at which it was first written."""
    random, first = Random(seed), dict[tuple[str, int], float]()
    metrics = tmp_path / "run" / "metrics.jsonl"
    for _ in range(8):
        event = Event("", "", random.randint(3, 70), random.choice(("kill", "kill", "half")))
        if live(tmp_path, config, event) == 0:
            break
        if metrics.exists():
            for line in metrics.read_text().split("\n")[:-1]:
                values = json.loads(line)
                first.setdefault((values["phase"], values["step"]), values["time"])
    assert live(tmp_path, config) == 0
    assert_same_run(tmp_path, whole)
    last = {(line["phase"], line["step"]): line["time"] for line in lines(metrics)}
    assert len(first) > 3 and first.items() <= last.items()


@pytest.mark.parametrize(("then", "status"), [("term", -SIGTERM), ("usr2", 7), ("int", 1)])
def test_a_signal_saves_the_step_and_is_handed_on(
    then: Literal["term", "usr2", "int"], status: int, tmp_path: Path, whole: Path, config: Config
) -> None:
    event = Event("open", r"run/rollouts", 7, then)
    assert live(tmp_path, config, event) == status
    assert (tmp_path / "run/checkpoints/latest").read_text() == "000007\n"
    assert live(tmp_path, config) == 0
    assert_same_run(tmp_path, whole)


def lose(folder: Path, how: str) -> None:
    """Of a run's newest checkpoint, 13, or of the lines it counts; 12 is whole."""
    run, newest = folder / "run", folder / "run/checkpoints/000013"
    match how:
        case "state truncated":
            os.truncate(newest / "state.pt", 5000)
        case "latest empty":
            (run / "checkpoints/latest").write_text("")
            shutil.rmtree(newest)
        case "lines lost":  # the last ones, as a power cut leaves it
            os.truncate(run / "metrics.jsonl", (run / "metrics.jsonl").stat().st_size - 1)
        case "rollouts lost":
            os.truncate(run / "rollouts.jsonl", (run / "rollouts.jsonl").stat().st_size - 1)


@pytest.mark.parametrize("how", ["state truncated", "latest empty", "lines lost", "rollouts lost"])
def test_what_is_lost_costs_steps_and_no_number(
    how: str, tmp_path: Path, whole: Path, config: Config
) -> None:
    shutil.copytree(whole, tmp_path, dirs_exist_ok=True, ignore=shutil.ignore_patterns("screen-*"))
    (tmp_path / "run/result.json").unlink()
    lose(tmp_path, how)
    assert live(tmp_path, config) == 0, screen(tmp_path)
    said = [line for line in screen(tmp_path).splitlines() if line.startswith("warning: ")]
    assert len(said) == 1 and "checkpoints/000012 instead" in said[0]
    assert_same_run(tmp_path, whole)


def test_lines_that_no_checkpoint_can_do_without_are_refused(
    tmp_path: Path, whole: Path, config: Config
) -> None:
    shutil.copytree(whole, tmp_path, dirs_exist_ok=True, ignore=shutil.ignore_patterns("screen-*"))
    (tmp_path / "run/result.json").unlink()
    os.truncate(tmp_path / "run/metrics.jsonl", 300)
    assert live(tmp_path, config) == 1
    last = screen(tmp_path).splitlines()[-1]
    assert "metrics.jsonl: has 300 bytes, the checkpoint needs its first" in last
    assert "no whole checkpoint is left" in last
    assert (tmp_path / "run/metrics.jsonl").stat().st_size == 300


def test_a_damaged_kept_prelude_is_computed_again(
    tmp_path: Path, whole: Path, config: Config
) -> None:
    shutil.copytree(whole / "cache", tmp_path / "cache")
    (kept,) = (file for file in (tmp_path / "cache/prelude").iterdir() if file.is_dir())
    os.truncate(kept / "state.pt", 5000)
    assert live(tmp_path, config) == 0, screen(tmp_path)
    assert f"set aside as {kept.name}.damaged" in screen(tmp_path)
    shutil.rmtree(kept.with_name(f"{kept.name}.damaged"))
    assert_same_run(tmp_path, whole)


def test_a_kept_prelude_is_as_good_as_ones_own(tmp_path: Path, whole: Path, config: Config) -> None:
    shutil.copytree(whole / "cache", tmp_path / "cache")
    assert live(tmp_path, config) == 0
    assert "prelude of 6 steps taken from" in screen(tmp_path)
    assert_same_run(tmp_path, whole)


def test_two_that_start_together_pay_once(tmp_path: Path, whole: Path, config: Config) -> None:
    shared = config | {"cache_dir": f"{tmp_path}/shared"}
    folders = tmp_path / "one", tmp_path / "two"
    with born(folders[0], shared) as one, born(folders[1], shared) as two:
        one.join(60)
        two.join(60)
    taken = ["taken from" in screen(folder) for folder in folders]
    assert sorted(taken) == [False, True]
    for folder in folders:
        assert timeless(folder / "run/metrics.jsonl") == timeless(whole / "run/metrics.jsonl")
        end = "run/checkpoints/000013/state.pt"
        assert_equal(state(folder / end), state(whole / end))


def screen(folder: Path) -> str:
    """What all lives of a folder have said."""
    return "".join(file.read_text() for file in sorted(folder.glob("screen-*")))


def test_a_finished_run_returns_its_result_at_once(whole: Path) -> None:
    names = [file for file in files(whole) if not file.endswith(".lock")]
    before = [(whole / file).stat().st_mtime_ns for file in names]
    result = json.loads((whole / "run" / "result.json").read_text())
    again = run(compose(whole, *WORDS), whole / "run")
    assert again == result["accuracy"]["final"]["sampled"]["mean"]
    assert [(whole / file).stat().st_mtime_ns for file in names] == before


def test_a_folder_of_another_configuration_is_refused(whole: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(whole / "run", folder)
    before = {file: (folder / file).read_bytes() for file in os.listdir(folder) if "." in file}
    with pytest.raises(ValueError, match=r"folder=.*run: holds a run of another configuration"):
        run(compose(tmp_path, *WORDS, "seed=1"), folder)
    assert before == {file: (folder / file).read_bytes() for file in before}
