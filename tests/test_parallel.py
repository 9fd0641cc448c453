"""A run of two processes is the run of one, and goes on as one."""

import json
import time
from collections.abc import Sequence
from pathlib import Path
from signal import SIGKILL, SIGTERM
from typing import Any, Literal

import pytest
from omegaconf import OmegaConf

from rlcotrain.build import check
from tests import lives, ranks
from tests.lives import Event
from tests.runs import ALONE, PAIR, SMALL, compose, lines, timeless

Config = dict[str, Any]

# Both learn in turn, by shared solutions, against a reference; little of everything.
WORDS = (
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
    *("schedule.prelude.judge.optimizer.schedule=constant", "schedule.steps=4"),
    *("schedule.cycle.solve.num_prompts=4", "schedule.cycle.solve.group_size=4"),
    *("schedule.cycle.solve.steps=2", "schedule.cycle.verify.steps=1"),
    *("schedule.cycle.verify.num_prompts=3", "schedule.cycle.verify.verifications=3"),
    *("schedule.cycle.verify.rollouts=shared", "loss.beta=0.01", "loss.reference_every=2"),
    *("loss.entropy=0.01", "evaluation.every=2", "checkpoint.every=2", "export=true"),
)


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Config:
    composed = OmegaConf.to_container(compose(tmp_path_factory.mktemp("unused"), *WORDS))
    assert isinstance(composed, dict)
    return {str(key): value for key, value in composed.items() if key != "cache_dir"} | {
        "sweep": ""
    }


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory, config: Config) -> Path:
    """The folder of a run of one process."""
    folder = tmp_path_factory.mktemp("alone")
    assert lives.live(folder, config) == 0
    return folder


def screens(folder: Path) -> str:
    return "\n".join(file.read_text() for file in sorted(folder.glob("screen-*")))


def assert_alike(found: Path, expected: Path) -> None:
    """The same lines, numbers up to rounding."""
    pairs = zip(timeless(found), timeless(expected), strict=True)
    for one, other in pairs:
        assert list(one) == list(other)
        for key, value in other.items():
            if key.endswith(
                ("padding_fraction", "shared_fraction")
            ):  # a matter of who reads which rows
                continue
            close = value if isinstance(value, str) else pytest.approx(value, rel=2e-3, abs=1e-5)
            assert one[key] == close, (other["phase"], other["step"], key)


@pytest.mark.parametrize("parallel", ["ddp", "fsdp"])
def test_two_processes_run_as_one(
    parallel: str, config: Config, alone: Path, tmp_path: Path
) -> None:
    chosen = config | {"hardware": config["hardware"] | {"parallel": parallel}}
    assert ranks.live(tmp_path, chosen, 2) == [0, 0], screens(tmp_path)
    assert_alike(tmp_path / "run/metrics.jsonl", alone / "run/metrics.jsonl")
    said, before = (lines(folder / "run/rollouts.jsonl") for folder in (tmp_path, alone))
    assert [line["text"] for line in said] == [line["text"] for line in before]
    files = [sorted(p.name for p in (f / "run").rglob("*")) for f in (tmp_path, alone)]
    assert files[0] == files[1]


@pytest.mark.parametrize("sizes", [(2, 1), (1, 2)])
def test_a_run_goes_on_with_another_number_of_processes(
    sizes: tuple[int, int], config: Config, alone: Path, tmp_path: Path
) -> None:
    """Killed as it saves the second state, it goes on from the first, sharded or whole."""
    chosen = config | {"hardware": config["hardware"] | {"parallel": "fsdp"}}
    kill = Event("os.rename", "/checkpoints/000008", 1)
    statuses = ranks.live(tmp_path, chosen, sizes[0], event=kill)
    assert statuses[0] == -SIGKILL and 0 not in statuses, screens(tmp_path)
    assert ranks.live(tmp_path, chosen, sizes[1]) == [0] * sizes[1], screens(tmp_path)
    assert "resumed after step 7" in screens(tmp_path)
    assert_alike(tmp_path / "run/metrics.jsonl", alone / "run/metrics.jsonl")
    assert not (tmp_path / "run/cut.jsonl").exists()


def test_a_process_that_is_killed_fails_the_run(config: Config, tmp_path: Path) -> None:
    def kill(processes: Sequence[Any]) -> None:
        while not (tmp_path / "run/metrics.jsonl").exists() and processes[0].is_alive():
            time.sleep(0.01)
        processes[1].kill()

    assert ranks.live(tmp_path, config, 2, meanwhile=kill) == [1, -SIGKILL], screens(tmp_path)
    result = json.loads((tmp_path / "run/result.json").read_text())
    assert result["status"] == "failed"
    assert result["reason"] == "ConnectionError: a process of this run was lost"


@pytest.mark.parametrize("then", ["term", "usr2"])
def test_a_signal_stops_all_at_the_same_step(
    then: Literal["term", "usr2"], config: Config, alone: Path, tmp_path: Path
) -> None:
    """The first saves and obeys, as torchrun's SIGTERM and submitit's requeueing want it."""
    event = Event("open", "metrics.jsonl", 3, then)
    statuses = ranks.live(tmp_path, config, 2, event=event)
    assert statuses == ([-SIGTERM, 1] if then == "term" else [7, 0]), screens(tmp_path)
    assert "a signal came: state saved" in screens(tmp_path)
    assert ranks.live(tmp_path, config, 2) == [0, 0], screens(tmp_path)
    assert_alike(tmp_path / "run/metrics.jsonl", alone / "run/metrics.jsonl")


def test_a_shared_base_is_not_sharded(tmp_path: Path) -> None:
    words = ("model=qwen3_0.6b_lora", "share_base=true", "hardware.parallel=fsdp")
    with pytest.raises(ValueError, match=r"^hardware\.parallel=fsdp: .*; allowed: ddp$"):
        check(compose(tmp_path, *SMALL, *ALONE, *words))
