"""Reward functions as users of TRL write them."""

from collections.abc import Sequence
from typing import Any


def holds_answer(
    prompts: Sequence[str], completions: Sequence[str], answer: Sequence[str], **columns: Any
) -> list[float]:
    """1 where the known answer stands in the completion."""
    return [float(known in said) for known, said in zip(answer, completions, strict=True)]


def shortness(completions: Sequence[str], **columns: Any) -> list[float | None]:
    """-1 for 10 characters or more up to 1 for none; does not apply to what is blank."""
    return [1 - min(len(text), 10) / 5 if text.strip() else None for text in completions]


def breaks_on_bang(completions: Sequence[str], **columns: Any) -> list[float]:
    """Divides by zero on a completion that holds an exclamation mark."""
    return [1 / ("!" not in text) for text in completions]


def one_too_few(completions: Sequence[str], **columns: Any) -> list[float]:
    """Forgets the last completion."""
    return [1.0 for _ in completions[1:]]


def as_hard(
    completions: Sequence[str], answer: Sequence[str], difficulty: Sequence[int | None], **_: Any
) -> list[float | None]:
    """The row's own difficulty, a tenth a point, where the known answer was said."""
    rows = zip(completions, answer, difficulty, strict=True)
    return [None if hard is None else hard / 10 * (known in said) for said, known, hard in rows]


def undecided(completions: Sequence[str], **columns: Any) -> list[None]:
    """Has nothing to say of anything."""
    return [None for _ in completions]


async def asked_a_service(completions: Sequence[str], **columns: Any) -> list[float]:
    """A coroutine function, as TRL takes them, too."""
    return [1.0 for _ in completions]


class AsksAService:
    """An object whose call is a coroutine function."""

    async def __call__(self, completions: Sequence[str], **columns: Any) -> list[float]:
        return [1.0 for _ in completions]


asks_a_service = AsksAService()


def by_rubric(
    completions: Sequence[str], rubric: Sequence[str], weight: float = 1.0
) -> list[float]:
    """The share of a column of the data that stands in the completion, and no other columns."""
    return [weight * (known in said) for said, known in zip(completions, rubric, strict=True)]


def breaks(completions: Sequence[str], **columns: Any) -> list[float]:
    """Raises whatever it is asked."""
    raise RuntimeError("no service")


NO_FUNCTION = 5
