"""What every data set offers, and what the finite ones share."""

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from random import Random
from typing import Protocol, Self

from rlcotrain.seeds import derive_seed
from rlcotrain.types import Problem, StepTruth, Wording

Levels = tuple[int, ...] | None  # None: every level the data set has
# Choices of levels by name, for schedules and evaluation to refer to: short, train, test ...
Stages = Mapping[str, Sequence[int] | None]
Keep = Callable[[Problem], bool]
Rank = Callable[[Problem], float]


@dataclass(frozen=True, kw_only=True, slots=True)
class LabelledSolution:
    """A solution as a verifier reads it, and its first wrong step from 0 (-1: all are right).

    right: whether its final answer is, which a wrong step does not settle.
    """

    problem: Problem
    text: str
    label: int
    right: bool


class Dataset(Protocol):
    """An endless seeded stream to train on, and a fixed list to be tested on that it never shows.

    The test list does not depend on the seed: runs of different seeds answer the same questions.
    demonstrates: whether it can show how a solution is judged. endless: whether problems are made
    as they are drawn, so that no list holds them. report: what a person should know of what was
    read, and of what was left out. tasks: those of its problems (Problem.task).
    """

    name: str
    wording: Wording
    demonstrates: bool
    endless: bool
    report: Sequence[str]

    @property
    def tasks(self) -> frozenset[str]: ...

    def train_problem(self, index: int, levels: Levels) -> Problem: ...

    def train_problems(self, levels: Levels) -> Sequence[Problem]: ...

    def arranged(self, keep: Keep, rank: Rank | None = None) -> "Dataset": ...

    def usable(self, keep: Keep) -> "Dataset": ...

    def test_problems(self, count: int, levels: Levels) -> list[Problem]: ...

    def num_tests(self, levels: Levels) -> int: ...

    def truth(self, problem: Problem, steps: Sequence[str]) -> tuple[StepTruth, ...] | None: ...

    def demonstrate(self, problem: Problem, blind_spot: str, seed: int) -> str: ...

    def labelled(self, count: int, levels: Levels) -> list[LabelledSolution]: ...


