from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from rlcotrain.data.arithmetic import Arithmetic
from rlcotrain.data.wording import Wording
from rlcotrain.engine.transformers_engine import TransformersEngine
from rlcotrain.evaluate import (
    Answers,
    Evaluation,
    accuracy_metrics,
    paired_change,
    summary,
    wilson,
)
from rlcotrain.grader.number import Number
from rlcotrain.grader.watched import Watched
from rlcotrain.model.agents import Agents
from rlcotrain.types import Grade, Problem, Sampling, Stop
from tests.model.tiny import policy
from tests.rows import said

GRADER = Number(tolerance=0.0)


def scores(right: int, count: int) -> np.ndarray:
    return np.array([1.0] * right + [0.0] * (count - right))


@pytest.mark.parametrize(
    ("right", "count", "low", "high"),
    [
        # z = 1.959964, z^2 = 3.841459; 8 of 10: centre (0.8 + 0.192073) / 1.384146 = 0.716740,
        # half 1.959964 / 1.384146 * sqrt(0.016 + 0.009604) = 0.226577.
        (8, 10, 0.490163, 0.943317),
        (0, 20, 0.0, 0.161125),  # z^2 / (n + z^2)
        (20, 20, 0.838875, 1.0),
        (500, 1000, 0.469070, 0.530930),
    ],
)
def test_wilson_by_hand(right: int, count: int, low: float, high: float) -> None:
    found = wilson(scores(right, count))
    assert (found.mean, found.count) == (right / count, count)
    assert (found.low, found.high) == pytest.approx((low, high), abs=2e-6)


@pytest.mark.parametrize("count", [1, 3, 49, 1000])
@pytest.mark.parametrize("share", [0, 1])
def test_wilson_holds_its_own_mean(count: int, share: int) -> None:
    found = wilson(scores(count * share, count))
    assert 0 <= found.low <= found.mean <= found.high <= 1


def changed(both: int, lost: int, gained: int, neither: int) -> tuple[np.ndarray, np.ndarray]:
    """Scores before and after, by how many problems are right in both, in one, in neither."""
    counts = (both, lost, gained, neither)
    return np.repeat([1.0, 1, 0, 0], counts), np.repeat([1.0, 0, 1, 0], counts)


@pytest.mark.parametrize(
    ("counts", "low", "high"),
    [
        # Newcombe 1998, table II; the sign is turned, his change is before less after.
        ((36, 12, 2, 0), -0.3404, -0.0569),
        # Airway hyper-responsiveness before and after transplantation (Bentur et al. 2009), in
        # Fagerland, Lydersen and Laake, Statistical Analysis of Contingency Tables, chapter 8.
        ((1, 1, 7, 12), 0.026, 0.507),
        # Wilson of 0 of 20 is [0, 0.161125], of 20 of 20 [0.838875, 1]; phi is 0.
        ((0, 0, 0, 20), -0.161125, 0.161125),
        ((20, 0, 0, 0), -0.161125, 0.161125),
        ((0, 0, 20, 0), 1 - 0.161125 * 2**0.5, 1.0),
        # Half right in both: Wilson is 0.5 +- 0.200702, phi = (100 - 10) / 100 = 0.9, so the half
        # is 0.200702 * sqrt(2 - 1.8).
        ((10, 0, 0, 10), -0.089757, 0.089757),
        # Everything turned: phi is -1 and the half the sum of both.
        ((0, 10, 10, 0), -0.401404, 0.401404),
    ],
)
def test_paired_change_by_hand(counts: tuple[int, ...], low: float, high: float) -> None:
    found = paired_change(*changed(*counts))
    _, lost, gained, _ = counts
    assert (found.mean, found.count) == ((gained - lost) / sum(counts), sum(counts))
    digits = 6e-4 if counts[0] in (1, 36) else 2e-6  # as they are published
    assert (found.low, found.high) == pytest.approx((low, high), abs=digits)


