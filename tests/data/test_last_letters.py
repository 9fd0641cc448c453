import pytest

from rlcotrain.data.last_letters import NAMES, LastLetters, make_problem
from rlcotrain.data.wording import Wording


def last_letters(seed: int = 0, levels: tuple[int, ...] = (2, 3)) -> LastLetters:
    return LastLetters(seed=seed, levels=levels, held_out=0.1, stages={}, wording=Wording())


def test_an_answer_is_what_the_names_end_in() -> None:
    problem = make_problem(3, 7)
    names = problem.question.split('"')[1].split()
    assert len(set(names)) == 3 and set(names) <= set(NAMES)
    assert problem.answer == names[0][-1] + names[1][-1] + names[2][-1]
    assert problem.solution is not None
    *lines, last = problem.solution.split("\n")
    assert lines[0] == f'The last letter of "{names[0]}" is "{names[0][-1]}".' and len(lines) == 3
    assert last == f"The answer is {problem.answer}."


def test_the_stream_follows_from_the_seed_and_has_the_levels_asked_for() -> None:
    one, same, other = (
        [last_letters(seed).train_problem(i, None) for i in range(20)] for seed in (1, 1, 2)
    )
    assert one == same != other
    assert {problem.level for problem in one} == {2, 3}
    assert {last_letters().train_problem(i, (3,)).level for i in range(9)} == {3}
    assert one[4].id == "last_letters/train/4" and one[4].task == "last_letters"


def test_held_out_questions_are_never_trained_on_and_the_same_for_every_seed() -> None:
    tested = last_letters(1).test_problems(50, None)
    assert tested == last_letters(2).test_problems(50, None)
    assert tested[:10] == last_letters().test_problems(10, None)
    assert [problem.level for problem in tested] == [2, 3] * 25
    questions = {problem.question for problem in tested}
    assert len(questions) == 50
    assert not questions & {last_letters().train_problem(i, None).question for i in range(500)}


def test_more_questions_than_there_are() -> None:
    """About a tenth of as many as there are names."""
    with pytest.raises(
        ValueError, match=r"evaluation\.num_problems=500: .* has 1\.\.\d\d? of them"
    ):
        last_letters(levels=(1,)).test_problems(500, None)


@pytest.mark.parametrize("levels", [(), (0,), (2, 1000)])
def test_levels_that_cannot_be(levels: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"data\.levels="):
        last_letters(levels=levels)
