"""What run folders tell of time: folders by hand, a real run, lives that were killed."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from rlcotrain.build import resolved
from rlcotrain.job import run
from rlcotrain.plan import ledger, lives
from rlcotrain.plan.estimate import estimate
from rlcotrain.plan.recorded import recorded
from rlcotrain.plan.work import parts
from tests.runs import ALONE, SMALL, TINY, compose

WORDS = (
    *(*SMALL, *TINY, *ALONE, "schedule.steps=3", "evaluation.every=2"),
    *("schedule.prelude.pretrain.steps=0", "schedule.prelude.imitate.steps=2"),
    *("schedule.prelude.imitate.optimizer.warmup_steps=0", "schedule.cycle.solve.num_prompts=4"),
)


def make_folder(folder: Path, config: dict[str, Any], lines: list[dict[str, Any]]) -> Path:
    """A run of one life of 100 seconds that finished, with the lines as given."""
    folder.mkdir()
    OmegaConf.save(OmegaConf.create(config), folder / "config.yaml")
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    timing = {"saves": 2, "save_seconds": 3.0, "wait_seconds": 0.0}
    (folder / "result.json").write_text(json.dumps({"status": "finished", "timing": timing}))
    life = {"began": 1000.0, "startup": 4.0, "ended": 1100.0}
    (folder / "lives.json").write_text(json.dumps({"lives": [life]}))
    return folder


def steps(phase: str, key: str, *seconds: float) -> list[dict[str, Any]]:
    return [{"phase": phase, "step": n, key: value} for n, value in enumerate(seconds)]


def test_seconds_of_each_part(tmp_path: Path) -> None:
    config = resolved(compose(tmp_path, *WORDS))
    lines = [
        *steps("imitate", "imitate/time/step", 2.0, 1.0),
        *steps("evaluate", "time/evaluate", 7.0),
        *steps("solve", "time/step", 9.0, 3.0, 5.0),
        {"phase": "evaluate", "step": 2, "time/evaluate": 2.0},
        {"phase": "evaluate", "step": 3, "time/evaluate": 5.0},
    ]
    make_folder(tmp_path / "run", config, lines)
    found = {(timing.kind, timing.rows): timing.seconds for timing in recorded([tmp_path])}
    named = {(part.name, part.rows): found[part.kind, part.rows] for part in parts(config)}
    assert named == {
        ("startup", 1): 4.0,
        ("imitate", 32): 1.0,  # the first of each is slow, and no step's own
        ("solve", 32): 4.0,
        ("evaluate", 20): 5.0,
        ("evaluate", 10): 2.0,
        ("save", 1): 1.5,
        ("rest", 1): 100.0 - 2 * 1.0 - 3 * 4.0 - 2 * 5.0 - 2.0 - 3.0,
    }


def test_a_prelude_that_another_paid_for_tells_nothing(tmp_path: Path) -> None:
    config = resolved(compose(tmp_path, *WORDS))
    lines = [*steps("imitate", "imitate/time/step", 50.0), *steps("solve", "time/step", 1.0, 1.0)]
    folder = make_folder(tmp_path / "run", config, lines)
    timing = {"saves": 1, "save_seconds": 1.0, "wait_seconds": 60.0}
    (folder / "result.json").write_text(json.dumps({"status": "finished", "timing": timing}))
    found = {timing.kind: timing.seconds for timing in recorded([tmp_path])}
    kinds = {part.name: part.kind for part in parts(config)}
    assert kinds["imitate"] not in found
    assert found[kinds["rest"]] == 100.0 - 2 * 1.0 - 1.0 - 60.0


def test_a_folder_of_another_version_tells_nothing(tmp_path: Path) -> None:
    config = resolved(compose(tmp_path, *WORDS))
    del config["engine"]
    make_folder(tmp_path / "run", config, [])
    assert recorded([tmp_path, tmp_path / "none"]) == []


def test_a_run_tells_how_long_the_next_one_takes(tmp_path: Path) -> None:
    cfg = compose(tmp_path, *WORDS, "budget.phase=phase1")
    run(cfg, tmp_path / "run")
    (life,) = lives.read(tmp_path / "run")
    found = estimate(
        resolved(compose(tmp_path, *WORDS, "seed=1")), recorded([tmp_path]), kept=False
    )
    assert set(found.unknown) <= {"startup"}  # known where this is the process's first run
    took = (life.ended or 0.0) - life.began
    assert found.prelude + found.body == pytest.approx(took, rel=0.5)
    (entry,) = ledger.read(tmp_path / "ledger.jsonl")
    assert entry.phase == "phase1" and entry.folder == str(tmp_path / "run")
    assert entry.cpu_hours == pytest.approx(life.seconds / 3600)
    run(cfg, tmp_path / "run")  # finished: it gives its result, and has no other life
    assert len(lives.read(tmp_path / "run")) == 1


def test_a_killed_life_ended_with_its_last_sign(tmp_path: Path) -> None:
    noted = {"lives": [{"began": 1000.0, "startup": None}]}
    (tmp_path / "lives.json").write_text(json.dumps(noted))
    (tmp_path / "metrics.jsonl").touch()
    os.utime(tmp_path / "metrics.jsonl", (1060.0, 1060.0))
    with pytest.raises(RuntimeError), lives.live(tmp_path):
        raise RuntimeError("a life that fails has an end too")
    killed, failed = lives.read(tmp_path)
    assert killed.seconds == 60.0 and failed.ended is not None
    assert lives.read(tmp_path / "none") == []


def test_a_clock_that_is_set_back_makes_nothing_cheaper(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert lives.Life(began=5000.0, startup=2.0, ended=1400.0).seconds == 2.0
    now = iter([5000.0, 1400.0])
    monkeypatch.setattr("time.time", lambda: next(now))
    with lives.live(tmp_path):
        monkeypatch.undo()
    (life,) = lives.read(tmp_path)
    assert life.began == 5000.0 and 5000.0 <= (life.ended or 0.0) < 5010.0


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "{}", '{"lives": [{"x": 1}]}', '{"lives": [3]}', '{"lives": 3}']
)
def test_lives_that_cannot_be_read_are_named_and_stop_no_estimate(
    text: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "lives.json").write_text(text)
    with pytest.raises(ValueError, match=r"lives\.json: .*; restore it, or delete it: the ledger"):
        lives.read(broken)
    config = resolved(compose(tmp_path, *SMALL, *ALONE))
    (broken / "config.yaml").write_text(json.dumps(config))
    assert recorded([tmp_path]) == []
    assert f"warning: no estimate is made from a run: {broken}/lives.json" in capfd.readouterr().err
