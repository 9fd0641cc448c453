import os
from pathlib import Path

import pytest
import torch

from rlcotrain.checkpoint import Checkpoints


def checkpoints(folder: Path, keep: int = 2) -> Checkpoints:
    return Checkpoints(folder, every=1, keep=keep, metric="accuracy/sampled")


def saved(folder: Path) -> list[int]:
    """The steps whose states are there."""
    return sorted(int(path.name) for path in (folder / "checkpoints").glob("[0-9]*"))


def test_nothing_saved_is_nothing_loaded(tmp_path: Path) -> None:
    assert checkpoints(tmp_path).load() is None


def test_what_is_saved_is_loaded_to_the_bit(tmp_path: Path) -> None:
    weights = torch.tensor([0.1, float("nan"), -0.0])
    checkpoints(tmp_path).save({"weights": weights, "cursor": {"all": 3}}, 1)
    found = checkpoints(tmp_path).load()
    assert found is not None and found["cursor"] == {"all": 3}
    assert found["weights"].numpy().tobytes() == weights.numpy().tobytes()


def test_the_newest_and_the_best_are_kept(tmp_path: Path) -> None:
    states = checkpoints(tmp_path)
    for step in range(1, 7):
        states.save({"step": step}, step, best=step == 2)
    assert saved(tmp_path) == [2, 5, 6]
    assert (tmp_path / "checkpoints" / "best").read_text() == "000002\n"
    assert states.load() == {"step": 6}
    states.save({"step": 7}, 7, best=True)
    assert saved(tmp_path) == [6, 7]


@pytest.mark.parametrize("keep", [1, 3])
def test_as_many_as_asked_for(tmp_path: Path, keep: int) -> None:
    states = checkpoints(tmp_path, keep)
    for step in range(1, 6):
        states.save({"step": step}, step)
    assert saved(tmp_path) == list(range(6 - keep, 6))


def test_what_a_kill_left_goes_with_the_next_state(tmp_path: Path) -> None:
    states = checkpoints(tmp_path)
    states.save({"step": 1}, 1)
    left = tmp_path / "checkpoints" / ".saving-000002"
    left.mkdir()
    (left / "state.pt").write_bytes(b"half")
    named = tmp_path / "checkpoints" / "000003"  # renamed, and not yet pointed to
    named.mkdir()
    (named / "state.pt").write_bytes(b"of a life that ended")
    assert states.load() == {"step": 1}
    states.save({"step": 3}, 3)
    assert states.load() == {"step": 3}
    names = {path.name for path in (tmp_path / "checkpoints").iterdir()}
    assert names == {"000001", "000003", "latest"}


def test_a_state_that_is_pointed_to_is_never_taken_away(tmp_path: Path) -> None:
    """A signal saves a step again that had been saved: a kill meanwhile must not lose it."""
    states = checkpoints(tmp_path)
    states.save({"step": 4}, 4)
    inode = (tmp_path / "checkpoints" / "000004").stat().st_ino
    states.save({"step": 4}, 4)
    assert (tmp_path / "checkpoints" / "000004").stat().st_ino == inode


def test_a_full_disk_leaves_the_older_state_and_no_half_one(tmp_path: Path) -> None:
    states = checkpoints(tmp_path)
    states.save({"step": 1}, 1)
    if os.system(f"mount -t tmpfs -o size=64k none {tmp_path}/checkpoints 2>/dev/null"):
        pytest.skip("a small disk needs the right to mount one")
    try:
        states.save({"step": 1}, 1)
        with pytest.raises(OSError, match="No space left on device"):
            states.save({"weights": torch.zeros(100_000)}, 2)
        assert states.load() == {"step": 1}
        assert saved(tmp_path) == [1]
        assert not list((tmp_path / "checkpoints").glob(".saving*"))
    finally:
        os.system(f"umount {tmp_path}/checkpoints")


@pytest.mark.parametrize("key", ["every", "keep"])
def test_counts_below_1_are_named(tmp_path: Path, key: str) -> None:
    given = {"every": 1, "keep": 1} | {key: 0}
    with pytest.raises(ValueError, match=rf"checkpoint\.{key}=0: must be 1 or more"):
        Checkpoints(tmp_path, **given, metric="accuracy/sampled")
