import multiprocessing
from pathlib import Path
from typing import Any

import pytest

from rlcotrain.build import prelude_signature, resolved
from rlcotrain.kept import Kept
from tests.runs import SMALL, compose

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


def hold(folder: Path, ready: Any, done: Any) -> None:
    with Kept(folder, "abc").turn(wait=True):
        ready.set()
        done.wait(30)
        Kept(folder, "abc").folder.mkdir()


def test_one_that_has_nothing_waits(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    spawn = multiprocessing.get_context("fork")
    ready, done = spawn.Event(), spawn.Event()
    payer = spawn.Process(target=hold, args=(tmp_path, ready, done))
    payer.start()
    try:
        assert ready.wait(30)
        spawn.Process(target=lambda: done.set(), daemon=True)
        done.set()
        with Kept(tmp_path, "abc").turn(wait=True):
            assert (tmp_path / "abc").exists(), "the payer had ended"
    finally:
        payer.kill()
        payer.join()


def test_a_full_disk_keeps_nothing_and_stops_nobody(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    kept = Kept(tmp_path, "abc")
    with kept.turn(wait=True):
        kept.save({"step": 1}, {"no folder/metrics.jsonl": b""})
    assert "the prelude was not kept" in capfd.readouterr().err
    assert kept.load() is None and [path.name for path in tmp_path.iterdir()] == ["abc.lock"]


def signature_of(folder: Path, *words: str) -> str:
    return prelude_signature(resolved(compose(folder, *SMALL, *words)))


@pytest.mark.parametrize(
    "word",
    [
        *("seed=1", "model.layers=2", "data.slip_rate=0.5", "sampling.temperature=0.5"),
        *("schedule.prelude.imitate.steps=7", "schedule.prelude.imitate.optimizer.lr=0.1"),
        *("hardware.micro_batch_tokens=8192", "record.rollouts=1"),
    ],
)
def test_what_a_prelude_depends_on_makes_another_of_it(tmp_path: Path, word: str) -> None:
    assert signature_of(tmp_path) != signature_of(tmp_path, word)


@pytest.mark.parametrize(
    "word",
    [
        *("optimizer.lr=0.1", "optimizer=sgd", "loss=drgrpo", "schedule.steps=9"),
        *("schedule.cycle.solve.group_size=4", "evaluation.every=3", "checkpoint.every=7"),
        *("tracking.experiment=other", "export=true", "name=other"),
    ],
)
def test_what_comes_after_a_prelude_shares_it(tmp_path: Path, word: str) -> None:
    assert signature_of(tmp_path) == signature_of(tmp_path, word)
