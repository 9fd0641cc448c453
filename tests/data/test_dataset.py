import pytest

from rlcotrain.data.dataset import Finite, epoch_order, is_held_out
from rlcotrain.data.wording import Wording
from rlcotrain.types import Problem


def make(name: str, count: int) -> list[Problem]:
    """`count` problems whose levels are 1, 2, 1, 2..."""
    return [Problem(id=f"{name}{i}", question=f"{name}{i}", level=1 + i % 2) for i in range(count)]


def finite(seed: int = 0) -> Finite:
    return Finite("toy", Wording(), make("train", 10), make("test", 6), seed, {})


def ids(problems: list[Problem]) -> list[str]:
    return [problem.id for problem in problems]


def test_every_epoch_shows_every_problem_once_in_an_order_of_its_own() -> None:
    stream = ids([finite().train_problem(i, None) for i in range(20)])
    assert sorted(stream[:10]) == sorted(stream[10:]) == sorted(ids(make("train", 10)))
    assert stream[:10] != stream[10:]


def test_the_order_follows_from_the_seed_alone() -> None:
    first, again, other = (
        ids([finite(seed).train_problem(i, None) for i in range(10)]) for seed in (3, 3, 4)
    )
    assert first == again != other


def test_an_epoch_of_one_level_shows_that_level_only() -> None:
    stream = [finite().train_problem(i, (2,)) for i in range(5)]
    assert sorted(ids(stream)) == ["train1", "train3", "train5", "train7", "train9"]


def test_the_test_list_is_the_same_for_every_seed_and_grows_at_its_end() -> None:
    assert finite(1).test_problems(6, None) == finite(2).test_problems(6, None)
    assert finite().test_problems(4, None) == finite().test_problems(6, None)[:4]
    assert sorted(ids(finite().test_problems(3, (1,)))) == ["test0", "test2", "test4"]


@pytest.mark.parametrize("count", [0, 7])
def test_more_test_problems_than_there_are(count: int) -> None:
    message = rf"evaluation\.num_problems={count}: data set 'toy' has 1\.\.6 of them"
    with pytest.raises(ValueError, match=message):
        finite().test_problems(count, None)


@pytest.mark.parametrize("levels", [(3,), (1, 3), ()])
def test_unknown_levels_are_refused(levels: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"levels=\[.*\]: data set 'toy' has levels \[1, 2\]"):
        finite().train_problem(0, levels)
    with pytest.raises(ValueError, match=r"data set 'toy' has levels \[1, 2\]"):
        finite().test_problems(1, levels)


def test_an_epochs_order_is_a_permutation() -> None:
    assert sorted(epoch_order(50, 7, 0)) == list(range(50))


def test_the_held_out_share_is_met() -> None:
    share = sum(is_held_out(f"question {i}", 0.25) for i in range(4000)) / 4000
    assert abs(share - 0.25) < 0.03  # four standard errors of 0.0068


def test_a_stage_must_name_levels_that_there_are() -> None:
    with pytest.raises(ValueError, match=r"levels=\[7\]: data set 'toy' has levels \[1, 2\]"):
        Finite("toy", Wording(), make("train", 10), make("test", 6), 0, {"hard": [7]})


def test_files_tell_nothing_of_steps() -> None:
    assert finite().truth(make("test", 1)[0], ["a step"]) is None
    assert not finite().demonstrates
    with pytest.raises(ValueError, match="data set 'toy' has no demonstrations of judging"):
        finite().demonstrate(make("test", 1)[0], "shared", 0)
    message = "quality.path=null: data set 'toy' has no solutions with known errors"
    with pytest.raises(ValueError, match=message):
        finite().labelled(1, None)


def test_an_arranged_stream_keeps_what_it_is_told_and_the_least_rank_comes_first() -> None:
    small = finite().arranged(lambda problem: problem.id in {"train1", "train2", "train4"})
    assert sorted(ids([small.train_problem(i, None) for i in range(3)])) == [
        *("train1", "train2", "train4")
    ]
    ranked = small.arranged(lambda problem: True, lambda problem: -int(problem.id[-1]))
    order = ids([ranked.train_problem(i, None) for i in range(6)])
    assert order == ["train4", "train2", "train1"] * 2
    assert len(finite().train_problems(None)) == 10, "the first is as it was"


def test_two_streams_of_levels_do_not_disturb_each_other() -> None:
    """Orders of an epoch are remembered: drawing in turn gives what drawing apart does."""
    apart = finite()
    whole = [ids([apart.train_problem(i, levels) for i in range(7)]) for levels in ((1,), (2,))]
    turns = finite()
    mixed = [(turns.train_problem(i, (1,)), turns.train_problem(i, (2,))) for i in range(7)]
    assert [ids(list(stream)) for stream in zip(*mixed, strict=True)] == whole


def test_answers_that_the_grader_cannot_use_are_left_out_and_counted() -> None:
    usable = finite().usable(lambda problem: not problem.id.endswith(("3", "5")))
    assert (len(usable.train_problems(None)), usable.num_tests(None)) == (8, 4)
    note = "4 rows left out, the grader cannot use their answer: first train3 (None)"
    assert usable.report == ["10 problems to train on, 6 to be tested on", note]
    with pytest.raises(ValueError, match="the grader can use too few of its answers"):
        finite().usable(lambda problem: problem.id.startswith("train"))