class Finite:
    """Two lists of problems as a data set; the training list is shuffled anew every epoch.

    A question to be tested on is never trained on. A list to train on that is empty is for
    evaluation only. Which step of a solution is wrong, such data cannot tell.
    """

    demonstrates = False
    endless = False

    def __init__(
        self,
        name: str,
        wording: Wording,
        train: list[Problem],
        test: list[Problem],
        seed: int,
        stages: Stages,
        notes: Sequence[str] = (),
    ) -> None:
        check_stages(name, stages, sorted({problem.level for problem in train or test}))
        asked = {folded(problem) for problem in test}
        apart = [problem for problem in train if folded(problem) not in asked]
        doubles = len(train) - len(apart)
        self.name = name
        self.wording = wording
        self.seed = seed
        self.report = [
            f"{len(apart)} problems to train on, {len(test)} to be tested on",
            *([f"{doubles} rows left out of training, they are tested on"] if doubles else []),
            *notes,
        ]
        self._train = apart
        self._rank: Rank | None = None
        # A file is often sorted by subject or level: its first n rows would be no fair sample.
        self._test = [test[i] for i in epoch_order(len(test), derive_seed(name, "test"), 0)]
        self._pools: dict[Levels, list[Problem]] = {None: apart}
        self._orders: dict[Levels, tuple[int, Sequence[int]]] = {}  # of the newest epoch

    @property
    def tasks(self) -> frozenset[str]:
        """Of all its problems."""
        return frozenset(problem.task for problem in self._train + self._test)

    def train_problem(self, index: int, levels: Levels) -> Problem:
        """Problem `index` of the stream; each epoch shows every problem of `levels` once."""
        pool = self.train_problems(levels)
        assert pool, f"data set {self.name!r} has no problems to train on, as the start has checked"
        epoch, position = divmod(index, len(pool))
        return pool[self._order(pool, levels, epoch)[position]]

    def _order(self, pool: Sequence[Problem], levels: Levels, epoch: int) -> Sequence[int]:
        """Where in the pool the problems of an epoch stand: shuffled, or by rank and then so."""
        newest, order = self._orders.get(levels, (None, ()))
        if newest != epoch:
            order = epoch_order(len(pool), self.seed, epoch)
            if (rank := self._rank) is not None:
                order = sorted(order, key=lambda place: rank(pool[place]))
            self._orders[levels] = epoch, order
        return order

    def arranged(self, keep: Keep, rank: Rank | None = None) -> Self:
        """The same with those training problems only; the least `rank` comes first, if given."""
        other = copy.copy(self)
        other._train = [problem for problem in self._train if keep(problem)]
        other._rank = self._rank if rank is None else rank
        other._pools, other._orders = {None: other._train}, {}
        return other

    def usable(self, keep: Keep) -> Self:
        """The same with those problems only, to train and to be tested on. ValueError without."""
        other = self.arranged(keep)
        other._test = [problem for problem in self._test if keep(problem)]
        gone = [problem for problem in self._train + self._test if not keep(problem)]
        if gone:
            other.report = [
                *self.report,
                f"{len(gone)} rows left out, the grader cannot use their answer: first "
                f"{gone[0].id} ({gone[0].answer!r:.40})",
            ]
        if not other._test or (self._train and not other._train):
            raise ValueError(
                f"data set {self.name!r}: the grader can use too few of its answers, as it cannot "
                f"{gone[0].answer!r:.40} of {gone[0].id}; expected another grader"
            )
        return other

    def train_problems(self, levels: Levels) -> list[Problem]:
        """All that the stream consists of."""
        if levels not in self._pools:
            self._pools[levels] = at_levels(self.name, self._train, levels)
        return self._pools[levels]

    def test_problems(self, count: int, levels: Levels) -> list[Problem]:
        """The first `count` held-out problems in an order that never changes."""
        pool = at_levels(self.name, self._test, levels)
        check_count(self.name, count, len(pool))
        return pool[:count]

    def num_tests(self, levels: Levels) -> int:
        """How many problems there are to be tested on."""
        return len(at_levels(self.name, self._test, levels))

    def truth(self, problem: Problem, steps: Sequence[str]) -> tuple[StepTruth, ...] | None:
        """None: the steps of a solution are not known to be right or wrong."""
        return None

    def demonstrate(self, problem: Problem, blind_spot: str, seed: int) -> str:
        """ValueError: there is nothing to learn judging from."""
        raise ValueError(
            f"data set {self.name!r} has no demonstrations of judging, as game=demonstrate needs; "
            "data=arithmetic has them"
        )

    def labelled(self, count: int, levels: Levels) -> list[LabelledSolution]:
        """ValueError: there are no solutions whose first wrong step is known."""
        raise ValueError(
            f"quality.path=null: data set {self.name!r} has no solutions with known "
            "errors; expected a folder of ProcessBench files"
        )


@lru_cache(maxsize=8)
def epoch_order(size: int, seed: int, epoch: int) -> tuple[int, ...]:
    """A permutation of 0..size-1, another one for every epoch."""
    return tuple(Random(derive_seed(seed, "epoch", epoch)).sample(range(size), size))


def check_stages(name: str, stages: Stages, known: Sequence[int]) -> None:
    """ValueError where a stage names a level that the data set does not have."""
    for levels in stages.values():
        known_levels(name, None if levels is None else tuple(levels), known)


def at_levels(name: str, problems: list[Problem], levels: Levels) -> list[Problem]:
    """The problems of `levels`, in their order. ValueError for a level that is not there."""
    chosen = known_levels(name, levels, sorted({problem.level for problem in problems}))
    return [problem for problem in problems if problem.level in chosen]


def known_levels(name: str, levels: Levels, known: Sequence[int]) -> tuple[int, ...]:
    """`levels`, or all there are. ValueError where one is unknown or none is named."""
    chosen = tuple(known) if levels is None else levels
    if not chosen or not set(chosen) <= set(known):
        raise ValueError(f"levels={list(chosen)}: data set {name!r} has levels {list(known)}")
    return chosen


def folded(problem: Problem) -> str:
    """What a question says, whatever white space it is written with."""
    return " ".join(problem.question.split())


def is_held_out(question: str, share: float) -> bool:
    """Whether a question is for testing only: decided by its text, so doubles fall on one side."""
    return derive_seed("held out", question) < share * 2**63


def check_share(share: float) -> None:
    """ValueError unless `share` leaves most problems to train on."""
    if not 0 < share <= 0.5:
        raise ValueError(f"data.held_out={share} must be above 0 and at most 0.5")


def check_count(
    name: str, count: int, available: int, key: str = "evaluation.num_problems"
) -> None:
    """ValueError where more test problems are asked for, by `key`, than there are."""
    if not 1 <= count <= available:
        raise ValueError(f"{key}={count}: data set {name!r} has 1..{available} of them")
