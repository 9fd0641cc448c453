from dataclasses import replace

import numpy as np
import pytest

from rlcotrain.engine.transformers_engine import TransformersEngine
from rlcotrain.game.imitate import Imitate
from rlcotrain.grader.number import Number
from rlcotrain.model.agents import Agents
from rlcotrain.types import Messages, Problem, Sampling, Turn
from rlcotrain.verifier.rule import Rule
from tests.model.tiny import policy

RIGHT = Problem(id="p/0", question="2+3?", answer="5", solution="<answer>5</answer>")
WRONG = replace(RIGHT, id="p/1", solution="<answer>6</answer>")
GAME = Imitate(verifier=Rule(grader=Number(tolerance=0.0)))


def asked(problem: Problem) -> Messages:
    return ({"role": "user", "content": problem.question},)


TURN = Turn(seed=0, step=5, group_size=1, sampling=Sampling(max_tokens=1), messages=asked)


@pytest.fixture(scope="module")
def agents() -> Agents:
    return Agents({"generator": policy()}, {"generator": "generator"}, TransformersEngine(64, 4096))


def test_rows_say_the_worked_solution_to_its_end(agents: Agents) -> None:
    row, _ = GAME.play([RIGHT, WRONG], agents, TURN)
    chat = agents.policies["generator"].chat
    assert row.text == "<answer>5</answer>" and row.stop == "stop"
    assert chat.read_back(row.prompt_ids) == "2+3?"
    assert chat.read_back(row.token_ids) == "<answer>5</answer><eos>"
    assert row.mask.all(), "every token is to be learned, the last one too"
    assert np.isnan(row.logprobs).all(), "nothing was sampled"


def test_the_record_tells_how_much_of_the_corpus_is_right(agents: Agents) -> None:
    rows = GAME.play([RIGHT, WRONG], agents, TURN)
    assert [row.earned("outcome") for row in rows] == [1.0, 0.0]
    assert len({row.peers for row in rows}) == 2


def test_a_problem_without_a_solution_is_named(agents: Agents) -> None:
    with pytest.raises(ValueError, match=r"game=imitate: problem p/0 has no worked solution"):
        GAME.play([replace(RIGHT, solution=None)], agents, TURN)


def test_a_solution_longer_than_the_model_reads_is_named(agents: Agents) -> None:
    with pytest.raises(ValueError, match=r"model\.max_length=128: problem p/0 has a prompt of 4"):
        GAME.play([replace(RIGHT, solution="1" * 125)], agents, TURN)