@pytest.mark.parametrize(
    ("count", "before", "after", "shared"),
    [
        (200, 0.002, 0.004, 0.0),
        (20, 0.1, 0.15, 0.5),
        (200, 0.5, 0.55, 0.8),
        (1000, 0.06, 0.54, 0.1),
    ],
)
@pytest.mark.parametrize("graded", [False, True])
def test_the_interval_of_a_change_covers_it(
    count: int, before: float, after: float, shared: float, graded: bool
) -> None:
    """Of 2000 experiments at least 94 % hold the true change; `shared` problems are right by the
    same draw before and after; a graded score is the draw's, times a uniform number."""
    random = np.random.default_rng(0)
    held = 0
    for _ in range(2000):
        one, other = random.random((2, count))
        other = np.where(random.random(count) < shared, one, other)
        factors = random.random((2, count)) if graded else np.ones((2, count))
        found = paired_change((one < before) * factors[0], (other < after) * factors[1])
        held += found.low <= (after - before) * (0.5 if graded else 1.0) <= found.high
        assert found.low < found.high
    assert held / 2000 >= 0.94


def test_pairing_is_sharper_than_two_intervals() -> None:
    before = scores(500, 1000)
    found = paired_change(before, np.where(np.arange(1000) < 520, 1.0, 0.0))
    assert found.low > 0, "20 problems gained and none lost is a change"
    assert wilson(before).high > wilson(scores(520, 1000)).low


def test_no_change_has_an_interval_around_none() -> None:
    found = paired_change(scores(3, 9), scores(3, 9))
    assert found.mean == 0.0 and found.low == pytest.approx(-found.high) and found.low < 0


def problem(number: int, level: int) -> Problem:
    worked = f"<step>{number}+1={number + 1}</step><answer>{number + 1}</answer>"
    return Problem(
        id=f"{number}",
        question=f"{number}+1?",
        answer=f"{number + 1}",
        solution=worked,
        level=level,
    )


def answers(texts: Sequence[str], levels: Sequence[int], stop: Stop = "stop") -> Answers:
    """Answers to 0+1?, 1+1?, 2+1? ... of these levels."""
    rows = [
        said(text, problem(number, level), stop=stop)
        for number, (text, level) in enumerate(zip(texts, levels, strict=True))
    ]
    grades = [GRADER.grade_one(row.text, str(row.problem.answer)) for row in rows]
    return Answers(scores=np.array([grade.score for grade in grades]), grades=grades, rows=rows)


def test_accuracy_by_level_and_what_is_odd() -> None:
    texts = [
        "<step>0+1=1</step><answer>1</answer>",
        "<step>1+1=3</step><answer>2</answer>",  # lucky
        "<answer>3</answer>",  # right as well, and the step is missing
        "<step>3+1=4</step>",  # 4 is the last number
        "no idea",
    ]
    found = accuracy_metrics({"greedy": answers(texts, [1, 1, 1, 2, 2])})
    assert found["accuracy/greedy"] == 0.8
    assert found["accuracy/greedy/level_1"] == 1.0 and found["accuracy/greedy/level_2"] == 0.5
    assert found["evaluation/right_answer_wrong_step/greedy"] == 0.4
    assert found["evaluation/no_answer_fraction/greedy"] == 0.2
    assert found["evaluation/stop_length_fraction/greedy"] == 0.0
    assert found["accuracy/greedy_low"] < 0.8 < found["accuracy/greedy_high"]


def test_accuracy_of_each_data_set_where_there_are_several() -> None:
    found = answers(["1", "2", "no", "4"], [1, 1, 1, 1])
    tasks = ["gsm8k", "math", "math", "math"]
    rows = [
        replace(row, problem=replace(row.problem, task=task))
        for row, task in zip(found.rows, tasks, strict=True)
    ]
    metrics = accuracy_metrics({"greedy": replace(found, rows=rows)})
    assert metrics["accuracy/greedy"] == 0.75 and metrics["accuracy/greedy/gsm8k"] == 1.0
    assert metrics["accuracy/greedy/math"] == pytest.approx(2 / 3)


def test_what_says_nothing_is_not_recorded() -> None:
    found = accuracy_metrics({"greedy": answers(["1", "2"], [3, 3], stop="length")})
    assert not [key for key in found if "level" in key], "there is but one level"
    assert found["evaluation/stop_length_fraction/greedy"] == 1.0
    bare = Problem(id="p", question="0+1?", answer="1", solution="1")
    row = said("1", bare)
    grades = [GRADER.grade_one("1", "1")]
    found = accuracy_metrics({"greedy": Answers(scores=np.ones(1), grades=grades, rows=[row])})
    assert not [key for key in found if "wrong_step" in key], "the solution has no marked steps"


