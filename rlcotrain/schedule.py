"""Who learns when: phases are data.

A schedule is a prelude, whose phases run once, and a cycle, whose phases run in turn until its
first phase, the leading one, has done `steps` steps. Where a run stands follows from its step
alone: any step can be resumed.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, Protocol, runtime_checkable

from rlcotrain.loss.objective import Loss
from rlcotrain.model.agents import Agents
from rlcotrain.model.optimizer import Optimizer
from rlcotrain.types import Problem, Rollout, Turn


class Game(Protocol):
    """Who speaks (rlcotrain.game). `samples`: whether rows are drawn from the policy."""

    streams: tuple[str, ...]
    samples: bool
    needs_answers: bool

    def play(self, problems: list[Problem], agents: Agents, turn: Turn) -> list[Rollout]: ...


@runtime_checkable
class Reviews(Protocol):
    """A game that can judge solutions anew."""

    def review(self, rows: Sequence[Rollout], agents: Agents, turn: Turn) -> list[Rollout]: ...


@dataclass(frozen=True, kw_only=True)
class Phase:
    """Some steps of one kind; 0 steps leave it out. `optimizer` null means each policy's own.

    num_prompts: problems drawn a step; group_size: solutions a problem; verifications: judgements
    a solution, where the verifier is a model; levels: null means all.
    rollouts: `fresh` solutions, or `shared`: those of the newest step that drew some, one a problem
    at a time, are judged anew.
    start_from: policies that take over another's weights as the phase begins; each once, in the
    first phase of a prelude that says so and is not left out.
    """

    steps: int
    train: Sequence[str]
    num_prompts: int
    group_size: int
    levels: Sequence[int] | None
    game: Game
    loss: Loss
    optimizer: Optimizer | None = None
    verifications: int = 1
    rollouts: Literal["fresh", "shared"] = "fresh"
    start_from: Mapping[str, str] | None = None
    name: str = ""

    def __post_init__(self) -> None:
        if self.steps < 0:
            raise ValueError(f"steps={self.steps}: a phase needs 1 or more (0 leaves it out)")
        for key in ("num_prompts", "group_size", "verifications"):
            if getattr(self, key) < 1:
                raise ValueError(f"{key}={getattr(self, key)}: a phase needs 1 or more")
        if not self.train:
            raise ValueError("train=[]: a phase trains one policy or more")
        if self.rollouts == "shared" and not isinstance(self.game, Reviews):
            raise ValueError("rollouts=shared: only game=solve can judge solutions anew")


@dataclass(frozen=True)
class Position:
    """A step of the schedule: `step` counts within its phase, over all rounds of a cycle.

    lead: steps that the leading phase has done before it.
    """

    phase: Phase
    step: int
    in_prelude: bool
    lead: int


class Schedule:
    """Iterating gives the Position of each step that is left; `observe` ends a step."""

    def __init__(
        self, prelude: Mapping[str, Phase] | None, cycle: Mapping[str, Phase], steps: int
    ) -> None:
        self.prelude = _begun_once(_named("prelude", prelude or {}))
        self.cycle = _named("cycle", cycle)
        self.steps = steps
        self.step = 0
        if steps < 0:
            raise ValueError(f"schedule.steps={steps}: must be 0 (only evaluate) or more")
        if not self.cycle:
            given = ", ".join(f"schedule.cycle.{name}.steps=0" for name in cycle) or "none"
            raise ValueError(f"schedule.cycle: needs a phase of 1 step or more, here {given}")
        for phase in self.prelude:
            if phase.rollouts == "shared":
                raise ValueError(
                    f"schedule.prelude.{phase.name}.rollouts=shared: a prelude has no solutions to "
                    "share; it must be fresh"
                )
        for phase in self.cycle:
            at = f"schedule.cycle.{phase.name}"
            if phase.name in {"evaluate", *(prelude or {})}:
                raise ValueError(f"{at}: the name is taken; choose another")
            if phase.optimizer is not None:
                raise ValueError(
                    f"{at}.optimizer: phases of a cycle come again and use "
                    "their policy's own optimizer; only the prelude may name another"
                )
            if phase.start_from:
                raise ValueError(f"{at}.start_from: only a phase of the prelude begins once")
        if self.cycle[0].rollouts == "shared":
            raise ValueError(
                f"schedule.cycle.{self.cycle[0].name}.rollouts=shared: the first phase of a cycle "
                "has no solutions to share; it must be fresh"
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
        rounds, rest = divmod(self.steps, self.cycle[0].steps)
        return self.prelude_steps + rounds * self._round + rest

    @property
    def _round(self) -> int:
        return sum(phase.steps for phase in self.cycle)

    @property
    def leader(self) -> Phase:
        """The first phase of the cycle, by whose steps a run's length is counted."""
        return self.cycle[0]

    def __iter__(self) -> Iterator[Position]:
        while self.step < self.total:
            yield self.at(self.step)

    def at(self, step: int) -> Position:
        """Where step 0, 1, 2 ... of the run stands."""
        for phase in self.prelude:
            if step < phase.steps:
                return Position(phase, step, True, 0)
            step -= phase.steps
        rounds, within = divmod(step, self._round)
        lead = rounds * self.leader.steps + min(within, self.leader.steps)
        for phase in self.cycle:
            if within < phase.steps:
                return Position(phase, rounds * phase.steps + within, False, lead)
            within -= phase.steps
        raise AssertionError("a cycle covers all of its steps")

    def observe(self) -> None:
        """A step is done."""
        self.step += 1

    def state_dict(self) -> dict[str, Any]:
        """The next step; all else follows from it."""
        return {"step": self.step}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on at a `state_dict`."""
        self.step = state["step"]


def _named(part: str, phases: Mapping[str, Phase]) -> list[Phase]:
    for name, phase in phases.items():
        if not isinstance(phase, Phase):
            raise ValueError(
                f"schedule.{part}.{name}: the chosen schedule has no such phase to set "
                f"{', '.join(phase)} of (an experiment's settings fit the schedule it chooses)"
            )
    return [replace(phase, name=name) for name, phase in phases.items() if phase.steps]


def _begun_once(prelude: Sequence[Phase]) -> list[Phase]:
    """What a phase has taken over and trained, a later one does not take over again."""
    found, begun = list[Phase](), set[str]()
    for phase in prelude:
        first = {k: v for k, v in (phase.start_from or {}).items() if k not in begun}
        begun |= {*first}
        found.append(replace(phase, start_from=first or None))
    return found
