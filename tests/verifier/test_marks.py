from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest

from rlcotrain.data.dataset import Finite
from rlcotrain.data.wording import Wording
from rlcotrain.grader.number import Number
from rlcotrain.types import Problem, Rollout, Turn, Verdict
from rlcotrain.verifier.marks import Marks
from tests.game.turns import chains, turn
from tests.rows import said
from tests.verifier.speakers import Prepared

SUM = Problem(id="sum/1", question="7+8+1?", answer="6")
RIGHT = "<step>7+8=5</step><step>5+1=6</step><answer>6</answer>"
SLIPPED = "<step>7+8=6</step><step>6+1=7</step><answer>7</answer>"
WRONG = "<step>7+8=6</step><step>6+1=8</step><answer>8</answer>"
CUT = "<step>7+8=5</step><step>5+"


def marks(**changes: Any) -> Marks:
    fields: dict[str, Any] = {
        "grader": Number(tolerance=0.0),
        "recall": 1.0,
        "false_flags": 0.0,
        "shuffle": "none",
    }
    return Marks(**fields | changes)


def judge(rows: list[Rollout], now: Turn | None = None, **changes: Any) -> list[Verdict]:
    asked = Prepared()
    verdicts, own = marks(**changes).judge(rows, asked, now or turn())
    assert not asked.calls, "marks are a program's: no model is asked"
    assert own == []
    return verdicts


def test_an_oracle_marks_every_step_as_it_is() -> None:
    found = judge([said(text, SUM) for text in (RIGHT, SLIPPED, WRONG, "6")])
    assert [verdict.steps for verdict in found] == [(1.0, 1.0), (0.0, 1.0), (0.0, 0.0), ()]
    assert [verdict.score for verdict in found] == [1.0, 0.0, 0.0, 1.0], "the answer's own score"


def test_a_step_that_was_cut_has_no_mark() -> None:
    assert judge([said(CUT, SUM, stop="length")])[0].steps == (1.0,)


def test_marks_of_a_given_quality() -> None:
    """1000 wrong steps and 1000 right ones: sample deviations are about 0.015."""
    found = judge([said(SLIPPED, SUM)] * 1000, recall=0.7, false_flags=0.2)
    assert sum(verdict.steps[0] == 0 for verdict in found) == pytest.approx(700, abs=60)
    assert sum(verdict.steps[1] == 0 for verdict in found) == pytest.approx(200, abs=60)
    assert {verdict.score for verdict in found} == {0.0}


def test_recall_0_and_every_right_step_flagged_is_the_oracle_upside_down() -> None:
    (found,) = judge([said(SLIPPED, SUM)], recall=0.0, false_flags=1.0)
    assert found.steps == (1.0, 0.0)


def test_draws_follow_from_seed_and_step() -> None:
    rows = [said(SLIPPED, SUM)] * 20

    def found(**changes: int) -> list[tuple[float, ...]]:
        return [v.steps for v in judge(rows, turn(**changes), recall=0.5, false_flags=0.5)]

    assert found() == found()
    assert found() != found(seed=1) and found() != found(step=6)


def groups() -> list[Rollout]:
    """Two groups of ten: all of the first right, all of the second wrong; two rows of one step."""
    short = "<step>7+8=5</step><answer>5</answer>"
    return [
        *(said(RIGHT, SUM, "one") for _ in range(9)),
        said(short, SUM, "one"),
        *(said(WRONG, SUM, "two") for _ in range(5)),
        *(said(SLIPPED, SUM, "two") for _ in range(4)),
        said(short, SUM, "two"),
    ]


def flat(verdicts: Sequence[Verdict]) -> Counter[float]:
    return Counter(mark for verdict in verdicts for mark in verdict.steps)


def test_steps_are_dealt_at_the_same_rate_and_mean_nothing() -> None:
    rows = groups()
    plain, dealt = judge(rows), judge(rows, shuffle="steps")
    assert flat(dealt) == flat(plain)
    assert [len(verdict.steps) for verdict in dealt] == [len(verdict.steps) for verdict in plain]
    assert [verdict.score for verdict in dealt] == [verdict.score for verdict in plain]
    assert any(0.0 in verdict.steps for verdict in dealt[:9]), "over the whole batch"


def test_rows_exchange_marks_among_peers_of_as_many_steps() -> None:
    rows = groups()
    plain, exchanged = judge(rows), judge(rows, shuffle="rows")
    assert [v.steps for v in exchanged[:9]] == [v.steps for v in plain[:9]]
    second = [v.steps for v in exchanged[10:]]
    assert Counter(second[:9]) == Counter(v.steps for v in plain[10:19])
    assert second != [v.steps for v in plain[10:]]
    assert exchanged[9].steps == second[-1] == (), "alone of its length: nobody to exchange with"
    assert [verdict.score for verdict in exchanged] == [verdict.score for verdict in plain]


def test_all_exchanges_the_scores_too() -> None:
    rows = [said(RIGHT, SUM, "one")] * 5 + [said(WRONG, SUM, "one")] * 5
    plain, exchanged = judge(rows), judge(rows, shuffle="all")
    assert Counter(v.score for v in exchanged) == Counter(v.score for v in plain)
    assert [v.score for v in exchanged] != [v.score for v in plain]
    found = judge(groups(), shuffle="all")
    for peers in (slice(10), slice(10, 20)):
        scores = [[v.score for v in verdicts[peers]] for verdicts in (found, judge(groups()))]
        assert Counter(scores[0]) == Counter(scores[1]), "peers keep what they have together"


def test_data_that_cannot_tell_are_refused() -> None:
    plain = Finite("sums", Wording(), [SUM], [SUM], 0, {})
    with pytest.raises(ValueError, match=r"problem 'sum/1': its data cannot tell which steps are"):
        judge([said(RIGHT, SUM)], turn(task=plain))


def test_a_problem_without_an_answer_is_named() -> None:
    unknown = Problem(id="sum/2", question="7+8+1?")
    with pytest.raises(ValueError, match=r"problem 'sum/2' has no known answer to grade by"):
        judge([said(RIGHT, unknown)], turn(task=chains()))


@pytest.mark.parametrize("key", ["recall", "false_flags"])
@pytest.mark.parametrize("value", [-0.1, 1.1])
def test_rates_out_of_range_are_named(key: str, value: float) -> None:
    with pytest.raises(ValueError, match=rf"verifier\.{key}={value}: must lie in 0\.\.1"):
        marks(**{key: value})
