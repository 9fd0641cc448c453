import re
from typing import Any, Literal

import pytest

from rlcotrain.data.arithmetic import Arithmetic, Chain, work
from rlcotrain.data.wording import Wording
from rlcotrain.types import Problem

STEP = re.compile(r"<step>(\d)([+-]\d)=(\d)</step>")
EXAMPLE = Chain(7, [8, -3, 5], "7+8-3+5?")


def chains(
    slip: Literal["wrap", "random", "none"] = "wrap",
    rate: float = 0.6,
    seed: int = 0,
    judge_slip_rate: float = 0.0,
) -> Arithmetic:
    return Arithmetic(
        stages={},
        seed=seed,
        levels=[1, 2, 3],
        slip=slip,
        slip_rate=rate,
        held_out=0.1,
        wording=Wording(),
        judge_slip_rate=judge_slip_rate,
    )


def steps(problem: Problem) -> list[tuple[int, int, int]]:
    """Value before, operand, result shown, for each step."""
    assert problem.solution is not None
    return [(int(a), int(b), int(c)) for a, b, c in STEP.findall(problem.solution)]


def train(data: Arithmetic, count: int) -> list[Problem]:
    return [data.train_problem(i, None) for i in range(count)]


def test_a_right_solution_written_out() -> None:
    shown = work(EXAMPLE, lambda total: total % 10)
    assert shown == ("<step>7+8=5</step><step>5-3=2</step><step>2+5=7</step><answer>7</answer>")


def test_a_slip_is_carried_on_to_the_answer() -> None:
    # 7+8 wraps and shows 6 for 5; 6-3=3 and 3+5=8 do not wrap.
    shown = work(EXAMPLE, lambda total: (total + (not 0 <= total <= 9)) % 10)
    assert shown == ("<step>7+8=6</step><step>6-3=3</step><step>3+5=8</step><answer>8</answer>")


def test_three_held_out_problems_word_by_word() -> None:
    first, second, third = chains().test_problems(3, None)
    assert [problem.level for problem in (first, second, third)] == [1, 2, 3]
    assert third.id == f"arithmetic/test/{third.question[:-1]}"
    value = eval(third.question[:-1])  # a chain of our own making: digits and signs only
    assert third.answer == str(value % 10)
    assert third.solution is not None and third.solution.endswith(f"<answer>{value % 10}</answer>")


def test_answers_are_right_and_steps_follow_the_question() -> None:
    for problem in train(chains(), 300):
        worked = steps(problem)
        assert problem.answer == str(eval(problem.question[:-1]) % 10)
        assert problem.question == f"{worked[0][0]}{''.join(f'{b:+d}' for _, b, _ in worked)}?"
        assert [result for _, _, result in worked[:-1]] == [start for start, _, _ in worked[1:]]
        assert problem.solution is not None
        assert problem.solution.endswith(f"<answer>{worked[-1][2]}</answer>")
        assert problem.level == len(worked)


def test_wrap_slips_are_one_too_high_on_wraps_alone() -> None:
    worked = [step for problem in train(chains("wrap", 0.6), 2000) for step in steps(problem)]
    wraps = [(a + b, shown) for a, b, shown in worked if not 0 <= a + b <= 9]
    assert all(shown == a + b for a, b, shown in worked if 0 <= a + b <= 9)
    assert {(shown - total) % 10 for total, shown in wraps} == {0, 1}
    slipped = sum((shown - total) % 10 for total, shown in wraps) / len(wraps)
    assert abs(slipped - 0.6) < 0.05  # four standard errors of 0.012


def test_random_slips_are_off_by_one_or_two_anywhere() -> None:
    worked = [step for problem in train(chains("random", 0.5), 1000) for step in steps(problem)]
    offsets = [(shown - a - b) % 10 for a, b, shown in worked]
    assert {*offsets} == {0, 1, 2, 8, 9}
    assert abs(sum(map(bool, offsets)) / len(offsets) - 0.5) < 0.05


@pytest.mark.parametrize(("slip", "rate"), [("none", 1.0), ("wrap", 0.0), ("random", 0.0)])
def test_no_slips(slip: Literal["wrap", "random", "none"], rate: float) -> None:
    for problem in train(chains(slip, rate), 200):
        assert all((a + b - shown) % 10 == 0 for a, b, shown in steps(problem))


def test_held_out_solutions_never_slip() -> None:
    for problem in chains("wrap", 1.0).test_problems(40, None):
        assert all((a + b - shown) % 10 == 0 for a, b, shown in steps(problem))


def test_training_never_shows_a_held_out_question() -> None:
    tested = {problem.question for problem in chains().test_problems(250, (2,))}
    trained = {chains().train_problem(i, (2,)).question for i in range(5000)}
    assert len(tested) == 250
    assert not tested & trained


def test_a_draw_depends_on_seed_and_index_only() -> None:
    data = chains()
    late, early = data.train_problem(9, None), data.train_problem(4, None)
    assert chains().train_problem(4, None) == early
    assert chains().train_problem(9, None) == late
    assert chains(seed=1).train_problem(4, None) != early


