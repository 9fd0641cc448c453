"""Comparisons by computer algebra; they may take for ever, so only the pool's workers call them.

Each returns (outcome, answer as it was read; None: all of it). What cannot be parsed is wrong, and
called so.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any, Literal

# A pair of every kind that Math-Verify takes a way of its own for.
UNEQUAL = (
    ("2x+y", "3x-y"),
    ("(1, 2)", "(1, 3)"),
    ("[0, \\infty)", "(-\\infty, 0]"),
    ("\\{1, 2\\}", "\\{1, 3\\}"),
    ("\\begin{pmatrix} 1 \\\\ 2 \\end{pmatrix}", "\\begin{pmatrix} 1 \\\\ 3 \\end{pmatrix}"),
    ("x = 5", "y = 2x + \\sqrt{3}"),
    ("x < 5", "x \\ge \\frac{\\pi}{2}"),
)
Outcome = tuple[Literal["right", "wrong", "unparsable"], str | None]


def warm_up() -> None:
    """Load what is heavy, before anything is timed: a first comparison of a kind takes seconds."""
    for known, said in UNEQUAL:
        assert same_value(known, said)[0] == "wrong"
    assert same_value("\\frac{1}{2}", "0.5") == ("right", None)
    assert same_difference("2x", "x+x") == ("right", None)


def same_value(gold: str, answer: str) -> Outcome:
    """Whether Math-Verify holds two LaTeX answers for equal, each read as a whole or not at all."""
    from math_verify import verify

    golds, answers = formula(gold), formula(answer)
    if golds and answers and verify(golds, answers, timeout_seconds=None):
        return "right", None
    return ("wrong" if answers else "unparsable"), None


def library(gold: str, text: str) -> Outcome:
    """Whether Math-Verify finds the answer `gold` in a text: the library as it is. What it read is
    "" where that is no text.
    """
    from math_verify import verify

    answers = parsed(text)
    said = next((x for x in reversed(answers) if isinstance(x, str)), "")
    if verify(parsed(f"${gold}$"), answers, timeout_seconds=None):
        return "right", said
    return ("unparsable" if all(isinstance(x, str) for x in answers) else "wrong"), said


def same_difference(gold: str, answer: str) -> Outcome:
    """Whether the difference simplifies to 0, lm-eval's rule for minerva_math.

    The parser is latex2sympy2_extended's: sympy's own wants another antlr than Hydra does.
    """
    from latex2sympy2_extended import latex2sympy
    from sympy import simplify

    try:
        known, said = latex2sympy(gold), latex2sympy(answer)
    except MemoryError:
        raise
    except Exception:  # the parser raises whatever goes wrong in it
        return "unparsable", None
    try:
        return ("right" if simplify(known - said) == 0 else "wrong"), None
    except (TypeError, ValueError, AttributeError, NotImplementedError):
        return "wrong", None  # nothing that could be subtracted: a tuple from a number


@lru_cache(maxsize=4096)
def formula(text: str) -> list[Any]:
    """Math-Verify's reading of a formula; [] where it reads a part of it at most."""
    from math_verify import LatexExtractionConfig, parse

    return list(
        parse(
            f"${text}$",
            extraction_config=[LatexExtractionConfig()],
            fallback_mode="no_fallback",
            parsing_timeout=None,
        )
    )


@lru_cache(maxsize=4096)
def parsed(text: str) -> list[Any]:
    """Math-Verify's reading of a text, without its alarm: the pool keeps the time."""
    from math_verify import parse

    found: list[Any] = parse(text, parsing_timeout=None)
    return found


TASKS: dict[str, Callable[[str, str], Outcome]] = {
    "same_value": same_value,
    "library": library,
    "same_difference": same_difference,
}
