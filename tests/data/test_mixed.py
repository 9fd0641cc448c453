from collections import Counter
from collections.abc import Mapping
from typing import Any

import pytest

from rlcotrain.data.dataset import Dataset, Finite
from rlcotrain.data.last_letters import LastLetters
from rlcotrain.data.mixed import Mixed, MixedWording
from rlcotrain.data.sampler import Sampler
from rlcotrain.data.wording import Wording
from rlcotrain.types import Problem


def numbers(name: str, start: int, count: int, template: str = "{question}") -> Finite:
    """`count` to train on, of questions start, start + 1 ...; two to be tested on."""
    asked = [
        Problem(id=f"{name}/{i}", question=f"{i}", task=name) for i in range(start, start + count)
    ]
    tested = [Problem(id=f"{name}/t{i}", question=f"{name}{i}", task=name) for i in range(2)]
    return Finite(name, Wording(template=template, stop=["Q:"]), asked, tested, 0, {})


def mixed(sets: Mapping[str, Dataset] | None = None, **changes: Any) -> Mixed:
    sets = sets or {
        "a": numbers("a", 0, 6, "A {question}"),
        "b": numbers("b", 50, 60, "B {question}"),
    }
    settings: dict[str, Any] = {
        "seed": 1,
        "weights": dict.fromkeys(sets, 1.0),
        "stages": {},
        "wording": lambda wordings: MixedWording(wordings, ["Q:"], 16, [], 16),
    }
    return Mixed(sets=sets, **settings | changes)


def test_sets_are_drawn_by_weight_and_each_goes_through_its_own_epochs() -> None:
    data = mixed(weights={"a": 3, "b": 1})
    stream = [data.train_problem(i, None) for i in range(400)]
    count = Counter(problem.task for problem in stream)
    assert abs(count["a"] - 300) < 35  # four standard deviations of 8.7
    of_a = [problem.id for problem in stream if problem.task == "a"]
    for start in range(0, 60, 6):
        assert sorted(of_a[start : start + 6]) == [f"a/{i}" for i in range(6)]
    assert stream == [mixed(weights={"a": 3, "b": 1}).train_problem(i, None) for i in range(400)]
    assert data.train_problem(5, None) == stream[5], "an earlier one is what it was"


def test_a_set_of_weight_0_is_only_tested_on() -> None:
    data = mixed(weights={"a": 0, "b": 1})
    assert {data.train_problem(i, None).task for i in range(50)} == {"b"}
    assert {problem.task for problem in data.train_problems(None)} == {"b"}
    assert [problem.task for problem in data.test_problems(4, None)] == ["a", "b"] * 2


def test_each_problem_is_asked_in_the_words_of_its_set() -> None:
    data = mixed()
    problems = [data.train_problem(i, None) for i in range(20)]
    for problem in problems:
        (message,) = data.wording.messages(problem)
        assert message["content"] == f"{problem.task.upper()} {problem.question}"


def test_what_one_set_is_tested_on_no_other_trains_on() -> None:
    leaky = numbers("a", 0, 3)
    other = Finite(
        "b",
        Wording(stop=["Q:"]),
        [Problem(id="b/1", question="a1")],
        [Problem(id="b/t", question="2")],
        0,
        {},
    )
    data = mixed({"a": leaky, "b": other}, weights={"a": 1, "b": 0})
    assert {data.train_problem(i, None).id for i in range(6)} == {"a/0", "a/1"}
    told = [line for line in data.report if "another" in line]
    assert told == [
        "a: 1 problems left out of training, another set is tested on them",
        "b: 1 problems left out of training, another set is tested on them",
    ]


def test_data_that_are_made_as_they_are_drawn_mix_with_files() -> None:
    made = LastLetters(seed=0, levels=[2], held_out=0.1, stages={}, wording=Wording())
    data = mixed({"names": made, "a": numbers("a", 0, 6)})
    assert {data.train_problem(i, None).task for i in range(20)} == {"names", "a"}
    assert Counter(p.task for p in data.test_problems(6, None)) == {"names": 4, "a": 2}
    assert len(data.train_problems(None)) == 7
    small = Sampler(data, "uniform", None, 0.0, 1.0, None)
    small.leave_out({"a/0"})
    assert "a/0" not in {problem.id for problem in small.draw(60, None, 0)}


def test_a_set_that_is_drawn_from_has_something_to_draw() -> None:
    tested = Finite("b", Wording(stop=["Q:"]), [], [Problem(id="b/t", question="2")], 0, {})
    sets = {"a": numbers("a", 0, 3), "b": tested}
    message = r"data\.weights\.b=1\.0: no problems are left to train on; allowed: 0"
    with pytest.raises(ValueError, match=message):
        mixed(sets)
    only = mixed(sets, weights={"a": 1.0, "b": 0.0})
    with pytest.raises(ValueError, match=r"data\.weights\.a=1\.0: no problems are left"):
        only.arranged(lambda problem: problem.id.startswith("b"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"weights": {"a": 1}}, r"data\.weights={'a': 1}: must name a, b, as data\.sets does"),
        ({"weights": {"a": 0, "b": 0}}, r"data\.weights=.*: 0 or more each, and one above 0"),
        ({"weights": {"a": -1, "b": 2}}, r"data\.weights=.*: 0 or more each"),
        ({"stages": {"hard": [7]}}, r"levels=\[7\]: data set 'a' has levels \[1\]"),
        (
            {"wording": lambda wordings: MixedWording(wordings, ["P:"], 16, [], 16)},
            r"data\.wording\.stop=\['P:'\]: lacks \['Q:'\], which ends the rows of a",
        ),
    ],
)
def test_mixtures_that_cannot_be(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        mixed(**changes)


def test_steps_are_marked_alike_in_all_sets() -> None:
    lines = Finite(
        "l",
        Wording(step_style="line"),
        [Problem(id="l", question="l")],
        [Problem(id="t", question="t")],
        0,
        {},
    )
    with pytest.raises(
        ValueError, match=r"needs one wording\.step_style for all, not {'a': 'tag', 'l'"
    ):
        mixed({"a": numbers("a", 0, 6), "l": lines})
    with pytest.raises(
        ValueError, match=r"data\.sets\.m: a mixed data set cannot be part of another"
    ):
        mixed({"m": mixed()})


def test_a_resumed_mixture_draws_what_it_would_have_drawn() -> None:
    """To the bit, though nothing but the number of draws is remembered."""
    running = Sampler(mixed(), "uniform", None, 0.0, 1.0, None)
    running.draw(37, None, 0)
    resumed = Sampler(mixed(), "uniform", None, 0.0, 1.0, None)
    resumed.load_state_dict(running.state_dict())
    assert resumed.draw(20, None, 0) == running.draw(20, None, 0)
