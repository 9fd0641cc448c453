"""Which problems come next."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from rlcotrain.data.dataset import Dataset, Levels
from rlcotrain.data.pass_rates import read_pass_rates
from rlcotrain.types import Problem

Order = Literal["uniform", "easy_to_hard"]


class Sampler:
    """The training stream in an order, with a cursor for each choice of levels.

    pass_rates: a file that evaluation=pass_at_k wrote; None: none. With one, only its problems are
    drawn, those solved in a share of low..high of all answers; `easy_to_hard` goes from the highest
    share to the lowest, anew every epoch (of data=mixed, in every set by itself).
    stages: from which step of the leading phase on which levels are drawn, within those of a phase
    (None: all of them); None: no stages.
    """

    def __init__(
        self,
        dataset: Dataset,
        order: Order,
        pass_rates: str | None,
        low: float,
        high: float,
        stages: Mapping[int, Sequence[int] | None] | None,
    ) -> None:
        if not 0 <= low <= high <= 1:
            raise ValueError(f"sampler.low={low}, high={high}: needs 0 <= low <= high <= 1")
        if pass_rates is None and (order != "uniform" or (low, high) != (0, 1)):
            raise ValueError(
                f"sampler.pass_rates=null: order={order}, low={low} and high={high} go by a file; "
                "expected one that evaluation=pass_at_k wrote"
            )
        if stages is not None and (0 not in stages or min(stages) < 0):
            raise ValueError(
                f"sampler.stages={dict(stages)}: needs one from step 0 on, none before"
            )
        if stages is not None and not any(stages.values()):
            raise ValueError(
                f"sampler.stages={dict(stages)}: all are of all levels; expected levels in one, as "
                "in 'sampler.stages={0: [1, 2], 20: null}'"
            )
        self.stages = {step: stages[step] for step in sorted(stages)} if stages else {0: None}
        self.report = list[str]()
        self.dataset = dataset
        if pass_rates is not None:
            self.dataset = self._by_rates(dataset, order, Path(pass_rates), low, high)
        self._cursors: dict[str, int] = {}

    def _by_rates(
        self, dataset: Dataset, order: Order, path: Path, low: float, high: float
    ) -> Dataset:
        problems = dataset.train_problems(None)
        rates = read_pass_rates(path.expanduser(), [problem.id for problem in problems])
        chosen = {name for name, rate in rates.items() if low <= rate <= high}
        if not chosen:
            raise ValueError(
                f"sampler.low={low}, high={high}: none of the {len(rates)} problems in {path} is "
                f"solved that often; their shares lie in {min(rates.values()):.3f}.."
                f"{max(rates.values()):.3f}"
            )
        self.report += [
            f"{len(chosen)} problems are drawn; left out: {len(rates) - len(chosen)} with a rate "
            f"outside {low}..{high}, {len(problems) - len(rates)} with none"
        ]
        return dataset.arranged(
            lambda problem: problem.id in chosen,
            (lambda problem: -rates[problem.id]) if order == "easy_to_hard" else None,
        )

    def leave_out(self, ids: set[str]) -> None:
        """Never draw these problems."""
        self.dataset = self.dataset.arranged(lambda problem: problem.id not in ids)

    def problems(self, levels: Sequence[int] | None) -> list[Problem]:
        """All that a phase of these levels may draw; the first, where there is no end."""
        chosen = None if levels is None else tuple(levels)
        found = {
            problem.id: problem
            for step in self.stages
            for problem in self.dataset.train_problems(self.staged(chosen, step))
        }
        return [*found.values()]

    def draw(self, count: int, levels: Levels, lead: int) -> list[Problem]:
        """The next `count` problems of the stream restricted to `levels` (None: all).

        lead: steps that the leading phase has done, by which stages begin.
        """
        levels = self.staged(levels, max(step for step in self.stages if step <= lead))
        key = "all" if levels is None else ",".join(map(str, levels))
        start = self._cursors.get(key, 0)
        problems = [self.dataset.train_problem(start + i, levels) for i in range(count)]
        self._cursors[key] = start + count
        return problems

    def staged(self, levels: Levels, step: int) -> Levels:
        """A phase's levels in the stage that begins at `step`. ValueError where none are left."""
        stage = self.stages[step]
        if stage is None:
            return levels
        both = tuple(level for level in stage if levels is None or level in levels)
        if not both:
            raise ValueError(
                f"sampler.stages.{step}={list(stage)}: a phase draws levels={list(levels or ())} "
                "and none of these"
            )
        return both

    def state_dict(self) -> dict[str, int]:
        """The cursors: all that a resumed run needs to draw what it would have drawn."""
        return dict(self._cursors)

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Go on from where `state` was taken."""
        self._cursors = dict(state)
