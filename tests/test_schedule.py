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

GRADER = Number(tolerance=0.0)
SOLVE = Solve(verifier=Rule(grader=GRADER))
IMITATE = Imitate(GRADER, ["generator"])


def phase(**changes: Any) -> Phase:
    fields: dict[str, Any] = {
        "steps": 1,
        "train": ["generator"],
        "num_prompts": 4,
        "group_size": 2,
        "levels": None,
        "game": SOLVE,
        "loss": composed("grpo"),
    }
    return Phase(**fields | changes)


def schedule(steps: int = 7) -> Schedule:
    """Two steps of a, one of b; then two of x, the leading phase, and one of y, in turn."""
    prelude = {"a": phase(steps=2), "b": phase()}
    cycle = {"x": phase(steps=2), "y": phase(train=["verifier", "generator"])}
    return Schedule(prelude=prelude, cycle=cycle, steps=steps)


def walk(schedule: Schedule) -> list[tuple[str, int, bool, int]]:
    found = []
    for at in schedule:
        found.append((at.phase.name, at.step, at.in_prelude, at.lead))
        schedule.observe()
    return found


# Name, step of its own axis, whether in the prelude, leading steps that are done before it.
POSITIONS = [
    *(("a", 0, True, 0), ("a", 1, True, 0), ("b", 0, True, 0)),
    *(("x", 0, False, 0), ("x", 1, False, 1), ("y", 0, False, 2)),
    *(("x", 2, False, 2), ("x", 3, False, 3), ("y", 1, False, 4)),
    *(("x", 4, False, 4), ("x", 5, False, 5), ("y", 2, False, 6)),
    ("x", 6, False, 6),
]


def test_positions_by_hand() -> None:
    assert walk(schedule()) == POSITIONS
    assert (schedule().prelude_steps, schedule().total) == (3, 13)
    assert schedule().leader.name == "x"


def test_five_to_two_by_hand() -> None:
    """RL Tango's ratio: the run ends where the generator has done its steps and theirs follow."""
    cycle = {"solve": phase(steps=5), "verify": phase(steps=2, train=["verifier"])}
    made = Schedule(prelude=None, cycle=cycle, steps=10)
    found = walk(made)
    names = ["solve"] * 5 + ["verify"] * 2
    assert [name for name, *_ in found] == names * 2
    assert [step for name, step, *_ in found if name == "solve"] == list(range(10))
    assert [step for name, step, *_ in found if name == "verify"] == list(range(4))
    assert [lead for *_, lead in found] == [0, 1, 2, 3, 4, 5, 5, 5, 6, 7, 8, 9, 10, 10]


@pytest.mark.parametrize(
    ("steps", "total"), [(0, 0), (1, 1), (4, 4), (5, 7), (6, 8), (10, 14), (12, 16)]
)
def test_a_run_is_counted_by_its_leading_phase(steps: int, total: int) -> None:
    cycle = {"solve": phase(steps=5), "verify": phase(steps=2, train=["verifier"])}
    made = Schedule(prelude=None, cycle=cycle, steps=steps)
    assert made.total == total
    names = [name for name, *_ in walk(made)]
    assert names.count("solve") == steps and len(names) == total


def test_phases_of_0_steps_are_left_out() -> None:
    cycle = {"solve": phase(steps=0), "verify": phase(steps=2, train=["verifier"])}
    made = Schedule(prelude={"a": phase(steps=0), "b": phase()}, cycle=cycle, steps=3)
    assert [phase.name for phase in made.phases] == ["b", "verify"]
    assert made.leader.name == "verify"
    assert walk(made) == [
        ("b", 0, True, 0),
        *(("verify", step, False, step) for step in range(3)),
    ]


def test_0_steps_are_a_prelude_alone() -> None:
    assert walk(schedule(0)) == POSITIONS[:3]


def test_where_a_step_stands_follows_from_its_number_alone() -> None:
    made = schedule()
    order = [12, 0, 7, 3, 7, 5]
    found = [made.at(step) for step in order]
    assert [(at.phase.name, at.step, at.in_prelude, at.lead) for at in found] == [
        POSITIONS[step] for step in order
    ]
    assert made.step == 0


@pytest.mark.parametrize("done", range(14))
def test_a_resumed_schedule_goes_on_where_it_stood(done: int) -> None:
    first, second = schedule(), schedule()
    for _ in first:
        if first.step == done:
            break
        first.observe()
    second.load_state_dict(first.state_dict())
    assert walk(second) == POSITIONS[done:]


def test_a_state_is_no_view_of_the_schedule() -> None:
    run = schedule()
    state = run.state_dict()
    walk(run)
    assert state == {"step": 0}


@pytest.mark.parametrize("key", ["num_prompts", "group_size", "verifications"])
def test_counts_below_1_are_named(key: str) -> None:
    with pytest.raises(ValueError, match=rf"{key}=0: a phase needs 1 or more"):
        phase(**{key: 0})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"steps": -1}, r"steps=-1: a phase needs 1 or more \(0 leaves it out\)"),
        ({"train": []}, r"train=\[\]: a phase trains one policy or more"),
        (
            {"rollouts": "shared", "game": IMITATE},
            r"rollouts=shared: only game=solve can judge solutions anew",
        ),
    ],
)
def test_what_makes_no_phase_is_named(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        phase(**changes)


SHARED = phase(rollouts="shared", train=["verifier"])


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"steps": -1}, r"schedule\.steps=-1: must be 0 \(only evaluate\) or more"),
        ({"cycle": {}}, r"schedule\.cycle: needs a phase of 1 step or more, here none"),
        (
            {"cycle": {"solve": phase(steps=0), "verify": phase(steps=0)}},
            r"schedule\.cycle: needs a phase of 1 step or more, here "
            r"schedule\.cycle\.solve\.steps=0, schedule\.cycle\.verify\.steps=0",
        ),
        (
            {"cycle": {"x": phase(optimizer=optimizer())}},
            r"schedule\.cycle\.x\.optimizer: .* only the prelude may name another",
        ),
        (
            {"cycle": {"x": phase(start_from={"verifier": "generator"})}},
            r"schedule\.cycle\.x\.start_from: only a phase of the prelude begins once",
        ),
        (
            {"cycle": {"y": SHARED, "x": phase()}},
            r"schedule\.cycle\.y\.rollouts=shared: the first phase .* it must be fresh",
        ),
        (  # the first of those that are left
            {"cycle": {"x": phase(steps=0), "y": SHARED}},
            r"schedule\.cycle\.y\.rollouts=shared: the first phase .* it must be fresh",
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
    assert replace(run.phases[0], name="") == phase(steps=2)


@pytest.mark.parametrize(("steps", "begins"), [(1, [True, False]), (0, [True])])
def test_a_policy_begins_once_in_the_first_phase_that_is_not_left_out(
    steps: int, begins: list[bool]
) -> None:
    start = {"verifier": "generator"}
    prelude = {"a": phase(steps=steps, start_from=start), "b": phase(start_from=start)}
    found = Schedule(prelude, {"x": phase()}, 1).prelude
    assert [one.start_from == start for one in found] == begins
    assert [one.start_from is None for one in found] == [not one for one in begins]