def test_the_test_list_is_the_same_for_every_seed_and_grows_at_its_end() -> None:
    assert chains(seed=1).test_problems(30, None) == chains(seed=2).test_problems(30, None)
    assert chains().test_problems(20, None) == chains().test_problems(30, None)[:20]


def test_levels_restrict_both_splits() -> None:
    assert {chains().train_problem(i, (1, 3)).level for i in range(50)} == {1, 3}
    assert {problem.level for problem in chains().test_problems(20, (2,))} == {2}
    with pytest.raises(ValueError, match=r"levels=\[4\]: .*'arithmetic' has levels \[1, 2, 3\]"):
        chains().train_problem(0, (4,))


def test_short_chains_run_out_of_test_problems() -> None:
    # There are 10 * 18 chains of one operation, about a tenth of which are held out.
    with pytest.raises(
        ValueError, match=r"num_problems=100: .*levels \[1\]' has 1\.\.(\d+) "
    ) as hit:
        chains().test_problems(100, (1,))
    found = int(re.findall(r"1\.\.(\d+)", str(hit.value))[0])
    assert 5 <= found <= 35
    assert len(chains().test_problems(found, (1,))) == found


def test_operands_are_drawn_evenly() -> None:
    draws = [b for problem in train(chains(), 3000) for _, b, _ in steps(problem)]
    assert {*draws} == {*range(-9, 0), *range(1, 10)}
    share = sum(b == 7 for b in draws) / len(draws)
    assert abs(share - 1 / 18) < 0.015


# Worked solution of EXAMPLE: 7+8=5, a wrap; 5-3=2; 2+5=7.
ASKED = Problem(id="arithmetic/train/7+8-3+5", question="7+8-3+5?", answer="7")


def truths(*shown: str) -> list[tuple[bool, str]]:
    found = chains().truth(ASKED, [f"<step>{step}</step>" for step in shown])
    return [(step.right, step.kind) for step in found]


def test_right_steps_and_their_kinds() -> None:
    assert truths("7+8=5", "5-3=2", "2+5=7") == [(True, "wrap"), (True, "plain"), (True, "plain")]
    assert truths("7+8=5") == [(True, "wrap")]
    assert truths() == []


def test_only_the_slip_is_wrong_where_it_is_carried_on() -> None:
    assert truths("7+8=6", "6-3=3", "3+5=8") == [(False, "wrap"), (True, "plain"), (True, "plain")]


@pytest.mark.parametrize(
    "shown",
    [
        ("7+8=5", "6-3=3"),  # the step before shows 5
        ("7+8=5", "5+3=8"),  # the operand is -3
        ("7+8=5", "5-3=3"),
    ],
)
def test_a_step_that_does_not_follow_is_wrong(shown: tuple[str, ...]) -> None:
    assert truths(*shown) == [(True, "wrap"), (False, "plain")]


def test_the_first_digit_and_the_number_of_operands_are_the_questions() -> None:
    assert truths("8+8=6", "6-3=3") == [(False, "wrap"), (True, "plain")]
    assert truths("7+8=5", "5-3=2", "2+5=7", "7+8=5")[3] == (False, "wrap")


@pytest.mark.parametrize(
    "bad", ["7+8", "7+8=15", "7 + 8 = 5", "7+8=5 ", "7*8=6", "7+0=7", "", "\u0667+8=5"]
)
def test_what_no_chain_says_is_malformed_and_nothing_follows_from_it(bad: str) -> None:
    found = truths(bad, "7-3=4", "4+5=9")
    assert found == [(False, "malformed"), (False, "plain"), (True, "plain")]


def test_truth_agrees_with_the_results_of_slipping_solutions() -> None:
    for problem in train(chains("random", 0.5), 200):
        assert problem.solution is not None
        texts = re.findall(r"<step>.*?</step>", problem.solution)
        found = chains().truth(problem, texts)
        assert [step.right for step in found] == [(a + b) % 10 == c for a, b, c in steps(problem)]


def slipped(solution: str) -> Problem:
    return Problem(id=ASKED.id, question=ASKED.question, answer="7", solution=solution)


SLIPPED = slipped("<step>7+8=6</step><step>6-3=3</step><step>3+5=8</step><answer>8</answer>")
RIGHT = slipped("<step>7+8=5</step><step>5-3=2</step><step>2+5=7</step><answer>7</answer>")


@pytest.mark.parametrize("blind_spot", ["independent", "shared"])
def test_a_judgement_without_errors_word_by_word(blind_spot: str) -> None:
    assert chains(rate=0.0).demonstrate(SLIPPED, blind_spot, 0) == (
        "<step>7+8=5-6=9wrong</step><step>6-3=3-3=0right</step><step>3+5=8-8=0right</step>"
        "<verdict>wrong</verdict>"
    )
    assert chains(rate=0.0).demonstrate(RIGHT, blind_spot, 0) == (
        "<step>7+8=5-5=0right</step><step>5-3=2-2=0right</step><step>2+5=7-7=0right</step>"
        "<verdict>right</verdict>"
    )


