"""Who speaks prepared words, and a turn to speak in."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from rlcotrain.data.wording import Wording
from rlcotrain.types import Problem, Prompt, Rollout, Sampling, StepTruth, Stop, Turn
from tests.rows import said

JUDGE = Wording(judge_template="{question}|{solution}|{count}")


@dataclass
class Prepared:
    """Says `texts` in their order; where one is a pair, the second is why it stopped.

    calls: (role, prompts, group size, sampling, seed parts) of every call.
    """

    texts: Sequence[str | tuple[str, Stop]] = ()
    calls: list[tuple[Any, ...]] = field(default_factory=list)

    def sample(
        self,
        role: str,
        prompts: Sequence[Prompt],
        group_size: int,
        sampling: Sampling,
        *seed_parts: int | str,
    ) -> list[Rollout]:
        self.calls.append((role, prompts, group_size, sampling, seed_parts))
        asked = [prompt for prompt in prompts for _ in range(group_size)]
        rows = []
        for prompt, text in zip(asked, self.texts, strict=True):
            said_so: tuple[str, Stop] = (text, "stop") if isinstance(text, str) else text
            row = said(said_so[0], prompt.problem, prompt.peers, said_so[1])
            rows.append(replace(row, role=role, policy=role, episode=prompt.episode))
        return rows

    def token_ends(self, row: Rollout, ends: Sequence[int]) -> list[int]:
        raise AssertionError("a verifier places no rewards in solutions")


@dataclass(frozen=True)
class Sums:
    """A task whose steps are right where they hold no 9."""

    wording: Wording = JUDGE

    def truth(self, problem: Problem, steps: Sequence[str]) -> tuple[StepTruth, ...] | None:
        return tuple(StepTruth(right="9" not in step, kind="sum") for step in steps)

    def demonstrate(self, problem: Problem, blind_spot: str, seed: int) -> str:
        raise AssertionError("nothing is demonstrated")


def turn(verifications: int = 1, wording: Wording = JUDGE) -> Turn:
    return Turn(
        seed=7,
        step=3,
        group_size=2,
        sampling=Sampling(),
        task=Sums(wording),
        verifications=verifications,
    )
