"""Which problems come next."""

from rlcotrain.data.dataset import Dataset, Levels
from rlcotrain.types import Problem


class Uniform:
    """The training stream in its own order, with a cursor for each choice of levels."""

    def __init__(self, dataset: Dataset) -> None:
        self.dataset = dataset
        self._cursors: dict[str, int] = {}

    def draw(self, count: int, levels: Levels) -> list[Problem]:
        """The next `count` problems of the stream restricted to `levels` (None: all)."""
        key = "all" if levels is None else ",".join(map(str, levels))
        start = self._cursors.get(key, 0)
        problems = [self.dataset.train_problem(start + i, levels) for i in range(count)]
        self._cursors[key] = start + count
        return problems

    def state_dict(self) -> dict[str, int]:
        """The cursors: all that a resumed run needs to draw what it would have drawn."""
        return dict(self._cursors)

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Go on from where `state` was taken."""
        self._cursors = dict(state)
