import copy
import os
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import torch
from omegaconf import DictConfig

from rlcotrain.build import prelude_signature, resolved
from rlcotrain.files import seal
from rlcotrain.kept import Kept
from tests.runs import ALONE, PAIR, SMALL, compose

LINES = {"metrics.jsonl": b'{"step": 0}\n', "rollouts.jsonl": b""}


def test_the_first_result_stays(tmp_path: Path) -> None:
    kept = Kept(tmp_path / "prelude", "abc")
    with kept.turn(wait=True):
        assert kept.load() is None
        kept.save({"step": 1}, LINES)
        kept.save({"step": 2}, {})
    assert kept.load() == ({"step": 1}, LINES)
    assert Kept(tmp_path / "prelude", "xyz").load() is None


def test_what_a_kill_left_is_no_result(tmp_path: Path) -> None:
    left = tmp_path / ".abc"
    left.mkdir()
    (left / "state.pt").write_bytes(b"half")
    kept = Kept(tmp_path, "abc")
    assert kept.load() is None
    with kept.turn(wait=True):
        kept.save({"step": 1}, LINES)
    assert kept.load() == ({"step": 1}, LINES)
    assert {path.name for path in tmp_path.iterdir()} == {"abc", "abc.lock"}


def test_one_that_has_begun_pays_without_waiting(tmp_path: Path) -> None:
    """A resumed run goes on; where another is paying, that one's result is the one to keep."""
    first, second = Kept(tmp_path, "abc"), Kept(tmp_path, "abc")
    with first.turn(wait=True):
        with second.turn(wait=False):
            second.save({"step": 2}, {})
        assert first.load() is None
        first.save({"step": 1}, LINES)
    assert second.load() == ({"step": 1}, LINES)
    with second.turn(wait=False):
        second.save({"step": 2}, {})
    assert first.load() == ({"step": 1}, LINES)


def test_one_that_has_nothing_waits(tmp_path: Path) -> None:
    first, second, seen = Kept(tmp_path, "abc"), Kept(tmp_path, "abc"), list[Any]()

    def wait() -> None:
        with second.turn(wait=True):
            seen.append(second.load())

    waiting = Thread(target=wait)
    with first.turn(wait=True):
        waiting.start()
        waiting.join(0.2)
        assert seen == []
        first.save({"step": 1}, LINES)
    waiting.join(10)
    assert seen == [({"step": 1}, LINES)]


