from dataclasses import replace
from typing import Any

import pytest

from rlcotrain.data.dataset import Finite
from rlcotrain.data.sampler import Sampler
from rlcotrain.engine.transformers_engine import TransformersEngine
from rlcotrain.game.solve import Solve
from rlcotrain.grader.number import Number
from rlcotrain.model.agents import Agents
from rlcotrain.player import Player
from rlcotrain.schedule import Phase, Position
from rlcotrain.types import Rollout, Sampling
from rlcotrain.verifier.llm import Llm
from tests.game.turns import chains
from tests.loss.composed import composed
from tests.model.tiny import policy

JUDGE = Llm(
    grader=Number(tolerance=0.0),
    steps=True,
    gold_weight=1.0,
    format="strict",
    format_weight=0.8,
    blind_spot="independent",
    temperature=1.0,
    max_tokens=4,
    stop=[],
)


def position(rollouts: str = "fresh", **changes: Any) -> Position:
    """Of a phase that draws three problems, two solutions each, or judges two solutions anew."""
    fields: dict[str, Any] = {
        "steps": 1,
        "train": ["generator"],
        "num_prompts": 2 if rollouts == "shared" else 3,
        "group_size": 2,
        "levels": [2],
        "game": Solve(verifier=JUDGE),
        "loss": composed("grpo"),
        "verifications": 3 if rollouts == "shared" else 1,
        "rollouts": rollouts,
    }
    return Position(Phase(**fields | changes), 0, False, 0)


@pytest.fixture(scope="module")
def agents() -> Agents:
    policies = {"generator": policy(), "verifier": policy(seed=1)}
    roles = {"generator": "generator", "verifier": "verifier"}
    return Agents(policies, roles, TransformersEngine(64, 4096))


def player(agents: Agents, keeps: bool = True) -> Player:
    return Player(
        Sampler(chains(), "uniform", None, 0.0, 1.0, None), agents, Sampling(max_tokens=5), 0, keeps
    )


def solutions(rows: list[Rollout]) -> list[Rollout]:
    return [row for row in rows if row.judgement is None]


def names(rows: list[Rollout]) -> list[str]:
    return [row.episode for row in solutions(rows)]


def test_a_fresh_step_draws_groups_and_their_judgements(agents: Agents) -> None:
    rows = player(agents).next(position(), 0)
    assert names(rows) == ["0/0/0", "0/0/1", "0/1/0", "0/1/1", "0/2/0", "0/2/1"]
    assert [row.episode for row in rows[6:]] == names(rows)
    assert {row.problem.level for row in rows} == {2}


def test_shared_solutions_come_one_a_problem_and_others_each_time(agents: Agents) -> None:
    made = player(agents)
    drawn = {row.episode: row for row in solutions(made.next(position(), 0))}
    found = [made.next(position("shared"), step) for step in (1, 2, 3, 4)]
    # One of each problem in turn, then their second ones, then from the first again.
    assert [names(rows) for rows in found] == [
        ["0/0/0", "0/1/0"],
        ["0/2/0", "0/0/1"],
        ["0/1/1", "0/2/1"],
        ["0/0/0", "0/1/0"],
    ]
    for rows in found:
        assert len(rows) == 2 + 2 * 3, "three judgements of each"
        for row in solutions(rows):
            assert row.token_ids.tolist() == drawn[row.episode].token_ids.tolist()
    texts = [
        [row.text for row in rows if row.judgement is not None] for rows in (found[0], found[3])
    ]
    assert texts[0] != texts[1], "the same solutions are judged anew"


def test_newer_solutions_are_shared_from_their_first(agents: Agents) -> None:
    made = player(agents)
    made.next(position(), 0)
    made.next(position("shared"), 1)
    made.next(position(), 2)
    assert names(made.next(position("shared"), 3)) == ["2/0/0", "2/1/0"]


def test_no_more_is_shared_than_there_is(agents: Agents) -> None:
    made = player(agents)
    made.next(position(), 0)
    rows = made.next(position("shared", num_prompts=9), 1)
    assert sorted(names(rows)) == ["0/0/0", "0/0/1", "0/1/0", "0/1/1", "0/2/0", "0/2/1"]


def test_nothing_is_remembered_where_nothing_is_shared(agents: Agents) -> None:
    made = player(agents, keeps=False)
    made.next(position(), 0)
    assert made.state_dict()["solutions"] == []


def test_a_resumed_player_plays_what_would_have_been_played(agents: Agents) -> None:
    first, second = player(agents), player(agents)
    first.next(position(), 0)
    first.next(position("shared"), 1)
    second.load_state_dict(first.state_dict())
    for step, kind in ((2, "shared"), (3, "fresh"), (4, "shared")):
        one, other = (made.next(position(kind), step) for made in (first, second))
        assert [row.episode for row in one] == [row.episode for row in other]
        assert [row.text for row in one] == [row.text for row in other]
        assert [row.problem.id for row in one] == [row.problem.id for row in other]


def test_a_state_is_no_view_of_the_player(agents: Agents) -> None:
    made = player(agents)
    made.next(position(), 0)
    state = made.state_dict()
    made.next(position(), 1)
    made.next(position("shared"), 2)
    assert state["solutions"][0].episode == "0/0/0" and state["reused"] == 0


def test_examples_are_phased_out_by_the_leading_phases_steps(agents: Agents) -> None:
    data = chains()
    examples = [{"question": "1+1?", "answer": "2"}]
    data.wording = replace(data.wording, examples=examples, examples_until=4)
    asked = Player(
        Sampler(data, "uniform", None, 0.0, 1.0, None), agents, Sampling(max_tokens=5), 0, False
    )
    lengths = []
    for lead in (0, 3, 4):
        rows = asked.next(replace(position(), lead=lead), 100 + lead)
        texts = {
            agents.policies["generator"].chat.decode(row.prompt_ids) for row in solutions(rows)
        }
        lengths.append({"1+1? 2" in text for text in texts})
    assert lengths == [{True}, {True}, {False}]


def test_problems_that_come_twice_in_a_draw_are_counted(agents: Agents) -> None:
    """Two problems, three a step: the third is the next epoch's first."""
    problems = [chains().train_problem(i, (2,)) for i in range(4)]
    few = Finite("few", chains().wording, problems[:2], problems[2:], 0, {})
    small = Player(
        Sampler(few, "uniform", None, 0.0, 1.0, None), agents, Sampling(max_tokens=5), 0, False
    )
    small.next(position(), 0)
    assert small.repeated == 1
    small.next(position(num_prompts=2), 1)
    assert small.repeated in (0, 1)
    small.next(position(num_prompts=1), 2)
    assert small.repeated == 0
