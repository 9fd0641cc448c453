from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any

import pytest

from rlcotrain.data.reasoning_gym import ReasoningGym
from rlcotrain.data.wording import Wording

HERE = find_spec("reasoning_gym") is not None
needs_package = pytest.mark.skipif(not HERE, reason="the package reasoning-gym is not installed")


def gym(tasks: Mapping[str, Mapping[str, Any]]) -> ReasoningGym:
    return ReasoningGym(seed=0, tasks=tasks, held_out=0.2, stages={}, wording=Wording())


@pytest.mark.skipif(HERE, reason="the package reasoning-gym is installed")
def test_the_package_is_asked_for() -> None:
    with pytest.raises(
        ValueError, match=r"not installed; pip install 'rlcotrain\[reasoning_gym\]'"
    ):
        gym({"chain_sum": {}})


@needs_package
def test_the_packages_own_scorer_finds_what_it_needs() -> None:
    from reasoning_gym import get_score_answer_fn

    data = gym({"chain_sum": {"max_terms": 3}, "countdown": {}})
    problems = [data.train_problem(i, None) for i in range(20)]
    assert problems == [
        gym({"chain_sum": {"max_terms": 3}, "countdown": {}}).train_problem(i, None)
        for i in range(20)
    ]
    assert {problem.task for problem in problems} == {"chain_sum", "countdown"}
    for problem in problems:
        score = get_score_answer_fn(problem.task)
        assert score(problem.answer, problem.columns) == 1.0
        assert score("no number", problem.columns) < 0.5
    tested = {problem.question for problem in data.test_problems(20, None)}
    assert not tested & {problem.question for problem in problems}


@needs_package
@pytest.mark.parametrize(
    ("tasks", "message"),
    [
        ({}, r"data\.tasks={}: names none"),
        ({"typo": {}}, r"data\.tasks\.typo={}: Dataset 'typo' not registered"),
        ({"chain_sum": {"typo": 1}}, r"data\.tasks\.chain_sum={'typo': 1}: .*unexpected keyword"),
        (
            {"chain_sum": {"min_terms": -1}},
            r"data\.tasks\.chain_sum=.*: min_terms must be positive",
        ),
    ],
)
def test_tasks_that_the_package_does_not_know(
    tasks: Mapping[str, Mapping[str, Any]], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        gym(tasks)
