from dataclasses import replace

import numpy as np
import pytest

from rlcotrain.engine.transformers_engine import TransformersEngine
from rlcotrain.game.imitate import Imitate
from rlcotrain.grader.number import Number
from rlcotrain.model.agents import Agents
from rlcotrain.types import Problem
from tests.game.turns import turn
from tests.grader.graded import Late
from tests.model.tiny import policy

RIGHT = Problem(id="p/0", question="2+3?", answer="5", solution="<answer>5</answer>")
WRONG = replace(RIGHT, id="p/1", solution="<answer>6</answer>")
GRADER = Number(tolerance=0.0)
GAME = Imitate(GRADER, ["generator"])
TURN = turn(group_size=1)


@pytest.fixture(scope="module")
def agents() -> Agents:
    policies = {"generator": policy(), "verifier": policy(seed=1)}
    roles = {"generator": "generator", "verifier": "verifier"}
    return Agents(policies, roles, TransformersEngine(64, 4096))


def test_rows_say_the_worked_solution_to_its_end(agents: Agents) -> None:
    row, _ = GAME.play([RIGHT, WRONG], agents, TURN)
    chat = agents.policies["generator"].chat
    assert row.text == "<answer>5</answer>" and row.stop == "stop"
    assert chat.read_back(row.prompt_ids) == "2+3?"
    assert chat.read_back(row.token_ids) == "<answer>5</answer><eos>"
    assert row.mask.all(), "every token is to be learned, the last one too"
    assert np.isnan(row.logprobs).all(), "nothing was sampled"


def test_the_record_tells_how_much_of_the_corpus_is_right(agents: Agents) -> None:
    unknown = replace(RIGHT, answer=None)
    rows = GAME.play([RIGHT, WRONG, unknown], agents, TURN)
    assert [row.earned("outcome") for row in rows] == [1.0, 0.0, None]
    assert len({row.peers for row in rows}) == 3


def test_every_role_that_is_named_says_every_solution(agents: Agents) -> None:
    rows = Imitate(GRADER, ["generator", "verifier"]).play([RIGHT, WRONG], agents, TURN)
    assert [(row.role, row.policy, row.problem.id) for row in rows] == [
        *(("generator", "generator", "p/0"), ("generator", "generator", "p/1")),
        *(("verifier", "verifier", "p/0"), ("verifier", "verifier", "p/1")),
    ]
    assert [row.text for row in rows[:2]] == [row.text for row in rows[2:]]
    assert len({row.peers for row in rows}) == 4, "roles are not compared with each other"


def test_a_problem_without_a_solution_is_named(agents: Agents) -> None:
    with pytest.raises(ValueError, match=r"game=imitate: problem p/0 has no worked solution"):
        GAME.play([replace(RIGHT, solution=None)], agents, TURN)


def test_a_solution_longer_than_the_model_reads_is_named(agents: Agents) -> None:
    with pytest.raises(ValueError, match=r"model\.max_length=128: problem p/0 has a prompt of 4"):
        GAME.play([replace(RIGHT, solution="1" * 125)], agents, TURN)


def test_what_the_grader_could_not_find_out_is_no_zero(agents: Agents) -> None:
    late = replace(RIGHT, id="p/2", solution="hang")
    row, other = Imitate(Late(), ["generator"]).play([late, RIGHT], agents, TURN)
    assert (row.earned("outcome"), other.earned("outcome")) == (None, 1.0)
    assert row.grade is not None and row.grade.status == "timeout"
