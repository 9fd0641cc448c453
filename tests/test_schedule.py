from dataclasses import replace
from typing import Any

import pytest

from rlcotrain.game.imitate import Imitate
from rlcotrain.game.solve import Solve
from rlcotrain.grader.number import Number
from rlcotrain.schedule import Phase, Schedule
from rlcotrain.verifier.rule import Rule
from tests.loss.composed import composed
from tests.model.tiny import optimizer

RULE = Rule(grader=Number(tolerance=0.0))


def phase(**changes: Any) -> Phase:
    fields: dict[str, Any] = {
        "steps": 1,
        "train": ["generator"],
        "num_prompts": 4,
        "group_size": 2,
        "levels": None,
        "game": Solve(verifier=RULE),
        "loss": composed("grpo"),
    }
    return Phase(**fields | changes)


def schedule(steps: int = 7) -> Schedule:
    """Two steps of a, one of b; then x twice and y once, in turn."""
    prelude = {"a": phase(steps=2), "b": phase()}
    cycle = {"x": phase(steps=2), "y": phase(train=["verifier", "generator"])}
    return Schedule(prelude=prelude, cycle=cycle, steps=steps)


def walk(schedule: Schedule) -> list[tuple[str, int, bool]]:
    found = []
    for position in schedule:
        found.append((position.phase.name, position.step, position.in_prelude))
        schedule.observe(position)
    return found


POSITIONS = [
    *(("a", 0, True), ("a", 1, True), ("b", 0, True)),
    *(("x", 0, False), ("x", 1, False), ("y", 2, False)),
    *(("x", 3, False), ("x", 4, False), ("y", 5, False), ("x", 6, False)),
]


def test_positions_by_hand() -> None:
    assert walk(schedule()) == POSITIONS
    assert (schedule().prelude_steps, schedule().total) == (3, 10)


def test_every_policy_counts_its_own_steps() -> None:
    run = schedule()
    walk(run)
    assert run.learned == {"generator": 10, "verifier": 2}


@pytest.mark.parametrize("done", range(11))
def test_a_resumed_schedule_goes_on_where_it_stood(done: int) -> None:
    first, second = schedule(), schedule()
    for position in first:
        if first.step == done:
            break
        first.observe(position)
    second.load_state_dict(first.state_dict())
    assert walk(second) == POSITIONS[done:]
    assert second.learned == {"generator": 10, "verifier": 2}


def test_a_state_is_no_view_of_the_schedule() -> None:
    run = schedule()
    state = run.state_dict()
    walk(run)
    assert state == {"step": 0, "learned": {}}


@pytest.mark.parametrize("key", ["steps", "num_prompts", "group_size"])
def test_counts_below_1_are_named(key: str) -> None:
    with pytest.raises(ValueError, match=rf"{key}=0: a phase needs 1 or more"):
        phase(**{key: 0})


@pytest.mark.parametrize("name", ["grpo", "rloo", "drgrpo", "dapo"])
def test_a_group_of_one_is_refused_under_a_group_baseline(name: str) -> None:
    with pytest.raises(ValueError, match=r"group_size=1: a group baseline .*it needs 2 or more"):
        phase(group_size=1, loss=composed(name))


def test_a_group_of_one_is_allowed_where_nothing_is_compared() -> None:
    phase(group_size=1, loss=composed("reinforce_pp"))
    phase(group_size=1, loss=composed("nll"), game=Imitate(verifier=RULE))


def test_a_phase_that_trains_nobody_is_refused() -> None:
    with pytest.raises(ValueError, match=r"train=\[\]: a phase trains one policy or more"):
        phase(train=[])


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"steps": 0}, r"schedule\.steps=0: must be 1 or more"),
        ({"cycle": {}}, r"schedule\.cycle: needs at least one phase"),
        (
            {"cycle": {"x": phase(optimizer=optimizer())}},
            r"schedule\.cycle\.x\.optimizer: .* only the prelude may name another",
        ),
        ({"prelude": {"x": phase()}}, r"schedule\.cycle\.x: the name is taken"),
        ({"cycle": {"evaluate": phase()}}, r"schedule\.cycle\.evaluate: the name is taken"),
        (
            {"prelude": {"warm": {"optimizer": {"lr": 1.0}}}},
            r"schedule\.prelude\.warm: the chosen schedule has no such phase to set optimizer of",
        ),
    ],
)
def test_what_makes_no_schedule_is_named(parts: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Schedule(**{"prelude": None, "cycle": {"x": phase()}, "steps": 1} | parts)


def test_phases_bear_their_names() -> None:
    run = schedule()
    assert [phase.name for phase in run.phases] == ["a", "b", "x", "y"]
    assert replace(run.phases[0], name="") == replace(phase(steps=2), game=run.phases[0].game)
