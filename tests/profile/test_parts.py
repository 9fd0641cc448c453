import json
from pathlib import Path

import pytest

from rlcotrain.profile.parts import Part, Parts
from rlcotrain.profile.report import table, write


def test_parts_lie_where_they_were_entered() -> None:
    waits: list[None] = []
    parts = Parts(lambda: waits.append(None))
    for _ in range(2):
        with parts.part("step"), parts.part("update"):
            parts.add(tokens=5, flops=7.0)
            with parts.part("forward"), parts.part("forward"):
                parts.add(flops=10.0)
    step, update = parts.found[("step",)], parts.found[("step", "update")]
    forward = parts.found[("step", "update", "forward")]
    assert [one.calls for one in (step, update, forward)] == [2, 2, 2], "a part is none of itself"
    assert [one.tokens for one in (step, update, forward)] == [0, 10, 0]
    assert [one.flops for one in (step, update, forward)] == [34.0, 34.0, 20.0]
    assert step.seconds >= update.seconds >= forward.seconds > 0
    assert len(waits) == 2 * 2 * 3


def test_a_part_that_fails_is_left_all_the_same() -> None:
    parts = Parts(lambda: None)
    with pytest.raises(KeyError), parts.part("step"), parts.part("update"):
        raise KeyError
    with parts.part("step"):
        pass
    assert parts.found[("step",)].calls == 2 and set(parts.found) == {("step",), ("step", "update")}


def by_hand() -> Parts:
    parts = Parts(lambda: None)
    parts.found = {
        ("solve",): Part(calls=2, seconds=10.0, flops=4e12),
        ("solve", "play"): Part(calls=2, seconds=6.0),
        ("solve", "play", "generator"): Part(calls=2, seconds=6.0, tokens=300, flops=1e12),
        ("solve", "update"): Part(calls=2, seconds=3.0, tokens=60, flops=3e12),
    }
    return parts


def test_a_table_by_hand() -> None:
    rows = table(by_hand(), "solve", peak=2e12)
    shown = [(row["part"], row["share"], row["tokens_per_second"], row["mfu"]) for row in rows]
    assert shown == [
        ("solve", 1.0, None, 0.2),
        ("play", 0.6, None, None),
        ("play/generator", 0.6, 50.0, pytest.approx(1 / 12)),
        ("play/other", 0.0, None, None),
        ("update", 0.3, 20.0, 0.5),
        ("other", pytest.approx(0.1), None, None),
    ]


def test_what_is_written(tmp_path: Path) -> None:
    write(tmp_path, by_hand(), {"device": "cpu", "peak_tflops": 2.0})
    found = json.loads((tmp_path / "profile.json").read_text())
    assert found["device"] == "cpu" and found["parts"]["solve"][4]["seconds"] == 3.0
    text = (tmp_path / "profile.md").read_text()
    assert "| &emsp;update | 2 | 1.5 | 3 | 30.0% | 20 | 50.0% |" in text
