import json
import os
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rlcotrain.files import read_lines, write_json
from rlcotrain.record import Record
from rlcotrain.types import Judgement, Verdict
from tests.rows import spoken
from tests.runs import lines


def opened(folder: Path, signature: str = "abc", rollouts: int = 2) -> Record:
    record = Record(folder, rollouts)
    record.open(signature, "start-s0", {"seed": "0"}, {"uri": None})
    return record


def test_a_folder_keeps_its_identity(tmp_path: Path) -> None:
    opened(tmp_path)
    first = json.loads((tmp_path / "run.json").read_text())
    assert first["name"] == "start-s0" and first["tags"] == {"seed": "0"}
    opened(tmp_path)
    again = json.loads((tmp_path / "run.json").read_text())
    assert (again["id"], again["started"]) == (first["id"], first["started"])
    with pytest.raises(
        ValueError, match=r"folder=.*another configuration \(abc, this one is xyz\)"
    ):
        opened(tmp_path, "xyz")
    assert json.loads((tmp_path / "run.json").read_text()) == again


def test_a_finished_run_keeps_the_tags_it_was_made_with(tmp_path: Path) -> None:
    record = opened(tmp_path)
    write_json(tmp_path / "result.json", {"status": "finished"})
    record.open("abc", "start-s0", {"seed": "0", "git_commit": "of another day"}, None)
    assert json.loads((tmp_path / "run.json").read_text())["tags"] == {"seed": "0"}


def test_a_line_has_its_own_time(tmp_path: Path) -> None:
    before = time.time()
    opened(tmp_path).line("solve", 3, {"generator/loss": 0.5})
    (line,) = lines(tmp_path / "metrics.jsonl")
    assert before - 0.001 <= line.pop("time") <= time.time() + 0.001
    assert line == {"step": 3, "phase": "solve", "generator/loss": 0.5}


def write(record: Record, steps: range, seconds: float) -> None:
    for step in steps:
        metrics = {"loss": float(step), "time/step": seconds, "imitate/time/step": seconds}
        record.line("solve", step, metrics)


def times(folder: Path) -> list[tuple[int, float]]:
    return [(line["step"], line["time/step"]) for line in lines(folder / "metrics.jsonl")]


def test_a_replay_takes_over_the_times_of_what_was_cut(tmp_path: Path) -> None:
    first = opened(tmp_path)
    write(first, range(2), 1.0)
    offsets = first.offsets()
    write(first, range(2, 4), 1.0)
    before = lines(tmp_path / "metrics.jsonl")

    second = opened(tmp_path)
    second.cut(offsets)
    assert lines(tmp_path / "metrics.jsonl") == before[:2]
    write(second, range(2, 5), 9.0)
    after = lines(tmp_path / "metrics.jsonl")
    assert after[:4] == before and after[4]["time/step"] == 9.0
    assert second.replayed == {"steps": 2, "different": 0}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ("cut", r"metrics\.jsonl: has \d+ bytes, the checkpoint needs its first \d+"),
        ("empty", r"metrics\.jsonl: has 0 bytes, the checkpoint needs its first \d+"),
        ("missing", r"metrics\.jsonl: is missing, the checkpoint needs its first \d+"),
        ("replaced", r"metrics\.jsonl: no line ends at byte \d+"),
        ("rollouts", r"rollouts\.jsonl: is missing, the checkpoint needs its first \d+"),
        ("garbage", r"metrics\.jsonl: line 2 is no JSON .*; restore the file, or cut it before"),
        ("tail", r"metrics\.jsonl: line 4 is no UTF-8 text; restore the file, or cut it before"),
        ("cut.jsonl", r"cut\.jsonl: line 1 has no phase, step; restore"),
    ],
)
def test_a_file_that_lost_lines_is_named_and_never_grown(
    change: str, reason: str, tmp_path: Path
) -> None:
    first = opened(tmp_path)
    write(first, range(3), 1.0)
    first.sample("solve", 0, [row()])
    offsets, file = first.offsets(), tmp_path / "metrics.jsonl"
    raw = file.read_bytes()
    middle = raw.index(b"\n") + 1
    match change:
        case "cut":
            os.truncate(file, offsets["metrics.jsonl"] - 1)
        case "empty":
            os.truncate(file, 0)
        case "missing":
            file.unlink()
        case "replaced":
            file.write_bytes(b'{"phase": "a", "step": 1}\n' + raw)
        case "rollouts":
            (tmp_path / "rollouts.jsonl").unlink()
        case "garbage":
            file.write_bytes(raw[:middle] + b"\0" * 9 + raw[middle + 9 :])
        case "tail":
            file.write_bytes(raw + b"\xff\xfe\n")
        case "cut.jsonl":
            (tmp_path / "cut.jsonl").write_text("{}\n")
    sizes = {path: path.stat().st_size for path in tmp_path.iterdir()}
    with pytest.raises(ValueError, match=reason):
        opened(tmp_path).cut(offsets)
    sizes |= {tmp_path / "run.json": (tmp_path / "run.json").stat().st_size}
    assert {path: path.stat().st_size for path in tmp_path.iterdir()} == sizes


