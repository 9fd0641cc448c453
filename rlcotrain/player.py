"""Draw problems, play the game."""

from collections.abc import Sequence
from typing import Any

from rlcotrain.data.sampler import Sampler
from rlcotrain.model.agents import Agents
from rlcotrain.schedule import Position, Reviews
from rlcotrain.types import Rollout, Sampling, Turn


class Player:
    """Holds sampler and agents, so that a later player may work ahead of the trainer.

    `keeps`: whether some phase shares solutions, so that the newest must be remembered.
    """

    def __init__(
        self, sampler: Sampler, agents: Agents, sampling: Sampling, seed: int, keeps: bool
    ) -> None:
        self.sampler = sampler
        self.agents = agents
        self.sampling = sampling
        self.seed = seed
        self.keeps = keeps
        self.repeated = 0  # problems of the newest draw that stood in it already
        self._solutions: list[Rollout] = []
        self._reused = 0  # times that the newest solutions were judged anew

    def next(self, position: Position, step: int) -> list[Rollout]:
        """The rows of step `step` of the run."""
        phase = position.phase
        turn = Turn(
            seed=self.seed,
            step=step,
            lead=position.lead,
            group_size=phase.group_size,
            verifications=phase.verifications,
            sampling=self.sampling,
            task=self.sampler.dataset,
        )
        if phase.rollouts == "shared":
            assert isinstance(phase.game, Reviews), "as the phase has checked"
            self.repeated = 0
            return phase.game.review(self._share(phase.num_prompts), self.agents, turn)
        levels = None if phase.levels is None else tuple(phase.levels)
        problems = self.sampler.draw(phase.num_prompts, levels, position.lead)
        self.repeated = len(problems) - len({problem.id for problem in problems})
        rows = phase.game.play(problems, self.agents, turn)
        if self.keeps and phase.game.samples:
            self._solutions = [row for row in rows if row.judgement is None]
            self._reused = 0
        return rows

    def _share(self, count: int) -> list[Rollout]:
        """`count` of the newest solutions, one a problem; others each time, as far as they go."""
        groups: dict[str, list[Rollout]] = {}
        for row in self._solutions:
            groups.setdefault(row.peers, []).append(row)
        chosen = _dealt(list(groups.values()), self._reused * count, count)
        self._reused += 1
        return chosen

    def state_dict(self) -> dict[str, Any]:
        """All that a resumed run needs to play what it would have played."""
        return {
            "sampler": self.sampler.state_dict(),
            "solutions": self._solutions,
            "reused": self._reused,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a `state_dict`."""
        self.sampler.load_state_dict(state["sampler"])
        self._solutions, self._reused = state["solutions"], state["reused"]


def _dealt(groups: Sequence[Sequence[Rollout]], start: int, count: int) -> list[Rollout]:
    """Rows start, start + 1, ... of the order that takes one of each group in turn."""
    order = [
        group[place]
        for place in range(max(map(len, groups)))
        for group in groups
        if place < len(group)
    ]
    return [order[(start + i) % len(order)] for i in range(min(count, len(order)))]
