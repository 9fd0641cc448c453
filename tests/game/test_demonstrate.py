from dataclasses import replace

import pytest

from rlcotrain.data.dataset import Finite
from rlcotrain.data.wording import Wording
from rlcotrain.engine.transformers_engine import TransformersEngine
from rlcotrain.game.demonstrate import FILLERS, Demonstrate
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
TOLD = "<step>7+8=5-6=9wrong</step><step>6+1=7-7=0right</step><verdict>wrong</verdict>"
FOOLED = "<step>7+8=6-6=0right</step><step>6+1=7-7=0right</step><verdict>right</verdict>"
TURN = turn(group_size=1, task=chains(slip_rate=1.0))


@pytest.fixture(scope="module")
def agents() -> Agents:
    policies = {"generator": policy(), "verifier": policy(seed=1)}
    roles = {"generator": "generator", "verifier": "verifier"}
    return Agents(policies, roles, TransformersEngine(64, 4096))


def test_rows_say_what_a_judge_should_have_said(agents: Agents) -> None:
    (row,) = Demonstrate("independent", 0.0, worked=True).play([SLIPPED], agents, TURN)
    assert (row.role, row.policy, row.text) == ("verifier", "verifier", TOLD)
    chat = agents.policies["verifier"].chat
    assert chat.read_back(row.prompt_ids) == f"7+8+1?{SLIPPED.solution}"
    assert chat.read_back(row.token_ids) == f"{TOLD}<eos>" and row.mask.all()


def test_a_verdict_alone_is_that_of_the_whole_judgement(agents: Agents) -> None:
    for blind_spot, verdict in (("independent", "wrong"), ("shared", "right")):
        (row,) = Demonstrate(blind_spot, 0.0, worked=False).play([SLIPPED], agents, TURN)
        assert row.text == f"<verdict>{verdict}</verdict>"


def test_a_shared_blind_spot_sees_what_the_solution_does(agents: Agents) -> None:
    (row,) = Demonstrate("shared", 0.0, worked=True).play([SLIPPED], agents, TURN)
    assert row.text == FOOLED


def test_a_judgement_follows_from_seed_step_and_place(agents: Agents) -> None:
    noisy, game = chains(judge_slip_rate=0.5), Demonstrate("independent", 0.0, worked=True)
    problems = [SLIPPED] * 8

    def said(**changes: int) -> list[str]:
        return [row.text for row in game.play(problems, agents, turn(task=noisy, **changes))]

    assert said() == said()
    assert said() != said(seed=1) and said() != said(step=6)
    assert len(set(said())) > 1, "places differ"


def test_data_without_judgements_are_refused(agents: Agents) -> None:
    plain = Finite("sums", Wording(), [SLIPPED], [replace(SLIPPED, id="p/1")], 0, {})
    with pytest.raises(ValueError, match=r"'sums' has no demonstrations of judging"):
        Demonstrate("shared", 0.0, worked=True).play([SLIPPED], agents, turn(task=plain))


def test_what_solves_nothing_is_judged_wrong_at_its_share(agents: Agents) -> None:
    """A quarter of 400: the deviation is about 9."""
    rows = Demonstrate("independent", 0.25, worked=True).play([SLIPPED] * 400, agents, TURN)
    fillers = [row for row in rows if row.text == "<verdict>wrong</verdict>"]
    assert len(fillers) == pytest.approx(100, abs=36)
    assert {row.text for row in rows} == {TOLD, "<verdict>wrong</verdict>"}
    read = agents.policies["verifier"].chat.read_back
    assert {read(row.prompt_ids) for row in fillers} == {f"7+8+1?{text}" for text in FILLERS}


@pytest.mark.parametrize("share", [-0.1, 1.1])
def test_a_share_out_of_range_is_named(share: float) -> None:
    with pytest.raises(ValueError, match=rf"game\.filler_share={share}: must lie in 0\.\.1"):
        Demonstrate("shared", share, worked=True)