def test_lines_are_on_the_disk_before_a_checkpoint_counts_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record, synced = opened(tmp_path), list[str]()
    write(record, range(2), 1.0)
    record.sample("solve", 0, [row()])
    real = os.fsync

    def fsync(number: int) -> None:
        synced.append(Path(os.readlink(f"/proc/self/fd/{number}")).name)
        real(number)

    monkeypatch.setattr(os, "fsync", fsync)
    record.offsets()
    assert synced == ["metrics.jsonl", "rollouts.jsonl", tmp_path.name]


@pytest.mark.parametrize("name", ["run.json", "result.json"])
@pytest.mark.parametrize("text", ["", "{", "[]", "\0\0"])
def test_records_that_cannot_be_read_are_named(name: str, text: str, tmp_path: Path) -> None:
    opened(tmp_path)
    (tmp_path / name).write_text(text)
    with pytest.raises(ValueError, match=rf"{tmp_path}/{name}: is (empty|no JSON).*; restore it"):
        opened(tmp_path)


def test_a_result_that_lacks_its_status_is_named(tmp_path: Path) -> None:
    opened(tmp_path)
    (tmp_path / "result.json").write_text("{}")
    with pytest.raises(ValueError, match=r"result\.json: has no status; restore it"):
        opened(tmp_path)


