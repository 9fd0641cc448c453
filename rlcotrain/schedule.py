"""Who learns when: phases are data.

A schedule is a prelude, whose phases run once, and a cycle, whose phases run in turn until the
cycle has done `steps` steps. Where a run stands follows from its step alone: any step can be
resumed.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from rlcotrain.loss.objective import Loss
from rlcotrain.model.agents import Agents
from rlcotrain.model.optimizer import Optimizer
from rlcotrain.types import Problem, Rollout, Turn, Verifier


class Game(Protocol):
    """Who speaks (rlcotrain.game). `samples`: whether rows are drawn from the policy."""

    streams: tuple[str, ...]
    samples: bool
    verifier: Verifier

    def play(self, problems: list[Problem], agents: Agents, turn: Turn) -> list[Rollout]: ...


@dataclass(frozen=True, kw_only=True)
class Phase:
    """Some steps of one kind. `optimizer` null means each policy's own.

    num_prompts: problems drawn a step; group_size: rows a problem; levels: null means all.
    """

    steps: int
    train: Sequence[str]
    num_prompts: int
    group_size: int
    levels: Sequence[int] | None
    game: Game
    loss: Loss
    optimizer: Optimizer | None = None
    name: str = ""

    def __post_init__(self) -> None:
        for key in ("steps", "num_prompts", "group_size"):
            if getattr(self, key) < 1:
                raise ValueError(f"{key}={getattr(self, key)}: a phase needs 1 or more")
        if not self.train:
            raise ValueError("train=[]: a phase trains one policy or more")
        if self.game.samples and self.loss.compares_peers and self.group_size == 1:
            raise ValueError(
                "group_size=1: a group baseline compares rows of one problem, so it needs 2 or "
                "more (or loss=reinforce_pp, which compares over the batch)"
            )


@dataclass(frozen=True)
class Position:
    """A step of the schedule: `step` counts within the prelude phase or within the cycle."""

    phase: Phase
    step: int
    in_prelude: bool


class Schedule:
    """Iterating gives the Position of each step that is left; `observe` ends a step."""

    def __init__(
        self, prelude: Mapping[str, Phase] | None, cycle: Mapping[str, Phase], steps: int
    ) -> None:
        self.prelude = _named("prelude", prelude or {})
        self.cycle = _named("cycle", cycle)
        self.steps = steps
        self.step = 0
        self.learned: dict[str, int] = {}
        if steps < 1:
            raise ValueError(f"schedule.steps={steps}: must be 1 or more")
        if not self.cycle:
            raise ValueError("schedule.cycle: needs at least one phase")
        for phase in self.cycle:
            if phase.name in {"evaluate", *(prelude or {})}:
                raise ValueError(f"schedule.cycle.{phase.name}: the name is taken; choose another")
            if phase.optimizer is not None:
                raise ValueError(
                    f"schedule.cycle.{phase.name}.optimizer: phases of a cycle come again and use "
                    "their policy's own optimizer; only the prelude may name another"
                )

    @property
    def phases(self) -> list[Phase]:
        return self.prelude + self.cycle

    @property
    def prelude_steps(self) -> int:
        return sum(phase.steps for phase in self.prelude)

    @property
    def total(self) -> int:
        """Steps of the whole run."""
        return self.prelude_steps + self.steps

    def __iter__(self) -> Iterator[Position]:
        while self.step < self.total:
            yield self.at(self.step)

    def at(self, step: int) -> Position:
        """Where step 0, 1, 2 ... of the run stands."""
        for phase in self.prelude:
            if step < phase.steps:
                return Position(phase, step, True)
            step -= phase.steps
        within = step % sum(phase.steps for phase in self.cycle)
        for phase in self.cycle:
            if within < phase.steps:
                return Position(phase, step, False)
            within -= phase.steps
        raise AssertionError("a cycle covers all of its steps")

    def observe(self, position: Position) -> None:
        """The step at `position` is done; count it for every policy that learned in it."""
        self.step += 1
        for name in position.phase.train:
            self.learned[name] = self.learned.get(name, 0) + 1

    def state_dict(self) -> dict[str, Any]:
        """The next step and each policy's own count."""
        return {"step": self.step, "learned": dict(self.learned)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on at a `state_dict`."""
        self.step, self.learned = state["step"], dict(state["learned"])


def _named(part: str, phases: Mapping[str, Phase]) -> list[Phase]:
    for name, phase in phases.items():
        if not isinstance(phase, Phase):
            raise ValueError(
                f"schedule.{part}.{name}: the chosen schedule has no such phase to set "
                f"{', '.join(phase)} of (an experiment's settings fit the schedule it chooses)"
            )
    return [replace(phase, name=name) for name, phase in phases.items()]
