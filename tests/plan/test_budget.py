"""Limits and the ledger, with prices worked by hand."""

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from rlcotrain.build import resolved
from rlcotrain.plan import ledger
from rlcotrain.plan.budget import binds, refuse
from rlcotrain.plan.estimate import Estimate
from rlcotrain.plan.plan import Plan
from rlcotrain.plan.report import duration, report
from rlcotrain.signature import signature
from tests.runs import compose

GPU = ("hardware.device=cuda", "hardware.price_per_gpu_hour=2.5")


def plan(folder: Path, *words: str, unknown: tuple[str, ...] = ()) -> Plan:
    """Two runs that take two hours each, one after another."""
    configs = {
        f"seed={seed}": resolved(compose(folder, *GPU, f"seed={seed}", *words)) for seed in (1, 2)
    }
    found = Estimate(
        startup=0.0, prelude=0.0, body=7200.0, unknown=unknown, basis="3 recorded runs"
    )
    return Plan(
        configs=configs,
        estimates=dict.fromkeys(configs, found),
        width=1,
        wall=14400.0,
        taken=dict.fromkeys(configs, 7200.0),
    )


def test_hours_and_dollars(tmp_path: Path) -> None:
    found = plan(tmp_path)
    assert (found.gpu_hours, found.usd, found.cpu_hours) == (4.0, 10.0, 4.0)
    said = report(found, "1 GPUs")
    assert "estimate: 4 h 0 min with 1 at once, 4.00 GPU-hours, 10.00 dollars" in said
    assert "phase2 has used 0.00 of 200.00 dollars" in said
    assert plan(tmp_path, "hardware.device=cpu").usd == 0
    assert "4.000 CPU core-hours" in report(plan(tmp_path, "hardware.device=cpu"), "this process")


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("budget.max_usd=9.99", r"budget.max_usd=9.99: the estimate is 10.00 dollars"),
        ("budget.max_gpu_hours=3", r"budget.max_gpu_hours=3: the estimate is 4.00 GPU-hours"),
        (
            "budget.phase_usd=9",
            r"budget.phase_usd=9: phase2 has used 0.00 dollars \(.*\), the estimate is 10.00 more",
        ),
    ],
)
def test_a_plan_above_a_limit_is_refused(word: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        refuse(plan(tmp_path, word))


def test_a_plan_at_its_limits_is_not(tmp_path: Path) -> None:
    refuse(plan(tmp_path, "budget.max_usd=10", "budget.max_gpu_hours=4", "budget.phase_usd=10"))


def test_what_is_not_known_is_within_no_limit(tmp_path: Path) -> None:
    refuse(plan(tmp_path, unknown=("solve",)))  # the phase's limit is held by the ledger later
    with pytest.raises(ValueError, match=r"max_usd=99: cannot be held.*seed=1 takes \(solve\)"):
        refuse(plan(tmp_path, "budget.max_usd=99", unknown=("solve",)))


def test_what_a_phase_has_used_counts(tmp_path: Path) -> None:
    config = resolved(compose(tmp_path, *GPU))
    file = Path(config["budget"]["ledger"])
    line = ledger.entry(config, "one", tmp_path, seconds=36 * 3600.0)
    assert (line.phase, line.gpu_hours, line.usd) == ("phase2", 36.0, 90.0)
    for run, usd in (("one", 30.0), ("one", 90.0), ("two", 101.0)):  # the last of a run counts
        ledger.append(file, replace(line, run=run, usd=usd))
    ledger.append(file, replace(line, run="three", phase="phase3", usd=7.0))
    assert ledger.used_usd(ledger.read(file), "phase2") == 191.0
    with pytest.raises(ValueError, match=r"has used 191.00 dollars .*, the estimate is 10.00 more"):
        refuse(plan(tmp_path))
    assert list(ledger.table(ledger.read(file))) == [
        "phase2: 191.00 dollars, 72.00 GPU-hours, 72.00 CPU core-hours, 2 runs",
        "phase3: 7.00 dollars, 36.00 GPU-hours, 36.00 CPU core-hours, 1 runs",
    ]


def test_lines_written_at_once_and_one_that_was_cut_off(tmp_path: Path) -> None:
    file = tmp_path / "ledger.jsonl"
    line = ledger.entry(resolved(compose(tmp_path)), "0", tmp_path, seconds=1.0)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda run: ledger.append(file, replace(line, run=str(run))), range(40)))
    file.write_text(file.read_text() + json.dumps({"run": "41"})[:-3])
    assert {entry.run for entry in ledger.read(file)} == set(map(str, range(40)))
    assert ledger.read(tmp_path / "none") == []


@pytest.mark.parametrize(
    ("words", "binding"),
    [
        (GPU, True),  # the phase's
        ((*GPU, "budget.phase_usd=null"), False),
        ((*GPU, "hardware.price_per_gpu_hour=0"), False),
        ((*GPU, "hardware.price_per_gpu_hour=0", "budget.max_gpu_hours=1"), True),
        (("budget.max_usd=1",), False),  # a CPU costs nothing
    ],
)
def test_which_limits_can_bind(words: tuple[str, ...], binding: bool, tmp_path: Path) -> None:
    assert binds(resolved(compose(tmp_path, *words))) is binding


def test_price_and_limits_are_no_part_of_what_a_run_is(tmp_path: Path) -> None:
    def signed(*words: str) -> str:
        config: dict[str, Any] = resolved(compose(tmp_path, *words))
        return signature(config)

    words = ("budget.max_usd=1", "dry_run=true", "hardware.price_per_gpu_hour=3")
    assert signed(*words) == signed() != signed("hardware.threads=2")


def test_durations() -> None:
    assert [duration(s) for s in (0.4, 99.4, 200, 3599.6, 7500)] == [
        *("0 s", "99 s", "3 min 20 s", "1 h 0 min", "2 h 5 min")
    ]


LINE = ledger.Entry(run="a", phase="p", folder="/x", gpu_hours=1.0, cpu_hours=2.0, usd=3.0)


@pytest.mark.parametrize("cut", [1, 20, 80])
def test_a_line_that_a_full_disk_cut_poisons_no_other(cut: int, tmp_path: Path) -> None:
    file = tmp_path / "ledger.jsonl"
    ledger.append(file, LINE)
    ledger.append(file, replace(LINE, run="b"))
    file.write_bytes(file.read_bytes()[:-cut])
    assert [entry.run for entry in ledger.read(file)] == ["a"]
    ledger.append(file, replace(LINE, run="c"))
    assert [entry.run for entry in ledger.read(file)] == ["a", "c"]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ('{"run": "a", "pha{"run": "b"}', "line 2 is no JSON"),  # glued by an earlier version
        ("", "line 2 is empty"),
        ("[]", "line 2 is no JSON object"),
        ('{"run": "a"}', "line 2 has no phase, folder, gpu_hours, cpu_hours, usd"),
        (json.dumps({**vars(LINE), "usd": "3"}), "line 2 is no entry"),
        (json.dumps({**vars(LINE), "more": 1}), "line 2 is no entry"),
    ],
)
def test_a_line_that_is_no_entry_is_named(line: str, reason: str, tmp_path: Path) -> None:
    file = tmp_path / "ledger.jsonl"
    ledger.append(file, LINE)
    with file.open("a") as stream:
        stream.write(f"{line}\n")
    with pytest.raises(ValueError, match=rf"{file}: {reason}.*; mend or delete that line"):
        ledger.read(file)
    command = [sys.executable, "-m", "rlcotrain.plan.ledger", str(file)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 1
    (said,) = done.stderr.splitlines()
    assert said.startswith(f"error: {file}: {reason}")
