"""Any reward function of the user's, as TRL's GRPOTrainer takes them.

`(prompts, completions, **columns) -> list of float`; see the reward functions of TRL's
documentation. A function may be slow, batched or ask a service: it runs in this process.
"""

from __future__ import annotations

import inspect
import math
import warnings
from collections.abc import Callable, Collection, Sequence
from importlib import import_module
from typing import Any

from rlcotrain.types import Grade, Problem

COLUMNS = ("answer", "id", "level", "subject", "task", "solution", "tests")
TEXTS = ("prompts", "completions")


class Function:
    """`path` names the function: `package.module.function`.

    It gets prompts (the questions) and completions as texts, and the columns answer, id, level,
    subject, task, solution and tests, each a list of the same length, and those of the data set's
    own rows (Problem.columns; None where a row lacks one), which go before these. Without
    `**columns` it gets what it names. low, high: what it gives at worst and at best, laid onto
    0..1. Where it raises for a row, that row has no score (crashed, with a warning); None means
    that it does not apply, as in TRL (no_answer, and no score either).
    """

    def __init__(self, *, path: str, low: float, high: float) -> None:
        if not low < high:
            raise ValueError(f"grader.low={low}: must be below grader.high={high}")
        self.path, self.low, self.high = path, low, high
        self.function = load(path)
        self._needed, self._taken = _names(self.function)

    def grade(self, texts: Sequence[str], problems: Sequence[Problem]) -> list[Grade]:
        """One grade a text, in order, from one call; ValueError for what is no list of scores."""
        if not texts:
            return []
        try:
            return [self._grade(value) for value in self._call(texts, problems)]
        except _Raised as error:
            if len(texts) == 1:
                warnings.warn(f"grader.path={self.path} raised {error}", stacklevel=2)
                return [Grade(score=None, extracted=None, rule=self.path, status="crashed")]
        # Row by row, so that one row's crash costs the others nothing.
        pairs = zip(texts, problems, strict=True)
        return [self.grade([text], [problem])[0] for text, problem in pairs]

    def check(self, problem: Problem) -> None:
        """Nothing: what a problem must have, only the function knows."""

    def check_columns(self, columns: Collection[str]) -> None:
        """ValueError where the function must be given what `columns`, the data's, do not have."""
        known = {*TEXTS, *COLUMNS, *columns}
        missing = [name for name in self._needed if name not in known]
        if missing:
            raise ValueError(
                f"grader.path={self.path}: needs the column {missing[0]}, which the data do not "
                f"have; they have {', '.join(sorted(known))}"
            )

    def _call(self, texts: Sequence[str], problems: Sequence[Problem]) -> list[Any]:
        given: dict[str, list[Any]] = {
            name: [getattr(problem, name) for problem in problems] for name in COLUMNS
        }
        for name in dict.fromkeys(name for problem in problems for name in problem.columns):
            given[name] = [problem.columns.get(name) for problem in problems]
        for name in self._needed:  # no row of these has it
            given.setdefault(name, [None for _ in problems])
        given |= {"prompts": [problem.question for problem in problems], "completions": [*texts]}
        if self._taken is not None:
            given = {name: values for name, values in given.items() if name in self._taken}
        try:
            values = list(self.function(**given))
        except Exception as error:  # the user's code, on what a model wrote
            raise _Raised(f"{type(error).__name__}: {error}") from error
        if len(values) != len(texts):
            raise ValueError(
                f"grader.path={self.path}: gave {len(values)} scores for {len(texts)} completions"
            )
        return values

    def _grade(self, value: Any) -> Grade:
        if value is None:
            return Grade(score=None, extracted=None, rule=self.path, status="no_answer")
        score = float(value)
        if not self.low <= score <= self.high or math.isnan(score):
            raise ValueError(
                f"grader.path={self.path}: gave {score}, which is not between "
                f"grader.low={self.low} and grader.high={self.high}"
            )
        score = (score - self.low) / (self.high - self.low)
        return Grade(score=score, extracted=None, rule=self.path, status="ok")


class _Raised(Exception):
    """The user's function raised."""


def load(path: str) -> Callable[..., Any]:
    """The function of an import path. ValueError where there is none."""
    module, _, name = path.rpartition(".")
    try:
        found: Callable[..., Any] | None = getattr(import_module(module), name) if module else None
    except (ImportError, AttributeError) as error:
        raise ValueError(
            f"grader.path={path}: cannot be imported ({error}); expected package.module.function"
        ) from error
    if found is None or not callable(found):
        raise ValueError(f"grader.path={path}: is no function; expected package.module.function")
    called = found if inspect.isroutine(found) else type(found).__call__
    if inspect.iscoroutinefunction(called) or inspect.isasyncgenfunction(called):
        raise ValueError(
            f"grader.path={path}: is a coroutine function (async def); expected one that returns "
            "a list of scores"
        )
    return found


def _names(function: Callable[..., Any]) -> tuple[list[str], list[str] | None]:
    """What a function must be given, and all that it takes; None: anything."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):  # what is no Python code has no signature
        return [], None
    kinds = {one.kind for one in parameters}
    named = [one for one in parameters if one.kind not in (one.VAR_KEYWORD, one.VAR_POSITIONAL)]
    needed = [one.name for one in named if one.default is one.empty]
    anything = inspect.Parameter.VAR_KEYWORD in kinds
    return needed, None if anything else [one.name for one in named]
