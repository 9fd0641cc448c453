"""Draw problems, play the game."""

from rlcotrain.data.sampler import Uniform
from rlcotrain.model.agents import Agents
from rlcotrain.schedule import Position
from rlcotrain.types import Rollout, Sampling, Turn


class Player:
    """Holds sampler and agents, so that a later player may work ahead of the trainer."""

    def __init__(self, sampler: Uniform, agents: Agents, sampling: Sampling, seed: int) -> None:
        self.sampler = sampler
        self.agents = agents
        self.sampling = sampling
        self.seed = seed

    def next(self, position: Position, step: int) -> list[Rollout]:
        """The rows of step `step` of the run."""
        phase = position.phase
        levels = None if phase.levels is None else tuple(phase.levels)
        problems = self.sampler.draw(phase.num_prompts, levels)
        turn = Turn(
            seed=self.seed,
            step=step,
            group_size=phase.group_size,
            sampling=self.sampling,
            messages=self.sampler.dataset.wording.messages,
        )
        return phase.game.play(problems, self.agents, turn)
