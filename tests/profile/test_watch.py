"""Small runs under the watch."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from rlcotrain import train
from rlcotrain.engine.transformers_engine import TransformersEngine
from rlcotrain.job import run
from rlcotrain.player import Player
from tests.runs import ALONE, SMALL, TINY, compose, lines, timeless

WORDS = (
    *SMALL,
    *TINY,
    *ALONE,
    *("schedule=rl", "schedule.steps=4", "evaluation.every=2"),
    *("schedule.cycle.solve.num_prompts=4", "schedule.cycle.solve.group_size=4"),
    "hardware.skip_zero_advantages=false",  # the models here earn nothing
)
WATCHED = ((train, "_step"), (Player, "next"), (TransformersEngine, "generate"))


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The folders of a plain run and of the same with a profile."""
    folder = tmp_path_factory.mktemp("profile")
    before = [getattr(*one) for one in WATCHED]
    run(compose(folder, *WORDS), folder / "plain")
    run(compose(folder, *WORDS, "profile=true", "peak_tflops=0.5"), folder / "watched")
    assert [getattr(*one) for one in WATCHED] == before, "nothing is left behind"
    return folder / "plain", folder / "watched"


def profile(folder: Path) -> dict[str, Any]:
    found = json.loads((folder / "profile.json").read_text())
    assert isinstance(found, dict)
    return found


def test_a_watch_changes_no_number_and_no_signature(folders: tuple[Path, Path]) -> None:
    plain, watched = folders
    assert timeless(plain / "metrics.jsonl") == timeless(watched / "metrics.jsonl")
    one, other = (json.loads((folder / "run.json").read_text()) for folder in folders)
    assert one["signature"] == other["signature"]
    assert not (plain / "profile.json").exists()


def test_a_run_that_has_ended_says_that_nothing_is_watched(
    folders: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    run(compose(folders[0].parent, *WORDS, "profile=true"), folders[0])
    assert "profile=true: this run has ended before" in capsys.readouterr().err
    assert not (folders[0] / "profile.json").exists()


def test_every_part_of_a_step_has_its_line(folders: tuple[Path, Path]) -> None:
    found = profile(folders[1])
    assert (found["peak_tflops"], found["device"], found["threads"]) == (0.5, "cpu", 1)
    assert found["peak_memory_before_trace_gib"] > 0 and found["matrix_product_tflops"] > 0
    parts = {name: {row["part"]: row for row in rows} for name, rows in found["parts"].items()}
    assert set(parts) == {"evaluation", "solve", "checkpoint"}
    inside = ("collate", "forward", "loss", "backward", "optimizer", "other")
    assert set(parts["solve"]) == {
        *("solve", "play", "play/generator", "play/judge", "play/judge/grade", "play/other"),
        *("play/judge/other", "play/generator/prefill", "play/generator/decode"),
        *("play/generator/other", "advantages", "update generator", "record", "other"),
        *(f"update generator/{name}" for name in inside),
    }
    assert set(parts["evaluation"]) >= {"evaluation", "generator", "grade", "record"}
    assert parts["solve"]["solve"]["calls"] == 2, "two steps of four went into the trace"
    top = [row for name, row in parts["solve"].items() if "/" not in name and name != "solve"]
    assert sum(row["share"] for row in top) == pytest.approx(1.0)


def test_tokens_and_operations_are_those_of_the_rows(folders: tuple[Path, Path]) -> None:
    found = {row["part"]: row for row in profile(folders[1])["parts"]["solve"]}
    steps = [line for line in lines(folders[1] / "metrics.jsonl") if line["phase"] == "solve"]
    trained = sum(line["generator/num_tokens"] for line in (steps[0], steps[3]))
    update, said = found["update generator"], found["play/generator"]
    assert update["tokens_per_second"] * update["seconds"] == pytest.approx(trained)
    assert said["tokens_per_second"] * said["seconds"] == pytest.approx(trained)
    # Both read prompts once and all but the last token of a completion; the update goes back, too.
    assert update["mfu"] * update["seconds"] == pytest.approx(3 * said["mfu"] * said["seconds"])
    step = found["solve"]
    assert step["mfu"] * step["seconds"] == pytest.approx(4 * said["mfu"] * said["seconds"])


def test_the_trace_is_one_that_browsers_open(folders: tuple[Path, Path]) -> None:
    with gzip.open(folders[1] / "trace.json.gz") as stream:
        events = json.load(stream)["traceEvents"]
    names = [event.get("name") for event in events]
    assert names.count("backward") >= 2 and names.count("decode") >= 2


def test_a_run_that_breaks_leaves_its_profile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise OSError("no room")

    monkeypatch.setattr("rlcotrain.record.Record.sample", broken)
    with pytest.raises(OSError, match="no room"):
        run(compose(tmp_path, *WORDS, "profile=true"), tmp_path / "run")
    found = profile(tmp_path / "run")["parts"]
    assert {row["part"] for row in found["solve"]} >= {"play", "update generator"}
    assert train._step.__name__ == "_step" and not hasattr(train._step, "__wrapped__")
