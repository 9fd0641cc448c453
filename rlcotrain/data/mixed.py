"""Several data sets as one: each draw is of one of them, by weight."""

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain, zip_longest
from random import Random
from typing import Self

from rlcotrain.data.dataset import (
    Dataset,
    Finite,
    Keep,
    LabelledSolution,
    Levels,
    Rank,
    Stages,
    check_count,
    folded,
)
from rlcotrain.data.wording import Wording
from rlcotrain.seeds import derive_seed
from rlcotrain.types import Messages, Problem, StepTruth


@dataclass(frozen=True)
class MixedWording:
    """Each problem in the words of its own set, sampled together: `stop` is what ends any of them.

    The other fields are those of Wording.
    """

    wordings: Mapping[str, Wording]
    stop: Sequence[str]
    max_tokens: int
    judge_stop: Sequence[str]
    judge_tokens: int

    def __post_init__(self) -> None:
        styles = {key: wording.step_style for key, wording in self.wordings.items()}
        if len(set(styles.values())) > 1:
            raise ValueError(f"data.sets: needs one wording.step_style for all, not {styles}")
        for key, wording in self.wordings.items():
            for part in ("stop", "judge_stop"):
                if missing := set(getattr(wording, part)) - set(getattr(self, part)):
                    raise ValueError(
                        f"data.wording.{part}={[*getattr(self, part)]}: lacks {sorted(missing)}, "
                        f"which ends the rows of {key}"
                    )

    def messages(self, problem: Problem, lead: int | None = None) -> Messages:
        """The question as its set puts it."""
        return self.wordings[problem.task].messages(problem, lead)

    def judge_messages(self, problem: Problem, solution: str, finished: bool) -> Messages:
        """What the verifier reads, as the set puts it."""
        return self.wordings[problem.task].judge_messages(problem, solution, finished)

    def tagged(self) -> Wording:
        """The first set's, of tagged steps: what is judged then is of none of them."""
        return next(iter(self.wordings.values())).tagged()

    def steps(self, text: str, finished: bool) -> list[tuple[int, int]]:
        """Steps are marked alike in all sets."""
        return next(iter(self.wordings.values())).steps(text, finished)


class Mixed:
    """A problem's task is its data set's key in `sets`, by which wordings and graders differ.

    weights: how often each is drawn from, in proportion; one of weight 0 is only tested on. Each
    goes through its own epochs. Levels, where any are asked for, are asked of every set.
    """

    name = "mixed"
    demonstrates = False

    def __init__(
        self,
        *,
        seed: int,
        sets: Mapping[str, Dataset],
        weights: Mapping[str, float],
        stages: Stages,
        wording: Callable[[Mapping[str, Wording]], MixedWording],
    ) -> None:
        if set(weights) != set(sets):
            raise ValueError(
                f"data.weights={dict(weights)}: must name {', '.join(sets)}, as data.sets does"
            )
        if min(weights.values(), default=-1) < 0 or not any(weights.values()):
            raise ValueError(f"data.weights={dict(weights)}: 0 or more each, and one above 0")
        wordings = dict[str, Wording]()
        for key, one in sets.items():
            if not isinstance(one.wording, Wording):
                raise ValueError(f"data.sets.{key}: a mixed data set cannot be part of another")
            wordings[key] = one.wording
        tested = {
            folded(problem)
            for one in sets.values()
            if isinstance(one, Finite)
            for problem in one.test_problems(one.num_tests(None), None)
        }
        self.seed, self.weights = seed, weights
        self.sets = {
            key: one.arranged(lambda problem: folded(problem) not in tested)
            for key, one in sets.items()
        }
        self._doubles = {
            key: len(one.train_problems(None)) - len(self.sets[key].train_problems(None))
            for key, one in sets.items()
        }
        self._check_drawn()
        self.wording = wording(wordings)
        for levels in stages.values():
            self.train_problems(None if levels is None else tuple(levels))
        self._picks: list[tuple[str, int]] = []  # of every draw so far: the set, and which of its
        self._counts = dict.fromkeys(sets, 0)
        self._random = Random(derive_seed(seed, "mixed"))

    @property
    def endless(self) -> bool:
        """Whether one that is drawn from is."""
        return any(one.endless and self.weights[key] for key, one in self.sets.items())

    @property
    def tasks(self) -> frozenset[str]:
        """The keys of its sets."""
        return frozenset(self.sets)

    @property
    def report(self) -> list[str]:
        """What each set tells, and how much of it is left out: what another is tested on."""
        told = [f"{key}: {line}" for key, one in self.sets.items() for line in one.report]
        return told + [
            f"{key}: {count} problems left out of training, another set is tested on them"
            for key, count in self._doubles.items()
            if count
        ]

    def train_problem(self, index: int, levels: Levels) -> Problem:
        """Problem `index` of the stream."""
        while len(self._picks) <= index:
            (key,) = self._random.choices([*self.weights], [*self.weights.values()])
            self._picks.append((key, self._counts[key]))
            self._counts[key] += 1
        key, place = self._picks[index]
        return _stamped(key, self.sets[key].train_problem(place, levels))

    def train_problems(self, levels: Levels) -> list[Problem]:
        """Those of every set that is drawn from."""
        return [
            _stamped(key, problem)
            for key, one in self.sets.items()
            if self.weights[key]
            for problem in one.train_problems(levels)
        ]

    def arranged(self, keep: Keep, rank: Rank | None = None) -> Self:
        """The same with every set arranged so; ValueError where nothing is left to draw of one."""
        other = copy.copy(self)
        other.sets = {key: one.arranged(keep, rank) for key, one in self.sets.items()}
        other._check_drawn()
        return other

    def _check_drawn(self) -> None:
        """ValueError for a set that is drawn from and has nothing to draw."""
        for key, weight in self.weights.items():
            if weight and not self.sets[key].train_problems(None):
                raise ValueError(
                    f"data.weights.{key}={weight}: no problems are left to train on; allowed: 0"
                )

    def usable(self, keep: Keep) -> Self:
        """The same with every set so."""

        def stamped(key: str) -> Keep:
            return lambda problem: keep(_stamped(key, problem))

        other = copy.copy(self)
        other.sets = {key: one.usable(stamped(key)) for key, one in self.sets.items()}
        return other

    def test_problems(self, count: int, levels: Levels) -> list[Problem]:
        """As many of each set while they last, in an order that never changes."""
        each = [
            [_stamped(key, problem) for problem in one.test_problems(some, levels)]
            for key, one in self.sets.items()
            for some in [min(count, one.num_tests(levels))]
        ]
        turns = chain.from_iterable(zip_longest(*each))
        pool = [problem for problem in turns if problem is not None]
        check_count(self.name, count, len(pool))
        return pool[:count]

    def num_tests(self, levels: Levels) -> int:
        """Over all sets."""
        return sum(one.num_tests(levels) for one in self.sets.values())

    def truth(self, problem: Problem, steps: Sequence[str]) -> tuple[StepTruth, ...] | None:
        """What the problem's own set says."""
        return self.sets[problem.task].truth(problem, steps)

    def demonstrate(self, problem: Problem, blind_spot: str, seed: int) -> str:
        """ValueError where the problem's own set has no demonstrations."""
        return self.sets[problem.task].demonstrate(problem, blind_spot, seed)

    def labelled(self, count: int, levels: Levels) -> list[LabelledSolution]:
        """ValueError: of which set they should be, nothing says."""
        raise ValueError("quality.path=null: data=mixed has no labelled solutions of its own")


def _stamped(key: str, problem: Problem) -> Problem:
    return replace(problem, task=key)
