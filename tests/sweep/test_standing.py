"""What a point is doing, and how that is shown."""

import json
import os
import pickle
from pathlib import Path
from typing import Any

import pytest

from rlcotrain.sweep import Noted, Sweep
from rlcotrain.sweep.job import Job
from rlcotrain.sweep.screen import Screen, agreed, lines, summary
from rlcotrain.sweep.standing import LOGS, Standing, Standings

TRACE = "Traceback (most recent call last):\n  File ...\n{}\n"


def point(folder: Path, steps: int = 0, **result: Any) -> Path:
    """A run folder after some steps, with a result if there is one."""
    run = folder / "aaa"
    run.mkdir(exist_ok=True)
    line = {"phase": "solve", "generator/reward/outcome": 0.25}
    text = [json.dumps({"phase": "evaluate"}), *[json.dumps(line)] * steps]
    (run / "metrics.jsonl").write_text("".join(f"{one}\n" for one in text))
    if result:
        (run / "result.json").write_text(json.dumps({"signature": "aaa", **result}))
    return folder


def standing(folder: Path, job: Job | None) -> Standing:
    sweep = Sweep("1", "a", None, {"aaa": Noted(["seed=1"], steps=9, job="7")})
    (found,) = Standings(folder)(sweep, {} if job is None else {"aaa": job})
    return found


def raises(folder: Path, last: str) -> None:
    """What submitit keeps of job 7 that raised."""
    (folder / LOGS).mkdir()
    text = pickle.dumps(("error", TRACE.format(last)))
    (folder / LOGS / "7_0_result.pkl").write_bytes(text)


RUNS, WAITS = Job(state="running", restarts=2), Job(state="queued", words="Priority")
JUST, LONG = (Job(state="ended", words="died: FAILED", ended_s=s) for s in (1.0, 60.0))


@pytest.mark.parametrize(
    ("result", "job", "state", "reason"),
    [
        ({"status": "finished"}, RUNS, "done", None),
        ({"status": "finished"}, None, "done", None),
        ({"status": "finished", "signature": "bbb"}, RUNS, "running", None),
        ({"status": "failed", "reason": "E: no"}, JUST, "failed", "E: no"),
        ({"status": "failed", "reason": "E: of an earlier try"}, WAITS, "queued", "Priority"),
        ({"status": "failed", "reason": "E: no"}, None, "failed", "E: no"),
        ({}, RUNS, "running", None),
        ({}, JUST, "running", None),  # its result may only be late
        ({}, LONG, "failed", "died: FAILED"),
        ({}, None, "unfinished", None),
        (
            {},
            Job(state="queued", words="PartitionTimeLimit", hopeless=True),
            "failed",
            "it would wait for ever: PartitionTimeLimit",
        ),
    ],
)
def test_a_state_comes_from_folder_and_job(
    result: dict[str, Any], job: Job | None, state: str, reason: str | None, tmp_path: Path
) -> None:
    found = standing(point(tmp_path, **result), job)
    assert (found.state, found.reason) == (state, reason)


def test_what_a_job_raised_before_its_run_began_is_its_reason(tmp_path: Path) -> None:
    raises(tmp_path, "hydra_plugins._rlcotrain_points.PointFailed: ValueError: no GPU")
    found = standing(tmp_path, JUST)
    assert (found.state, found.reason) == ("failed", "ValueError: no GPU")


def test_progress_is_read_on_and_again_after_a_cut(tmp_path: Path) -> None:
    sweep = Sweep("1", "a", None, {"aaa": Noted(["seed=1"], steps=9)})
    standings = Standings(point(tmp_path, steps=2))

    def seen() -> tuple[int, float | None]:
        (one,) = standings(sweep, {"aaa": RUNS})
        return one.steps, one.reward

    assert seen() == (2, 0.25)
    with (tmp_path / "aaa/metrics.jsonl").open("a") as stream:
        stream.write('{"phase": "solve", "generator/reward/outcome": 0.5}\n{"phase": "so')
    assert seen() == (3, 0.5)
    point(tmp_path, steps=1)
    assert seen() == (1, 0.25)


def test_the_table_of_standings(tmp_path: Path) -> None:
    one = standing(point(tmp_path, steps=4), RUNS)
    head, line = lines([one])
    assert head.split() == ["point", "state", "reward", "requeued", "reason"]
    assert line.split() == ["aaa", "running,", "step", "4", "of", "9", "0.250", "2", "times"]
    assert summary([one, one]) == "2 points: 2 running"


def test_where_there_is_no_terminal_only_changes_are_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    screen = Screen()
    for job in (WAITS, RUNS, RUNS, Job(state="running", restarts=3)):
        screen.show([standing(tmp_path, job)])
    screen.show([], note="squeue: no")
    screen.show([], note="squeue: no")
    screen.show([])
    assert capsys.readouterr().out.splitlines() == [
        "aaa requeued, 2 times by now",
        "aaa requeued, 3 times by now",
        "squeue: no",
        "SLURM answers again",
    ]


def test_nobody_there_to_ask_is_a_no(capsys: pytest.CaptureFixture[str]) -> None:
    assert not agreed("cancel?") and capsys.readouterr().out == ""


@pytest.mark.parametrize("name", ["result.json", "metrics.jsonl"])
@pytest.mark.parametrize("text", ["garbage\n", "[]\n", "\0\0\n"])
def test_a_point_that_cannot_be_read_is_told_beside_the_others(
    name: str, text: str, tmp_path: Path
) -> None:
    (point(tmp_path, 3) / "aaa" / name).write_text(text)
    found = standing(tmp_path, None)
    assert found.state == "failed" and (found.reason or "").startswith(f"{tmp_path}/aaa/{name}: is")
    assert standing(tmp_path, RUNS).state == "running"


def test_a_job_that_left_code_is_not_run(tmp_path: Path) -> None:
    class Code:
        def __reduce__(self) -> tuple[Any, ...]:
            return os.system, (f"touch {tmp_path}/marker",)

    point(tmp_path)
    (tmp_path / LOGS).mkdir()
    (tmp_path / LOGS / "7_0_result.pkl").write_bytes(pickle.dumps(("error", Code())))
    found = standing(tmp_path, LONG)
    assert not (tmp_path / "marker").exists()
    assert (found.reason or "").endswith("7_0_result.pkl cannot be read")