def test_what_cannot_be_written_is_not_kept_and_stops_nobody(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    kept = Kept(tmp_path, "abc")
    with kept.turn(wait=True):
        kept.save({"step": 1}, {"no folder/metrics.jsonl": b""})
    assert "the prelude was not kept" in capfd.readouterr().err
    assert kept.load() is None and [path.name for path in tmp_path.iterdir()] == ["abc.lock"]


@pytest.mark.parametrize("name", ["state.pt", "metrics.jsonl", "SHA256SUMS"])
@pytest.mark.parametrize("change", ["cut", "empty", "missing"])
def test_a_damaged_one_is_set_aside_and_computed_again(
    name: str, change: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    kept = Kept(tmp_path, "abc")
    for number in (1, 2):  # the second time there is one aside already
        with kept.turn(wait=True):
            kept.save({"step": number}, LINES)
        file = tmp_path / "abc" / name
        raw = file.read_bytes()
        file.unlink() if change == "missing" else file.write_bytes(
            raw[:-5] if change == "cut" else b""
        )
        with kept.turn(wait=True):
            assert kept.load() is None
    said = capfd.readouterr().err.splitlines()
    assert len(said) == 2 and all(f"{tmp_path}/abc/" in line for line in said)
    assert "set aside as abc.damaged, and the prelude is computed again" in said[1]
    assert {path.name for path in tmp_path.iterdir()} == {"abc.damaged", "abc.lock"}
    with kept.turn(wait=True):
        kept.save({"step": 3}, LINES)
        assert kept.load() == ({"step": 3}, LINES)


def test_code_in_a_kept_prelude_does_not_run(tmp_path: Path) -> None:
    """A cache that several users share: whoever plants it can write the digests as well."""

    class Code:
        def __reduce__(self) -> tuple[Any, ...]:
            return os.system, (f"touch {tmp_path}/marker",)

    (tmp_path / "abc").mkdir()
    torch.save({"step": Code()}, tmp_path / "abc" / "state.pt")
    seal(tmp_path / "abc")
    kept = Kept(tmp_path, "abc")
    with kept.turn(wait=True):
        assert kept.load() is None
    assert {path.name for path in tmp_path.iterdir()} == {"abc.damaged", "abc.lock"}


def test_a_folder_that_cannot_be_written_is_used_as_it_is(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    if os.system(f"mount -t tmpfs -o size=200k none {disk} 2>/dev/null"):
        pytest.skip("a disk that can be made read-only needs the right to mount one")
    try:
        kept, other = Kept(disk / "prelude", "abc"), Kept(disk / "prelude", "xyz")
        with kept.turn(wait=True):
            kept.save({"step": 1}, LINES)
        os.system(f"mount -o remount,ro {disk}")
        capfd.readouterr()
        with kept.turn(wait=True):
            assert kept.load() == ({"step": 1}, LINES)
        with other.turn(wait=True):
            assert other.load() is None
            other.save({"step": 2}, LINES)
        assert other.load() is None
        said = capfd.readouterr().err.splitlines()
        assert len(said) == 2 and all("cache_dir cannot be written" in line for line in said)
    finally:
        os.system(f"umount {disk}")


@pytest.fixture(scope="module")
def composed(tmp_path_factory: pytest.TempPathFactory) -> DictConfig:
    return compose(tmp_path_factory.mktemp("unused"), *SMALL, *ALONE)


def signature_with(config: DictConfig, word: str) -> str:
    """Of the configuration with `word` set as on the command line."""
    config = copy.deepcopy(config)
    config.merge_with_dotlist([word])
    return prelude_signature(resolved(config))


@pytest.mark.parametrize(
    "word",
    [
        *("seed=1", "model.layers=2", "data.slip_rate=0.5", "sampling.temperature=0.5"),
        *("schedule.prelude.imitate.steps=7", "schedule.prelude.imitate.optimizer.lr=0.1"),
        *("hardware.micro_batch_tokens=8192", "record.rollouts=1", "buffer.keep=signal"),
    ],
)
def test_what_a_prelude_depends_on_makes_another_of_it(composed: DictConfig, word: str) -> None:
    assert signature_with(composed, "seed=0") != signature_with(composed, word)


@pytest.mark.parametrize(
    "word",
    [
        *("optimizer.lr=0.1", "optimizer.algorithm=sgd", "loss.scale=none", "schedule.steps=9"),
        *("schedule.cycle.solve.group_size=4", "evaluation.every=3", "checkpoint.every=7"),
        *("tracking.experiment=other", "export=true", "name=other", "folder=other"),
    ],
)
def test_what_comes_after_a_prelude_shares_it(composed: DictConfig, word: str) -> None:
    assert signature_with(composed, "seed=0") == signature_with(composed, word)


def test_a_prelude_that_borrows_the_optimizer_depends_on_it(composed: DictConfig) -> None:
    config = copy.deepcopy(composed)
    config.schedule.prelude.imitate.optimizer = None
    rates = [signature_with(config, f"optimizer.lr={rate}") for rate in (0.1, 0.2)]
    assert rates[0] != rates[1]


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> DictConfig:
    """Of which both learn before the cycle, the verifier from samples at last."""
    words = (*SMALL, *PAIR, "schedule.prelude.warmup.steps=2")
    return compose(tmp_path_factory.mktemp("unused"), *words)


@pytest.mark.parametrize(
    "word",
    [
        *("verifier.format=graded", "verifier.blind_spot=shared", "balance.power=0.5"),
        *("policy.verifier.model.layers=2", "policy.verifier.optimizer.lr=0.1"),
        *("data.judge_slip_rate=0.5", "schedule.prelude.judge.steps=7", "share_base=true"),
        *("data.wording.judge_template='{question} {solution}'", "roles.verifier=generator"),
    ],
)
def test_what_the_verifiers_prelude_depends_on(pair: DictConfig, word: str) -> None:
    assert signature_with(pair, "seed=0") != signature_with(pair, word)


@pytest.mark.parametrize(
    "word",
    [
        *("reward.alpha=0.1", "reward.anneal=linear", "schedule.cycle.solve.steps=3"),
        *("policy.generator.optimizer.lr=0.1", "quality.num_solutions=9", "data.stages.test=[7]"),
    ],
)
def test_runs_that_differ_in_the_cycle_share_the_verifiers_prelude(
    pair: DictConfig, word: str
) -> None:
    assert signature_with(pair, "seed=0") == signature_with(pair, word)


def test_a_prelude_without_samples_knows_no_way_of_paying(pair: DictConfig) -> None:
    """So that all verifiers of a comparison start from one prelude."""
    config = copy.deepcopy(pair)
    config.schedule.prelude.warmup.steps = 0
    first = signature_with(config, "seed=0")
    for word in ("verifier.format=graded", "verifier.gold_weight=0.5", "reward.alpha=0.1"):
        assert signature_with(config, word) == first
    assert signature_with(config, "verifier.blind_spot=shared") != first
