"""Tasks that the package reasoning-gym makes (arXiv 2505.24760), an optional extra.

Several answers may be right, so the package has a scorer for each task, get_score_answer_fn(name)
(answer, entry): the entry is `Problem.columns`, the name its ["metadata"]["source_dataset"].
"""

from collections.abc import Mapping
from importlib.util import find_spec
from random import Random
from typing import Any

from rlcotrain.data.dataset import Stages
from rlcotrain.data.generated import Generated
from rlcotrain.data.wording import Wording
from rlcotrain.types import Problem


class ReasoningGym(Generated):
    """`tasks`: the package's names, each with the settings of its configuration.

    They are drawn alike, and are all of level 1. Raises ValueError without the package, and for a
    task or a setting that it does not know.
    """

    def __init__(
        self,
        *,
        seed: int,
        tasks: Mapping[str, Mapping[str, Any]],
        held_out: float,
        stages: Stages,
        wording: Wording,
    ) -> None:
        if find_spec("reasoning_gym") is None:
            raise ValueError(
                "data=reasoning_gym: the package reasoning-gym is not installed; "
                "pip install 'rlcotrain[reasoning_gym]' brings it"
            )
        if not tasks:
            raise ValueError("data.tasks={}: names none; expected one task or more")
        self._tasks = tasks
        for task in tasks:
            self._entry(task, 0)
        super().__init__("reasoning_gym", wording, self._problem, [1], seed, held_out, stages)

    @property
    def tasks(self) -> frozenset[str]:
        """The package's names."""
        return frozenset(self._tasks)

    def _problem(self, level: int, seed: int) -> Problem:
        entry = self._entry(Random(seed).choice(sorted(self._tasks)), seed % 2**32)
        return Problem(
            id="",
            question=entry["question"],
            answer=entry["answer"] or "",  # of some tasks the package knows none, only a scorer
            task=entry["metadata"]["source_dataset"],
            columns=entry,
        )

    def _entry(self, task: str, seed: int) -> dict[str, Any]:
        """The one entry of a data set of its own: some tasks draw all of theirs in advance."""
        from reasoning_gym import create_dataset

        try:
            entry: dict[str, Any] = create_dataset(task, seed=seed, size=1, **self._tasks[task])[0]
        except (ValueError, TypeError, AssertionError) as error:
            raise ValueError(f"data.tasks.{task}={dict(self._tasks[task])}: {error}") from error
        return entry
