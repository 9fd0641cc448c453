r"""What a LaTeX expression is worth, where a pocket calculator could tell.

Letters have fixed values, so that expressions that differ differ in value: what differs clearly is
not equal, and needs no computer algebra to say so. Nothing here can hang: it is one pass over at
most `LONGEST` characters in floating point.
"""

from __future__ import annotations

import cmath
import re
from collections.abc import Iterator
from fractions import Fraction
from typing import NamedTuple

LONGEST = 400
NEAR = 1e-6
TOKEN = re.compile(r"\\[a-zA-Z]+|[0-9]+(?:\.[0-9]+)?|\.[0-9]+|[a-zA-Z]|[-+*/:^(){}\[\]]")
NUMBER = re.compile(
    r"([+-]?)(?:([0-9]{1,200}(?:\.[0-9]{1,200})?)"
    r"|([0-9]{0,100})\\frac\{([+-]?[0-9]{1,100})\}\{([0-9]{1,100})\})"
)
BASED = re.compile(r"(-?[0-9]{1,60})_\{?([0-9]{1,2})\}?")
CONSTANTS = {"\\pi": cmath.pi, "e": cmath.e, "i": 1j}
# Unlike each other and every constant; none below 1, whose powers would vanish.
LETTERS = {
    letter: 1.1371 + 0.193 * place**1.21
    for place, letter in enumerate("abcdfghjklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
}


def readings(form: str, percentage: bool) -> list[str]:
    """What a normal form may stand for: 50% for 50 and 0.5, 12_5 for 12 and 7."""
    if percentage:
        return [form, f"\\frac{{{form}}}{{100}}"]
    based = BASED.fullmatch(form)
    if based is None:
        return [form]
    base = int(based[2])
    if not 2 <= base <= 10 or any(int(digit) >= base for digit in based[1].lstrip("-")):
        return [form]
    return [based[1], str(int(based[1], base))]


class Exact(NamedTuple):
    """A number, and whether it was written as a decimal."""

    value: Fraction
    is_decimal: bool


def number(text: str) -> Exact | None:
    """A normal form that is one number, None for any other."""
    match = NUMBER.fullmatch(text)
    if match is None:
        return None
    sign = -1 if match[1] == "-" else 1
    if match[2]:
        return Exact(sign * Fraction(match[2]), "." in match[2])
    if not int(match[5]):
        return None
    return Exact(sign * (int(match[3] or 0) + Fraction(int(match[4]), int(match[5]))), False)


def values(text: str) -> list[complex] | None:
    """Values of the elements of a normal form, of a lone one or a list; None where one has none."""
    if not text:
        return None
    if text[0] in "([" and text[-1] in ")]" and "," in text:
        text = text[1:-1]
    found = [value(part) for part in text.split(",")]
    return [x for x in found if x is not None] if None not in found else None


def differ(one: str, other: str) -> bool:
    """Whether two normal forms clearly differ in value; False also where that is not known."""
    kinds = _kind(one), _kind(other)
    if None not in kinds and kinds[0] != kinds[1]:
        return True
    first, second = values(one), values(other)
    if first is None or second is None:
        return False
    return not (_covers(first, second) and _covers(second, first))


def near(one: str, other: str) -> bool:
    """Whether two normal forms are of the same known value."""
    first, second = value(one), value(other)
    return first is not None and second is not None and _covers([first], [second])


def value(text: str) -> complex | None:
    """The value of one expression; None where it has another meaning, or is out of range."""
    tokens = TOKEN.findall(text)
    if "".join(tokens) != text or len(text) > LONGEST:
        return None
    try:
        exact = number(text)
        found = complex(exact.value) if exact is not None else _Reader(tokens).whole()
    except (ValueError, ArithmeticError, RecursionError):
        return None
    return found if cmath.isfinite(found) else None


class _Reader:
    """Recursive descent over tokens; ValueError where they are no plain expression."""

    def __init__(self, tokens: list[str]) -> None:
        self._rest: Iterator[str] = iter(tokens)
        self._depth = 0
        self._step()

    def _step(self) -> str:
        taken = getattr(self, "token", "")
        self.token = next(self._rest, "")
        return taken

    def _take(self, token: str) -> None:
        if self._step() != token:
            raise ValueError

    def whole(self) -> complex:
        found = self._sum()
        self._take("")
        return found

    def _sum(self) -> complex:
        self._depth += 1
        if self._depth > 40:
            raise ValueError
        found = 0j
        sign = self._step() if self.token in ("+", "-") else "+"
        while True:
            found += self._product() if sign == "+" else -self._product()
            if self.token not in ("+", "-"):
                self._depth -= 1
                return found
            sign = self._step()

    def _product(self) -> complex:
        found = self._power()
        while self.token not in ("", "+", "-", ")", "}", "]"):
            if self.token in ("*", "\\cdot", "\\times"):
                self._step()
                found *= self._power()
            elif self.token in ("/", ":", "\\div"):
                self._step()
                found /= self._power()
            else:
                if self.token[0].isdigit() or self.token == "\\frac":
                    raise ValueError  # 2 3 is no product, and 1\frac{1}{2} is a sum
                found *= self._power()
        return found

    def _power(self) -> complex:
        base = self._atom()
        if self.token != "^":
            return base
        self._step()
        return _raised(base, self._braces() if self.token == "{" else self._digit())

    def _digit(self) -> complex:
        token = self._step()
        if len(token) != 1 or not token.isalnum():
            raise ValueError
        return self._named(token) if token.isalpha() else complex(token)

    def _atom(self) -> complex:
        token = self._step()
        if token == "(":
            found = self._sum()
            self._take(")")
            return found
        if token == "\\frac":
            above = self._braces()
            return above / self._braces()
        if token == "\\sqrt":
            degree = 2 + 0j
            if self.token == "[":
                self._step()
                degree = self._sum()
                self._take("]")
            return _raised(self._braces(), 1 / degree)
        if token[:1].isdigit() or token[:1] == ".":
            return complex(token)
        return self._named(token)

    def _braces(self) -> complex:
        self._take("{")
        found = self._sum()
        self._take("}")
        return found

    def _named(self, token: str) -> complex:
        found = CONSTANTS.get(token, LETTERS.get(token))
        if found is None:
            raise ValueError
        return complex(found)


def _kind(text: str) -> str | None:
    """What can never be equal to something of another kind; None where that is not known."""
    if "\\begin{" in text and ("&" in text or "\\\\" in text):
        return "matrix"
    if "\\cup" in text or "\\infty" in text:
        return "set"
    return None if value(text) is None else "scalar"


def _covers(some: list[complex], others: list[complex]) -> bool:
    """Whether each of the others is near one of them: sets of numbers have no order."""
    return all(any(abs(x - y) <= NEAR * max(1.0, abs(y)) for x in some) for y in others)


def _raised(base: complex, exponent: complex) -> complex:
    """The power, ValueError where people mean another of its values: the cube root of -8 is -2."""
    whole = exponent.imag == 0 and float(2 * exponent.real).is_integer()
    if not whole and base.imag == 0 and base.real < 0:
        raise ValueError
    return base**exponent
