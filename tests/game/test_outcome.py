"""Verdicts as rewards: where in the tokens of a solution its steps are paid, and how much."""

from collections.abc import Sequence

import numpy as np
import pytest

from rlcotrain.game.outcome import reward
from rlcotrain.loss.advantage import Advantage
from rlcotrain.types import Prompt, Rollout, Sampling, Verdict
from tests.game.turns import turn
from tests.rows import spoken

TURN = turn()
TWO = "<step>7+8=5</step><step>5-3=2</step><answer>2</answer>"
THREE = "<step>1+1=2</step> <step>2+1=3</step><step>3+1=4</step><answer>4</answer>"


class Pairs:
    """Speakers whose tokens are two characters each: steps end inside of some."""

    def sample(
        self,
        role: str,
        prompts: Sequence[Prompt],
        group_size: int,
        sampling: Sampling,
        *seed_parts: int | str,
    ) -> list[Rollout]:
        raise NotImplementedError("nobody is asked to speak here")

    def token_ends(self, row: Rollout, ends: Sequence[int]) -> list[int]:
        return [(end + 1) // 2 for end in ends]


def row(text: str, peers: str = "p") -> Rollout:
    """The text in tokens of two characters, and an end of sequence."""
    return spoken([1], range((len(text) + 1) // 2 + 1), peers, text=text)


def spans(found: Rollout, stream: str = "step") -> list[tuple[int, int, float]]:
    return [(r.start, r.end, r.value) for r in found.rewards if r.stream == stream]


def test_steps_share_1_and_reach_to_the_token_that_ends_them() -> None:
    # 18 characters a step in TWO: tokens 0..9, 9..18. In THREE the second ends at character 37,
    # inside of token 18, and the space before it is its own.
    verdicts = [Verdict(score=1.0, steps=(1.0, 0.0)), Verdict(score=0.0, steps=(1.0, 1.0, 1.0))]
    two, three = reward([row(TWO), row(THREE)], verdicts, Pairs(), TURN)
    assert spans(two) == [(0, 9, 0.5), (9, 18, -0.5)]
    third = pytest.approx(1 / 3)
    assert spans(three) == [(0, 9, third), (9, 19, third), (19, 28, third)]
    assert [found.earned("outcome") for found in (two, three)] == [1.0, 0.0]


def test_a_mark_between_pays_between() -> None:
    (found,) = reward([row(TWO)], [Verdict(score=None, steps=(0.5, 0.25))], Pairs(), TURN)
    assert spans(found) == [(0, 9, 0.0), (9, 18, -0.25)]
    assert found.earned("outcome") is None, "without a score, without the stream"


@pytest.mark.parametrize("steps", [(), (1.0,), (1.0, 1.0, 1.0)])
def test_without_a_mark_a_step_a_row_goes_without_the_stream(steps: tuple[float, ...]) -> None:
    (found,) = reward([row(TWO)], [Verdict(score=1.0, steps=steps)], Pairs(), TURN)
    assert found.earned("step") is None and found.earned("outcome") == 1.0


@pytest.mark.parametrize("text", ["4", "<step></step>" * 20, "</step><step>", ""])
def test_showing_no_step_escapes_no_marks(text: str) -> None:
    """It has earned what it has whose steps are all wrong, if only the judgement can be read."""
    shown, wrong = row(text), Verdict(score=1.0, steps=(0.0, 0.0))
    read, unread = Verdict(score=1.0), Verdict(score=1.0, status="misaligned")
    found = reward([shown, shown, row(TWO)], [read, unread, wrong], Pairs(), TURN, marked=True)
    assert [one.earned("step") for one in found] == [-1.0, None, -1.0]
    assert [one.earned("outcome") for one in found] == [1.0] * 3
    (unmarked,) = reward([shown], [read], Pairs(), TURN)
    assert unmarked.earned("step") is None
    # Steps that nobody marked are no such case.
    (found_two,) = reward([row(TWO)], [read], Pairs(), TURN, marked=True)
    assert found_two.earned("step") is None


def test_a_step_that_was_cut_is_no_step() -> None:
    text = "<step>7+8=5</step><step>5-3="
    whole, cut = Verdict(score=0.0, steps=(1.0, 0.0)), Verdict(score=0.0, steps=(1.0,))
    found = reward([row(text), row(text)], [whole, cut], Pairs(), TURN)
    assert spans(found[0]) == [] and spans(found[1]) == [(0, 9, 1.0)]


def advantages(credit: str, peers: Sequence[str] = ("p", "p")) -> list[np.ndarray]:
    """Of the step stream: marks right, wrong in one row; right, right, right in its peer."""
    rows = [row(TWO, peers[0]), row(THREE, peers[1])]
    verdicts = [Verdict(score=1.0, steps=(1.0, 0.0)), Verdict(score=0.0, steps=(1.0, 1.0, 1.0))]
    formula = Advantage(credit="own" if credit == "own" else "return_to_go")
    done = formula(reward(rows, verdicts, Pairs(), TURN), {"step": 1.0})
    return [found.advantages for found in done if found.advantages is not None]


@pytest.mark.parametrize(
    ("credit", "two", "three"),
    [
        # RL Tango (arXiv 2505.15034): 0.5, -0.5 and 1/3 three times are pooled over the peers: mean
        # 0.2, sample deviation 0.397911; to a token counts what follows.
        ("return_to_go", [-1.0052, -1.7592], [1.0052, 0.6702, 0.3351]),
        ("own", [0.7539, -1.7592], [0.3351, 0.3351, 0.3351]),
    ],
)
def test_step_advantages_by_hand(credit: str, two: list[float], three: list[float]) -> None:
    one, other = advantages(credit)
    assert one == pytest.approx([two[0]] * 9 + [two[1]] * 9 + [0.0] * (len(one) - 18), abs=1e-4)
    steps = [three[0]] * 9 + [three[1]] * 10 + [three[2]] * 9
    assert other == pytest.approx(steps + [0.0] * (len(other) - 28), abs=1e-4)


def test_a_row_without_marks_moves_no_pooled_mean() -> None:
    rows = [row(TWO), row(THREE), row(TWO)]
    verdicts = [
        Verdict(score=1.0, steps=(1.0, 0.0)),
        Verdict(score=0.0, steps=(1.0, 1.0, 1.0)),
        Verdict(score=0.0, steps=(), status="misaligned"),
    ]
    done = Advantage()(reward(rows, verdicts, Pairs(), TURN), {"step": 1.0})
    assert done[0].advantages == pytest.approx(advantages("return_to_go")[0])
    assert done[2].advantages is not None and not done[2].advantages.any()
