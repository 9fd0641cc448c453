"""A pocket calculator: the value of a LaTeX expression of numbers, letters and elementary signs.

Recursive descent in one pass. Rational numbers are exact, all else is floating point; what would
have more than `BITS` bits has no value, so that nothing here can hang.
"""

from __future__ import annotations

import cmath
import math
from collections.abc import Iterator, Mapping
from fractions import Fraction

BITS = 20_000
DEEPEST = 40  # brackets in each other
ROUNDING = 1e-13  # of what is added: what is left of a sum may be nothing but that
Value = Fraction | complex
CONSTANTS = {"\\pi": cmath.pi, "e": cmath.e, "i": 1j}
_LETTERS = [
    *"abcdfghjklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ",
    *("\\alpha", "\\beta", "\\gamma", "\\delta", "\\theta", "\\lambda", "\\mu", "\\rho"),
    *("\\sigma", "\\tau", "\\phi", "\\varphi", "\\omega"),
]
# Unlike each other and every constant; none below 1, whose powers would vanish.
LETTERS = {letter: 1.1371 + 0.193 * place**1.21 for place, letter in enumerate(_LETTERS)}
# A second assignment, every other one negative: \sqrt{x^2} is no x.
OTHERS = {
    letter: (-1) ** (place + 1) * (1.0413 + 0.171 * place**1.13)
    for place, letter in enumerate(_LETTERS)
}


class Reader:
    """Recursive descent over tokens; ValueError where they are no plain expression."""

    def __init__(self, tokens: list[str], letters: Mapping[str, float]) -> None:
        self._rest: Iterator[str] = iter(tokens)
        self._letters = letters
        self._depth = 0
        self.noise = 0.0
        self._step()

    def _step(self) -> str:
        taken = getattr(self, "token", "")
        self.token = next(self._rest, "")
        return taken

    def _take(self, token: str) -> None:
        if self._step() != token:
            raise ValueError

    def whole(self) -> Value:
        found = self._sum()
        self._take("")
        return found

    def _sum(self) -> Value:
        self._depth += 1
        if self._depth > DEEPEST:
            raise ValueError
        found: Value | None = None
        sign = self._step() if self.token in ("+", "-") else "+"
        while True:
            term = self._product() if sign == "+" else -self._product()
            if isinstance(found, complex) or (found is not None and isinstance(term, complex)):
                largest = max(abs(complex(found)), abs(complex(term)))
                self.noise = max(self.noise, ROUNDING * largest)
            found = term if found is None else found + term
            if self.token not in ("+", "-"):
                self._depth -= 1
                return found
            sign = self._step()

    def _product(self) -> Value:
        found = self._power()
        while self.token not in ("", "+", "-", ")", "}", "]"):
            if self.token in ("*", "\\cdot", "\\times"):
                self._step()
                found = _bounded(found * self._power())
            elif self.token in ("/", ":", "\\div"):
                self._step()
                found = _bounded(found / self._power())
            else:
                if self.token[0].isdigit() or self.token == "\\frac":
                    raise ValueError  # 2 3 is no product, and 1\frac{1}{2} is a sum
                found = _bounded(found * self._power())
        return found

    def _power(self) -> Value:
        base = self._factorials(self._atom())
        if self.token != "^":
            return base
        self._step()
        return _raised(base, self._braces() if self.token == "{" else self._digit())

    def _factorials(self, found: Value) -> Value:
        while self.token == "!":
            self._step()
            if found not in range(301):
                raise ValueError
            found = Fraction(math.factorial(int(found.real)))
        return found

    def _digit(self) -> Value:
        token = self._step()
        if len(token) != 1 or not token.isalnum():
            raise ValueError
        return self._named(token) if token.isalpha() else Fraction(token)

    def _atom(self) -> Value:
        token = self._step()
        if token == "(":
            found = self._sum()
            self._take(")")
            return found
        if token == "\\frac":
            above = self._braces()
            return above / self._braces()
        if token == "\\binom":
            above, below = self._braces(), self._braces()
            if above not in range(301) or below not in range(301):
                raise ValueError
            return Fraction(math.comb(int(above.real), int(below.real)))
        if token == "\\sqrt":
            degree: Value = Fraction(2)
            if self.token == "[":
                self._step()
                degree = self._sum()
                self._take("]")
            return _root(self._braces(), degree)
        if token.isdigit() and self.token == "\\frac":
            return self._mixed(Fraction(token))
        if token[:1].isdigit() or token[:1] == ".":
            return Fraction(token)
        return self._named(token)

    def _mixed(self, whole: Fraction) -> Fraction:
        self._step()
        above, below = self._braces(), self._braces()
        part = above / below
        if not isinstance(part, Fraction) or not 0 <= part < 1:
            raise ValueError  # 2\frac{x}{3} is a product
        return whole + part

    def _braces(self) -> Value:
        self._take("{")
        found = self._sum()
        self._take("}")
        return found

    def _named(self, token: str) -> complex:
        found = CONSTANTS.get(token, self._letters.get(token))
        if found is None:
            raise ValueError
        return complex(found)


def bits(number: Fraction) -> int:
    """Bits of both parts of a fraction."""
    return number.numerator.bit_length() + number.denominator.bit_length()


def _bounded(found: Value) -> Value:
    if isinstance(found, Fraction) and bits(found) > BITS:
        raise ValueError
    return found


def _raised(base: Value, exponent: Value) -> Value:
    """The power, ValueError where people mean another of its values: the cube root of -8 is -2."""
    if isinstance(base, Fraction) and isinstance(exponent, Fraction) and exponent.denominator == 1:
        if bits(base) * abs(exponent) > BITS:
            raise ValueError
        return Fraction(base ** int(exponent))
    base, exponent = complex(base), complex(exponent)
    whole = exponent.imag == 0 and float(2 * exponent.real).is_integer()
    if not whole and base.imag == 0 and base.real < 0:
        raise ValueError
    return base**exponent


def _root(base: Value, degree: Value) -> Value:
    if isinstance(base, Fraction) and base >= 0 and degree == 2:
        above, below = math.isqrt(base.numerator), math.isqrt(base.denominator)
        if above**2 == base.numerator and below**2 == base.denominator:
            return Fraction(above, below)
    return _raised(base, 1 / degree)