def test_one_who_shares_the_habit_passes_the_slip_and_flags_what_is_right() -> None:
    assert chains(rate=1.0).demonstrate(SLIPPED, "shared", 0) == (
        "<step>7+8=6-6=0right</step><step>6-3=3-3=0right</step><step>3+5=8-8=0right</step>"
        "<verdict>right</verdict>"
    )
    other = chains(rate=1.0).demonstrate(RIGHT, "shared", 0)
    assert other.startswith("<step>7+8=6-5=1wrong</step>")


JUDGED = re.compile(r"<step>(\d)([+-]\d)=(\d)-(\d)=\d(right|wrong)</step>")


def test_errors_of_its_own_are_anywhere_and_as_often_as_asked() -> None:
    data = chains(judge_slip_rate=0.3)
    offsets = []
    for problem in train(data, 1500):
        text = data.demonstrate(problem, "independent", 0)
        blocks = JUDGED.findall(text)
        assert [(int(a), int(b), int(d)) for a, b, _, d, _ in blocks] == steps(problem)
        assert all((own == shown) == (mark == "right") for _, _, own, shown, mark in blocks)
        verdict = "right" if all(block[4] == "right" for block in blocks) else "wrong"
        assert text.endswith(f"</step><verdict>{verdict}</verdict>")
        offsets += [(int(own) - int(a) - int(b)) % 10 for a, b, own, _, _ in blocks]
    assert {*offsets} == {0, 1, 2, 8, 9}
    # About 3000 steps: four standard errors are 0.033.
    assert abs(sum(map(bool, offsets)) / len(offsets) - 0.3) < 0.04


def test_a_demonstration_depends_on_seed_and_problem_only() -> None:
    data = chains(judge_slip_rate=0.5)
    said = [data.demonstrate(SLIPPED, "independent", seed) for seed in range(20)]
    assert said == [data.demonstrate(SLIPPED, "independent", seed) for seed in range(20)]
    assert len({*said}) > 5


def test_an_unknown_blind_spot_is_named() -> None:
    with pytest.raises(
        ValueError, match=r"verifier\.blind_spot='both': one of shared, independent"
    ):
        chains().demonstrate(RIGHT, "both", 0)


@pytest.mark.parametrize("slip", ["wrap", "random", "none"])
@pytest.mark.parametrize("levels", [(1,), (2, 3), (1, 2, 3)])
def test_labelled_solutions_are_half_right_and_know_their_first_wrong_step(
    slip: Literal["wrap", "random", "none"], levels: tuple[int, ...]
) -> None:
    data = chains(slip)
    found = data.labelled(12, levels)
    assert [solution.problem for solution in found] == data.test_problems(12, levels)
    assert found[:5] == data.labelled(5, levels), "it grows at its end"
    for level in levels:
        wrong = [s.label >= 0 for s in found if s.problem.level == level]
        assert sum(wrong) == len(wrong) / 2
    for solution in found:
        right = [
            step.right
            for step in data.truth(solution.problem, re.findall(r"<step>.*?</step>", solution.text))
        ]
        assert right == [i != solution.label for i in range(solution.problem.level)]
        answer = solution.text.partition("<answer>")[2].removesuffix("</answer>")
        assert (answer == solution.problem.answer) == (solution.label == -1)


def test_corrupted_steps_are_wraps_one_too_high_where_there_are_any() -> None:
    wraps, places = 0, set()
    for solution in chains().labelled(200, (3,)):
        shown = [(int(a) + int(b), int(c)) for a, b, c in STEP.findall(solution.text)]
        if solution.label >= 0:
            total, result = shown[solution.label]
            assert (result - total) % 10 == 1
            places.add(solution.label)
            before = steps(solution.problem)
            if any(not 0 <= a + b <= 9 for a, b, _ in before):
                assert not 0 <= total <= 9
                wraps += 1
    assert wraps > 50 and places == {0, 1, 2}


def test_more_labelled_solutions_than_there_are() -> None:
    message = r"quality\.num_solutions=100: data set 'arithmetic, levels \[1\]' has 1\.\."
    with pytest.raises(ValueError, match=message):
        chains().labelled(100, (1,))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"levels": []}, r"data\.levels=\[\] must name one level or more, each >= 1"),
        ({"levels": [0, 2]}, r"data\.levels=\[0, 2\]"),
        ({"slip": "often"}, r"data\.slip='often' must be one of wrap, random, none"),
        ({"slip_rate": 1.1}, r"data\.slip_rate=1\.1 must lie in 0\.\.1"),
        ({"judge_slip_rate": -0.1}, r"data\.judge_slip_rate=-0\.1 must lie in 0\.\.1"),
        ({"held_out": 0.0}, r"data\.held_out=0\.0 must be above 0 and at most 0\.5"),
    ],
)
def test_settings_out_of_range_are_named(change: dict[str, Any], message: str) -> None:
    good: dict[str, Any] = {
        "seed": 0,
        "levels": [2],
        "slip": "wrap",
        "slip_rate": 0.6,
        "held_out": 0.1,
        "stages": {},
        "wording": Wording(),
    }
    with pytest.raises(ValueError, match=message):
        Arithmetic(**(good | change))
