from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from rlcotrain.engine.transformers_engine import TransformersEngine
from rlcotrain.game.solve import Solve
from rlcotrain.grader.exact import Exact
from rlcotrain.grader.format import Format
from rlcotrain.grader.paid import Paid
from rlcotrain.model.agents import Agents
from rlcotrain.types import Problem, Rollout, Speakers, Turn, Verdict, Verifier
from rlcotrain.verifier.rule import Rule
from tests.game.turns import turn
from tests.grader.graded import Late
from tests.model.tiny import policy
from tests.rows import said

PROBLEMS = [Problem(id=f"p/{n}", question=f"{n}+1?", answer=str(n + 1)) for n in range(3)]


@pytest.fixture(scope="module")
def agents() -> Agents:
    return Agents({"generator": policy()}, {"generator": "generator"}, TransformersEngine(64, 4096))


def test_every_problem_has_a_group_of_its_own(agents: Agents) -> None:
    rows = Solve(verifier=Rule(grader=Exact())).play(PROBLEMS, agents, turn())
    assert [row.problem.id for row in rows] == ["p/0"] * 4 + ["p/1"] * 4 + ["p/2"] * 4
    assert [row.peers for row in rows] == [f"5/{n}/generator" for n in range(3) for _ in range(4)]
    assert {row.role for row in rows} == {"generator"}
    texts = [row.text for row in rows[:4]]
    assert len(set(texts)) > 1, "samples of one problem differ"


def test_one_problem_drawn_twice_is_two_groups(agents: Agents) -> None:
    rows = Solve(verifier=Rule(grader=Exact())).play(PROBLEMS[:1] * 2, agents, turn())
    assert len({row.peers for row in rows}) == 2
    assert [row.text for row in rows[:4]] != [row.text for row in rows[4:]]


def draws(agents: Agents, now: Turn) -> list[tuple[int, ...]]:
    rows = Solve(verifier=Rule(grader=Exact())).play(PROBLEMS, agents, now)
    return [tuple(row.token_ids) for row in rows]


@pytest.mark.parametrize("key", ["seed", "step"])
def test_a_draw_follows_from_seed_and_step(agents: Agents, key: str) -> None:
    assert draws(agents, turn()) == draws(agents, turn())
    assert draws(agents, turn()) != draws(agents, turn(**{key: 9}))


class Length:
    """Judges by length, says nothing of one row, and speaks once itself."""

    needs_answers = False
    streams = ("outcome",)

    def judge(
        self, rollouts: list[Rollout], agents: Speakers, turn: Turn
    ) -> tuple[list[Verdict], list[Rollout]]:
        verdicts = [Verdict(score=len(row.token_ids) / 5) for row in rollouts]
        verdicts[1] = Verdict(score=None, status="unparsable")
        return verdicts, [replace(rollouts[0], role="verifier", policy="verifier")]


def test_a_game_is_paid_as_its_verifier_says() -> None:
    game = Solve(verifier=Length())
    assert (game.streams, game.needs_answers, game.samples) == (("outcome",), False, True)
    assert Solve(verifier=Rule(grader=Exact())).needs_answers


def rewards(rows: Sequence[Rollout]) -> list[float | None]:
    return [row.earned("outcome") for row in rows]


def test_verdicts_are_rewards_and_the_verifiers_rows_come_along(agents: Agents) -> None:
    verifier: Verifier = Length()
    rows = Solve(verifier=verifier).play(PROBLEMS, agents, turn())
    assert len(rows) == 13 and rows[-1].role == "verifier"
    assert rewards(rows)[1] is None, "no verdict is no reward, not a 0"
    for row in [rows[0], *rows[2:12]]:
        (reward,) = row.rewards
        assert reward.value == len(row.token_ids) / 5 and reward.part == "correct"
        assert (reward.start, reward.end) == (0, len(row.token_ids))
    assert rewards(rows)[12] is None


def test_every_solution_is_an_episode_of_its_own(agents: Agents) -> None:
    rows = Solve(verifier=Rule(grader=Exact())).play(PROBLEMS, agents, turn())
    assert [row.episode for row in rows] == [f"5/{n}/{i}" for n in range(3) for i in range(4)]


def test_a_review_forgets_what_was_earned_before(agents: Agents) -> None:
    rows = Solve(verifier=Rule(grader=Exact())).play(PROBLEMS, agents, turn())
    assert {row.earned("outcome") for row in rows} == {0.0}
    *again, spoken = Solve(verifier=Length()).review(rows, agents, turn(step=6))
    assert spoken.role == "verifier"
    assert rewards(again) == [
        None if i == 1 else len(row.token_ids) / 5 for i, row in enumerate(rows)
    ]
    assert [row.text for row in again] == [row.text for row in rows], "the same solutions"
    assert [row.peers for row in again] == [row.peers for row in rows]


def test_what_was_said_is_what_was_sampled(agents: Agents) -> None:
    rows = Solve(verifier=Rule(grader=Exact())).play(PROBLEMS, agents, turn())
    for row in rows:
        assert len(row.token_ids) <= 5 and row.mask.all()
        assert np.isfinite(row.logprobs).all() and (row.logprobs <= 0).all()
        assert (
            row.stop == "length" or row.token_ids[-1] in agents.policies["generator"].chat.stop_ids
        )


def test_bonuses_are_streams_of_their_own(agents: Agents) -> None:
    bonuses = {"format": Paid(grader=Format(form="boxed")), "late": Paid(grader=Late())}
    game = Solve(verifier=Rule(grader=Exact()), bonuses=bonuses)
    assert game.streams == ("outcome", "format", "late")
    rows = [said(text, PROBLEMS[0]) for text in (r"\boxed{1}", "1", "hang")]
    found = game.review(rows, agents, turn())
    assert [row.earned("outcome") for row in found] == [0.0, 1.0, 0.0]
    assert [row.earned("format") for row in found] == [1.0, 0.0, 0.0]
    assert [row.earned("late") for row in found] == [1.0, 1.0, None]
    assert [row.grade and row.grade.extracted for row in found] == [r"\boxed{1}", "1", "hang"]


def test_a_bonus_takes_no_stream_of_the_verifiers() -> None:
    with pytest.raises(ValueError, match=r"bonus\.outcome: the verifier pays that stream"):
        Solve(verifier=Rule(grader=Exact()), bonuses={"outcome": Paid(grader=Late())})