def test_an_identity_that_lacks_a_part_is_named(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text('{"signature": "abc"}')
    with pytest.raises(ValueError, match=r"run\.json: has no id, started; restore it, or delete"):
        opened(tmp_path)


def test_a_replay_that_is_killed_still_knows_the_first_times(tmp_path: Path) -> None:
    first = opened(tmp_path)
    write(first, range(1), 1.0)
    offsets = first.offsets()
    write(first, range(1, 5), 1.0)

    second = opened(tmp_path)  # replays one line and dies
    second.cut(offsets)
    write(second, range(1, 2), 2.0)

    third = opened(tmp_path)
    third.cut(offsets)
    write(third, range(1, 6), 3.0)
    assert times(tmp_path) == [(0, 1.0), (1, 1.0), (2, 1.0), (3, 1.0), (4, 1.0), (5, 3.0)]
    assert not (tmp_path / "cut.jsonl").exists(), "all of it was replayed"


def test_what_a_later_checkpoint_holds_is_not_waited_for(tmp_path: Path) -> None:
    first = opened(tmp_path)
    write(first, range(3), 1.0)
    second = opened(tmp_path)
    second.cut({})
    write(second, range(2), 2.0)
    offsets = second.offsets()  # a checkpoint after the replay of two of three

    third = opened(tmp_path)
    third.cut(offsets)
    assert [line["step"] for line in lines(tmp_path / "cut.jsonl")] == [2]
    write(third, range(2, 3), 3.0)
    assert times(tmp_path) == [(0, 1.0), (1, 1.0), (2, 1.0)]


def test_a_replay_that_differs_is_counted(tmp_path: Path) -> None:
    first = opened(tmp_path)
    write(first, range(2), 1.0)
    second = opened(tmp_path)
    second.cut({})
    second.line("solve", 0, {"loss": 7.0})
    assert second.replayed == {"steps": 1, "different": 1}


def test_a_line_that_a_kill_left_half_written_is_none(tmp_path: Path) -> None:
    file = tmp_path / "metrics.jsonl"
    file.write_text('{"step": 0}\n{"step": 1}\n{"st')
    assert list(read_lines(file)) == [{"step": 0}, {"step": 1}]
    assert list(read_lines(file, 12)) == [{"step": 1}]
    assert list(read_lines(file, 0, 12)) == [{"step": 0}]
    assert list(read_lines(tmp_path / "none.jsonl")) == []


def test_lines_of_a_kept_prelude_repeat_ones_own(tmp_path: Path) -> None:
    """Killed before the first checkpoint, a run finds its prelude kept: no line gets a new time."""
    first = opened(tmp_path / "own")
    write(first, range(2), 1.0)
    other = opened(tmp_path / "other")
    write(other, range(3), 5.0)
    other.sample("solve", 0, [row()])
    second = opened(tmp_path / "own")
    second.cut({})
    second.append_lines(other.lines())
    assert times(tmp_path / "own") == [(0, 1.0), (1, 1.0), (2, 5.0)]
    assert second.replayed == {"steps": 2, "different": 0}
    rows = [(tmp_path / name / "rollouts.jsonl").read_bytes() for name in ("own", "other")]
    assert rows[0] == rows[1]


def row(**changes: Any) -> Any:
    made = spoken([1], [5, 6, 7], text="2", **changes).give("outcome", 1.0, part="correct")
    return replace(made, advantages=np.array([0.5, 0.5, 0.25], np.float32))


def judgement(episode: str, score: float | None) -> Any:
    """What the verifier said of an episode's solution, which is wrong."""
    verdict = Verdict(score=None, status="missing")
    if score is not None:
        verdict = Verdict(score=score, steps=(1.0, score))
    return replace(
        spoken([1], [8, 9], f"{episode}/verifier", episode=episode),
        role="verifier",
        text=f"verdict {score}",
        judgement=Judgement(verdict=verdict, right=False, count=2),
        advantages=np.zeros(2, np.float32),
    )


def written(folder: Path, key: str) -> list[Any]:
    return [line[key] for line in lines(folder / "rollouts.jsonl")]


def solutions(groups: int, each: int) -> list[Any]:
    """Solutions of some problems, an episode each."""
    return [
        row(peers=f"{group}", episode=f"{group}/{place}")
        for group in range(groups)
        for place in range(each)
    ]


def test_rollouts_are_whole_rows_spread_over_the_groups(tmp_path: Path) -> None:
    opened(tmp_path, rollouts=2).sample("solve", 1, solutions(groups=4, each=2))
    first, second = lines(tmp_path / "rollouts.jsonl")
    assert (first["peers"], second["peers"]) == ("0", "2")
    assert (first["episode"], second["episode"]) == ("0/0", "2/0")
    assert first["rewards"] == {"outcome/correct@0-3": 1.0}
    assert first["advantage"] == 0.416667 and first["length"] == 3 and first["text"] == "2"
    assert "verdict" not in first, "a solution has none"


def test_a_solution_brings_what_was_said_of_it(tmp_path: Path) -> None:
    """Rows come with all solutions first; lines have each judgement under its solution."""
    said = [judgement(f"{group}/{place}", 0.0) for group in range(4) for place in range(2)]
    rows = solutions(groups=4, each=2) + said
    opened(tmp_path, rollouts=2).sample("solve", 1, rows)
    assert written(tmp_path, "role") == ["generator", "verifier"] * 2
    assert written(tmp_path, "episode") == ["0/0", "0/0", "2/0", "2/0"]
    line = lines(tmp_path / "rollouts.jsonl")[1]
    assert line["verdict"] == {"status": "ok", "score": 0.0, "steps": [1.0, 0.0]}
    assert line["judged_right"] is False


def test_of_many_judgements_two_are_written(tmp_path: Path) -> None:
    scores = [None, *(i / 7 for i in range(7))]
    rows = [row(episode="0/0"), *(judgement("0/0", score) for score in scores)]
    opened(tmp_path, rollouts=4).sample("verify", 1, rows)
    assert written(tmp_path, "text") == ["2", "verdict None", "verdict 0.0"]
    silent = lines(tmp_path / "rollouts.jsonl")[1]
    assert silent["verdict"] == {"status": "missing", "score": None, "steps": []}


def test_a_demonstrated_judgement_stands_alone(tmp_path: Path) -> None:
    """A prelude's: nobody said the solution, and nothing is held against the judgement."""
    rows = [replace(judgement(f"0/{place}", 1.0), judgement=None) for place in range(3)]
    opened(tmp_path, rollouts=2).sample("judge", 0, rows)
    assert written(tmp_path, "episode") == ["0/0", "0/1"]
    assert all("verdict" not in line for line in lines(tmp_path / "rollouts.jsonl"))


@pytest.mark.parametrize(("rollouts", "count"), [(0, 0), (3, 3), (99, 8)])
def test_as_many_exchanges_as_asked_for_or_all(tmp_path: Path, rollouts: int, count: int) -> None:
    opened(tmp_path, rollouts=rollouts).sample("solve", 1, solutions(groups=4, each=2))
    assert len(lines(tmp_path / "rollouts.jsonl")) == count


def test_a_count_below_0_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"record\.rollouts=-1: must be 0 or more"):
        Record(tmp_path, -1)


def test_a_file_is_replaced_as_a_whole(tmp_path: Path) -> None:
    file = tmp_path / "result.json"
    write_json(file, {"status": "failed"})
    with pytest.raises(TypeError):
        write_json(file, {"status": {1, 2}})
    assert json.loads(file.read_text()) == {"status": "failed"}
    write_json(file, {"status": "finished"})
    assert json.loads(file.read_text()) == {"status": "finished"}
    assert [path.name for path in tmp_path.iterdir()] == ["result.json"]
