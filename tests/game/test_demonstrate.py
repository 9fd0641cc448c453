from dataclasses import replace

import pytest

from rlcotrain.data.dataset import Finite
from rlcotrain.data.wording import Wording
from rlcotrain.engine.transformers_engine import TransformersEngine
from rlcotrain.game.demonstrate import Demonstrate
from rlcotrain.model.agents import Agents
from rlcotrain.types import Problem
from tests.game.turns import chains, turn
from tests.model.tiny import policy

# 7+8 is 15, so 5, and 6 is one too high; the second step goes on from it rightly.
SLIPPED = Problem(
    id="p/0",
    question="7+8+1?",
    answer="6",
    solution="<step>7+8=6</step><step>6+1=7</step><answer>7</answer>",
)
TOLD = "<step>7+8=5;6wrong</step><step>6+1=7;7right</step><verdict>wrong</verdict>"
FOOLED = "<step>7+8=6;6right</step><step>6+1=7;7right</step><verdict>right</verdict>"
TURN = turn(group_size=1, task=chains(slip_rate=1.0))


@pytest.fixture(scope="module")
def agents() -> Agents:
    policies = {"generator": policy(), "verifier": policy(seed=1)}
    roles = {"generator": "generator", "verifier": "verifier"}
    return Agents(policies, roles, TransformersEngine(64, 4096))


def test_rows_say_what_a_judge_should_have_said(agents: Agents) -> None:
    (row,) = Demonstrate("independent").play([SLIPPED], agents, TURN)
    assert (row.role, row.policy, row.text) == ("verifier", "verifier", TOLD)
    chat = agents.policies["verifier"].chat
    assert chat.read_back(row.prompt_ids) == f"7+8+1?{SLIPPED.solution}"
    assert chat.read_back(row.token_ids) == f"{TOLD}<eos>" and row.mask.all()


def test_a_shared_blind_spot_sees_what_the_solution_does(agents: Agents) -> None:
    (row,) = Demonstrate("shared").play([SLIPPED], agents, TURN)
    assert row.text == FOOLED


def test_a_judgement_follows_from_seed_step_and_place(agents: Agents) -> None:
    noisy, game = chains(judge_slip_rate=0.5), Demonstrate("independent")
    problems = [SLIPPED] * 8

    def said(**changes: int) -> list[str]:
        return [row.text for row in game.play(problems, agents, turn(task=noisy, **changes))]

    assert said() == said()
    assert said() != said(seed=1) and said() != said(step=6)
    assert len(set(said())) > 1, "places differ"


def test_data_without_judgements_are_refused(agents: Agents) -> None:
    plain = Finite("sums", Wording(), [SLIPPED], [replace(SLIPPED, id="p/1")], 0, {})
    with pytest.raises(ValueError, match=r"'sums' has no demonstrations of judging"):
        Demonstrate("shared").play([SLIPPED], agents, turn(task=plain))
