import os
import shutil
from pathlib import Path
from typing import Any

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


def damage(folder: Path, how: str) -> None:
    """Of the newest of the checkpoints 2, 3, 4, or of what names it."""
    file = folder / "checkpoints/000004/state.pt"
    raw = file.read_bytes()
    tenth = len(raw) // 10
    match how:
        case "flipped at 10 %" | "flipped at 50 %" | "flipped at 90 %":
            at = tenth * int(how.split()[2]) // 10
            file.write_bytes(raw[:at] + bytes(b ^ 0xFF for b in raw[at : at + 8]) + raw[at + 8 :])
        case "truncated":
            file.write_bytes(raw[: tenth * 5])
        case "empty":
            file.write_bytes(b"")
        case "state missing":
            file.unlink()
        case "digest missing":
            file.with_name("SHA256SUMS").unlink()
        case "digest empty":
            file.with_name("SHA256SUMS").write_text("")
        case "folder missing":
            shutil.rmtree(file.parent)
        case "folder a file":
            shutil.rmtree(file.parent)
            file.parent.write_text("")
        case "folder empty":
            shutil.rmtree(file.parent)
            file.parent.mkdir()
        case "as before digests":
            file.with_name("SHA256SUMS").unlink()
            torch.save({"rows": Path("an object")}, file)


DAMAGES = {
    "flipped at 10 %": "000004/state.pt: damaged",
    "flipped at 50 %": "000004/state.pt: damaged",
    "flipped at 90 %": "000004/state.pt: damaged",
    "truncated": "000004/state.pt: damaged",
    "empty": "000004/state.pt: damaged",
    "state missing": "000004/state.pt: missing",
    "digest missing": "000004/SHA256SUMS: missing; a version without digests wrote this",
    "digest empty": "000004/SHA256SUMS: damaged",
    "folder missing": "checkpoints/latest: names 000004, which is not there",
    "folder a file": "checkpoints/latest: names 000004, which is not there",
    "folder empty": "000004/SHA256SUMS: missing",
    "as before digests": "000004/SHA256SUMS: missing; a version without digests wrote this",
}


def three(folder: Path) -> Checkpoints:
    states = checkpoints(folder, keep=3)
    for step in (2, 3, 4):
        states.save({"step": step, "weights": torch.arange(5000.0)}, step)
    return checkpoints(folder, keep=3)


@pytest.mark.parametrize("how", DAMAGES)
def test_of_a_damaged_one_the_next_older_is_used(
    how: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    states = three(tmp_path)
    damage(tmp_path, how)
    found = states.load()
    assert found is not None and found["step"] == 3
    (said,) = capfd.readouterr().err.splitlines()
    assert DAMAGES[how] in said and said.endswith("checkpoints/000003 instead")
    states.save({"step": 4}, 4)  # the damaged one is replaced, though `latest` names it
    assert checkpoints(tmp_path).load() == {"step": 4}
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("text", ["", "\n", "000099\n", "../../etc\n", "\0\0\0\0", None])
def test_without_a_name_the_newest_is_used(
    text: str | None, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    states, latest = three(tmp_path), tmp_path / "checkpoints/latest"
    latest.unlink() if text is None else latest.write_text(text)
    found = states.load()
    assert found is not None and found["step"] == 4
    (said,) = capfd.readouterr().err.splitlines()
    assert f"{latest}: " in said and said.endswith("checkpoints/000004 instead")


def test_where_all_are_damaged_one_line_says_what_to_do(tmp_path: Path) -> None:
    states = three(tmp_path)
    for file in tmp_path.rglob("state.pt"):
        file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(ValueError) as raised:
        states.load()
    said = str(raised.value)
    assert all(f"00000{step}/state.pt: damaged" in said for step in (2, 3, 4))
    assert f"delete {tmp_path}/checkpoints to start this run over" in said and "\n" not in said


def test_a_name_without_any_checkpoint_is_no_new_start(tmp_path: Path) -> None:
    states = three(tmp_path)
    for folder in (tmp_path / "checkpoints").glob("0*"):
        shutil.rmtree(folder)
    with pytest.raises(ValueError, match=r"latest: names 000004, which is not there; no whole"):
        states.load()


def test_one_that_does_not_fit_is_passed_over(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    states = three(tmp_path)

    def check(state: dict[str, Any]) -> None:
        if state["step"] > 2:
            raise ValueError(f"metrics.jsonl: too short for {state['step']}")

    found = states.load(check)
    assert found is not None and found["step"] == 2
    assert "too short for 4; metrics.jsonl: too short for 3; going on" in capfd.readouterr().err
    states.save({"step": 3}, 3)  # 4 is of lines that are no more
    assert saved(tmp_path) == [2, 3]


def test_more_steps_than_six_digits(tmp_path: Path) -> None:
    states = checkpoints(tmp_path, keep=1)
    for step in (999_999, 1_000_000, 1_000_001):
        states.save({"step": step}, step)
    (tmp_path / "checkpoints/latest").unlink()
    assert saved(tmp_path) == [1_000_001]
    assert checkpoints(tmp_path).load() == {"step": 1_000_001}
