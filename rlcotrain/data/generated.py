"""Problems that are made as they are drawn: what such data sets share."""

import sys
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from random import Random
from typing import Protocol, Self

from rlcotrain.data.dataset import (
    Keep,
    LabelledSolution,
    Levels,
    Rank,
    Stages,
    check_count,
    check_share,
    check_stages,
    is_held_out,
    known_levels,
)
from rlcotrain.data.wording import Wording
from rlcotrain.seeds import derive_seed
from rlcotrain.types import Problem, StepTruth

DRAWS = 100  # after so many questions of the wrong side or known ones, there are no others


class Endless(ABC):
    """What data sets share whose problems are made as they are drawn: there is no list of them."""

    name: str
    endless = True
    report: Sequence[str] = ()

    @property
    def tasks(self) -> frozenset[str]:
        """Its name: all of its problems are of one."""
        return frozenset({self.name})

    @abstractmethod
    def train_problem(self, index: int, levels: Levels) -> Problem:
        """Problem `index` of the stream."""

    def train_problems(self, levels: Levels) -> list[Problem]:
        """The first."""
        return [self.train_problem(0, levels)]

    def arranged(self, keep: Keep, rank: Rank | None = None) -> Self:
        """Itself."""
        return self

    def usable(self, keep: Keep) -> Self:
        """Itself; ValueError where its problems are no such ones."""
        first = self.train_problem(0, None)
        if not keep(first):
            raise ValueError(
                f"problem {first.id}: the grader cannot use its answer {first.answer!r:.40}; "
                "expected another grader"
            )
        return self

    def num_tests(self, levels: Levels) -> int:
        """No end of them is known."""
        return sys.maxsize


class Maker(Protocol):
    """A problem that follows from its level and seed alone; its id is for others to say."""

    def __call__(self, level: int, seed: int) -> Problem: ...


class Generated(Endless):
    """An endless stream of what `make` makes, at levels that take turns at random.

    A share `held_out` of all questions, decided by their text, is for testing only.
    """

    demonstrates = False

    def __init__(
        self,
        name: str,
        wording: Wording,
        make: Maker,
        levels: Sequence[int],
        seed: int,
        held_out: float,
        stages: Stages,
    ) -> None:
        if not levels:
            raise ValueError(f"data.levels=[]: data set {name!r} needs one or more")
        check_share(held_out)
        check_stages(name, stages, sorted(set(levels)))
        self.name, self.wording, self.seed = name, wording, seed
        self.levels, self.held_out = tuple(sorted(set(levels))), held_out
        self._make = make

    def train_problem(self, index: int, levels: Levels) -> Problem:
        """Problem `index` of the stream."""
        levels = known_levels(self.name, levels, self.levels)
        level = Random(derive_seed(self.seed, "level", index, *levels)).choice(levels)
        for draw in range(DRAWS):
            problem = self._make(level, derive_seed(self.seed, "train", index, level, draw))
            if not is_held_out(problem.question, self.held_out):
                return self._named(problem, f"train/{index}", level)
        raise ValueError(f"data set {self.name!r}: level {level} has too few questions to train on")

    def test_problems(self, count: int, levels: Levels) -> list[Problem]:
        """Different held-out problems, the levels in turn; the same for every seed."""
        levels = known_levels(self.name, levels, self.levels)
        found = dict[str, Problem]()
        idle = index = 0
        while len(found) < count and idle < DRAWS * len(levels) / self.held_out:
            level = levels[len(found) % len(levels)]
            problem = self._make(level, derive_seed(self.name, "test", index))
            new = problem.question not in found and is_held_out(problem.question, self.held_out)
            if new:
                found[problem.question] = self._named(problem, f"test/{len(found)}", level)
            idle, index = 0 if new else idle + 1, index + 1
        check_count(self.name, count, len(found))
        return [*found.values()]

    def truth(self, problem: Problem, steps: Sequence[str]) -> tuple[StepTruth, ...] | None:
        """None: the steps of a solution are not known to be right or wrong."""
        return None

    def demonstrate(self, problem: Problem, blind_spot: str, seed: int) -> str:
        """ValueError: there is nothing to learn judging from."""
        raise ValueError(f"data set {self.name!r} has no demonstrations of judging")

    def labelled(self, count: int, levels: Levels) -> list[LabelledSolution]:
        """ValueError: there are no solutions whose first wrong step is known."""
        raise ValueError(f"quality.path=null: data set {self.name!r} has no labelled solutions")

    def _named(self, problem: Problem, where: str, level: int) -> Problem:
        task = problem.task or self.name
        return replace(problem, id=f"{self.name}/{where}", level=level, task=task)
