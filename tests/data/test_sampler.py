import json
from pathlib import Path
from typing import Any

import pytest

from rlcotrain.data.arithmetic import Arithmetic
from rlcotrain.data.dataset import Dataset, Finite
from rlcotrain.data.sampler import Sampler
from rlcotrain.data.wording import Wording
from rlcotrain.types import Problem

EVERY: dict[str, Any] = {"order": "uniform", "pass_rates": None, "low": 0.0, "high": 1.0}


def arithmetic() -> Arithmetic:
    return Arithmetic(
        stages={},
        seed=5,
        levels=[2, 3],
        slip="wrap",
        slip_rate=0.6,
        held_out=0.1,
        wording=Wording(),
    )


def finite() -> Finite:
    """p0..p9 of levels 1, 2, 1, 2 ..."""
    train = [Problem(id=f"p{i}", question=f"{i}", level=1 + i % 2) for i in range(10)]
    return Finite("toy", Wording(), train, [Problem(id="t", question="t")], 3, {})


def sampler(dataset: Dataset | None = None, **changes: Any) -> Sampler:
    return Sampler(dataset or arithmetic(), **{**EVERY, "stages": None, **changes})


def rates(tmp_path: Path, **right: int) -> str:
    """A file that says how many of 4 answers were right."""
    file = tmp_path / "rates.jsonl"
    lines = [json.dumps({"id": name, "n": 4, "c": c, "pass@1": c / 4}) for name, c in right.items()]
    file.write_text("\n".join(lines))
    return str(file)


def ids(problems: list[Problem]) -> list[str]:
    return [problem.id for problem in problems]


def test_draws_go_on_where_the_last_one_ended() -> None:
    whole, parts = sampler(), sampler()
    assert whole.draw(5, None, 0) == parts.draw(2, None, 0) + parts.draw(3, None, 0)


def test_every_choice_of_levels_has_its_own_cursor() -> None:
    mixed, plain = sampler(), sampler()
    mixed.draw(4, (3,), 0)
    assert mixed.draw(3, (2,), 0) == plain.draw(3, (2,), 0)
    assert {problem.level for problem in mixed.draw(8, (3,), 0)} == {3}


def test_a_resumed_sampler_draws_what_it_would_have_drawn() -> None:
    running, resumed = sampler(), sampler()
    running.draw(7, None, 0)
    running.draw(2, (2, 3), 0)
    state = running.state_dict()
    ahead = running.draw(4, None, 0), running.draw(4, (2, 3), 0)
    resumed.load_state_dict(state)
    assert (resumed.draw(4, None, 0), resumed.draw(4, (2, 3), 0)) == ahead
    assert state == {"all": 7, "2,3": 2}


def test_easy_to_hard_goes_from_the_highest_rate_to_the_lowest_anew_every_epoch(
    tmp_path: Path,
) -> None:
    file = rates(tmp_path, p3=1, p1=4, p4=0, p7=3, p8=3)
    easy = sampler(finite(), order="easy_to_hard", pass_rates=file)
    first, second = ids(easy.draw(5, None, 0)), ids(easy.draw(5, None, 0))
    for epoch in (first, second):
        assert [epoch[0], {*epoch[1:3]}, *epoch[3:]] == ["p1", {"p7", "p8"}, "p3", "p4"]
    assert easy.report == [
        "5 problems are drawn; left out: 0 with a rate outside 0.0..1.0, 5 with none"
    ]
    resumed = sampler(finite(), order="easy_to_hard", pass_rates=file)
    resumed.load_state_dict({"all": 7})
    easy.load_state_dict({"all": 7})
    assert resumed.draw(9, None, 0) == easy.draw(9, None, 0)


def test_a_range_of_rates(tmp_path: Path) -> None:
    file = rates(tmp_path, p3=1, p1=4, p4=0, p7=3, p8=2)
    some = sampler(finite(), pass_rates=file, low=0.25, high=0.75)
    assert sorted(ids(some.draw(3, None, 0))) == ["p3", "p7", "p8"]
    assert sorted(ids(some.problems([2]))) == ["p3", "p7"]
    assert "2 with a rate outside 0.25..0.75, 5 with none" in some.report[0]
    with pytest.raises(ValueError, match=r"sampler\.low=0\.8, high=0\.9: none of the 5 problems"):
        sampler(finite(), pass_rates=file, low=0.8, high=0.9)


def test_ids_that_match_nothing_are_counted(tmp_path: Path) -> None:
    file = rates(tmp_path, p3=1, q1=4, p1=0, q2=3)
    message = r"line 2: id 'q1' is no training problem's; 2 of 4 ids match none"
    with pytest.raises(ValueError, match=message):
        sampler(finite(), pass_rates=file)
    with pytest.raises(ValueError, match=r"4 of 4 ids match none \(.* made as it is drawn\)"):
        sampler(arithmetic(), pass_rates=file)


def test_stages_begin_at_their_steps_and_stay_within_a_phases_levels() -> None:
    staged = sampler(finite(), stages={0: [1], 5: [1, 2], 9: None})
    levels = [{p.level for p in staged.draw(10, None, lead)} for lead in (0, 4, 5, 9, 100)]
    assert levels == [{1}, {1}, {1, 2}, {1, 2}, {1, 2}]
    assert {problem.level for problem in staged.draw(4, (1,), 7)} == {1}
    message = r"sampler\.stages\.0=\[1\]: a phase draws levels=\[2\] and none of these"
    with pytest.raises(ValueError, match=message):
        staged.problems([2])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"low": 0.6, "high": 0.5}, r"sampler\.low=0\.6, high=0\.5: needs 0 <= low <= high <= 1"),
        ({"order": "easy_to_hard"}, r"sampler\.pass_rates=null: order=easy_to_hard"),
        ({"low": 0.1}, r"sampler\.pass_rates=null: order=uniform, low=0\.1"),
        ({"stages": {5: [1]}}, r"sampler\.stages={5: \[1\]}: needs one from step 0"),
        ({"stages": {0: None, 20: None}}, r"sampler\.stages={0: None, 20: None}: all are of all l"),
        ({"stages": {0: [1], -1: [2]}}, r"sampler\.stages=.*: needs one from step 0"),
    ],
)
def test_orders_that_cannot_be(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        sampler(finite(), **changes)


def test_what_is_left_out_is_never_drawn() -> None:
    small = sampler(finite())
    small.leave_out({"p0", "p1"})
    assert sorted(ids(small.draw(8, None, 0))) == [f"p{i}" for i in range(2, 10)]