def test_summary_pairs_start_and_final() -> None:
    start, final = {"greedy": scores(2, 10)}, {"greedy": scores(7, 10)}
    found = summary(start, final)
    means = [found[part]["greedy"]["mean"] for part in ("start", "final", "change")]
    assert means == pytest.approx([0.2, 0.7, 0.5])


def evaluation(**changes: Any) -> Evaluation:
    data = Arithmetic(
        seed=0,
        levels=[1, 2],
        slip="none",
        slip_rate=0.0,
        held_out=0.5,
        stages={},
        wording=Wording(),
    )
    fields: dict[str, Any] = {
        "num_problems": 12,
        "every": 1,
        "between_problems": 6,
        "levels": None,
        "temperature": 1.0,
        "top_p": 1.0,
        "top_k": 0,
        "dataset": data,
        "grader": GRADER,
        "sampling": Sampling(max_tokens=6),
        "seed": 0,
    }
    return Evaluation(**fields | changes)


def test_the_same_problems_and_the_same_draws_every_time() -> None:
    speaker = policy()
    agents = Agents(
        {"generator": speaker}, {"generator": "generator"}, TransformersEngine(64, 4096)
    )
    whole = evaluation().run(agents, "generator", 12)
    again = evaluation().run(agents, "generator", 12)
    few = evaluation().run(agents, "generator", 6)
    for mode in ("sampled", "greedy"):
        texts = [row.text for row in whole[mode].rows]
        assert texts == [row.text for row in again[mode].rows]
        assert texts[:6] == [row.text for row in few[mode].rows], "the first of them"
    assert [row.text for row in whole["sampled"].rows] != [row.text for row in whole["greedy"].rows]
    other = evaluation(seed=1).run(agents, "generator", 12)
    assert [row.text for row in other["sampled"].rows] != [r.text for r in whole["sampled"].rows]
    assert [row.text for row in other["greedy"].rows] == [row.text for row in whole["greedy"].rows]


def test_the_accuracies_it_names_are_those_it_gives() -> None:
    made = evaluation()
    speaker = policy()
    agents = Agents(
        {"generator": speaker}, {"generator": "generator"}, TransformersEngine(64, 4096)
    )
    for count in (6, 12):
        assert set(made.accuracies) <= set(accuracy_metrics(made.run(agents, "generator", count)))
    assert made.accuracies[:3] == [
        "accuracy/sampled",
        "accuracy/sampled/level_1",
        "accuracy/sampled/level_2",
    ]
    assert evaluation(levels=[2]).accuracies == ["accuracy/sampled", "accuracy/greedy"]
    assert evaluation(between_problems=1).accuracies == ["accuracy/sampled", "accuracy/greedy"]


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("every", 0, r"evaluation\.every=0: must be 1 or more"),
        ("between_problems", 13, r"evaluation\.between_problems=13: must be in 1\.\.num_problems"),
        ("num_problems", 10**6, r"evaluation\.num_problems=1000000: data set 'arithmetic"),
        ("levels", [7], r"levels=\[7\]: data set 'arithmetic' has levels \[1, 2\]"),
        ("temperature", -0.5, r"evaluation\.temperature=-0\.5: must be 0 \(greedy\) or more"),
    ],
)
def test_what_cannot_be_evaluated_is_named(key: str, value: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        evaluation(**{key: value})


def test_what_the_grader_could_not_find_out_counts_as_wrong_and_is_told() -> None:
    agents = Agents(
        {"generator": policy()}, {"generator": "generator"}, TransformersEngine(64, 4096)
    )
    grader = Watched(grader=TooLate(), watch={"number": GRADER})
    found = accuracy_metrics(evaluation(grader=grader).run(agents, "generator", 6))
    assert found["accuracy/greedy"] == 0.0
    assert found["evaluation/grade/timeout/greedy"] == 1.0
    assert found["evaluation/grade/ok/greedy"] == 0.0
    assert 0 <= found["evaluation/grade/watch/number/sampled"] <= 1


class TooLate:
    """A grader that never finds out."""

    def grade(self, texts: Sequence[str], problems: Sequence[Problem]) -> list[Grade]:
        return [Grade(score=None, extracted=None, rule="late", status="timeout") for _ in texts]

    def check(self, problem: Problem) -> None:
        pass
