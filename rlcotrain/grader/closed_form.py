r"""What a LaTeX expression is worth, where a pocket calculator could tell.

Letters have fixed values, so that expressions that differ differ in value: what differs clearly is
not equal, what agrees in two assignments is, and neither needs computer algebra. Rational numbers
are exact, all else is floating point. Nothing here can hang: it is one pass over at most `LONGEST`
characters, and what would have more than `BITS` bits has no value.
"""

from __future__ import annotations

import cmath
import math
import re
from collections.abc import Iterator, Mapping
from fractions import Fraction
from functools import lru_cache
from typing import NamedTuple

LONGEST = 400
BITS = 20_000
NEAR, SAME = 1e-6, 1e-9  # relative: further apart is another value, closer the same
ROUNDING = 1e-13  # of what is added: what is left of a sum may be nothing but that
PLACES, SHARE = 6, Fraction(1, 10_000)  # a decimal agrees to so many places, and to this share
TOKEN = re.compile(r"\\[a-zA-Z]+|[0-9]+(?:\.[0-9]+)?|\.[0-9]+|[a-zA-Z]|[-+*/:^(){}\[\]!]")
APART = re.compile(r"[0-9.] +[0-9.]")
NUMBER = re.compile(
    r"([+-]?)(?:([0-9]{1,200}(?:\.[0-9]{1,200})?)"
    r"|([0-9]{0,100})\\frac\{([+-]?[0-9]{1,100})\}\{([0-9]{1,100})\})"
)
SCIENTIFIC = re.compile(r"([+-]?[0-9]{1,200}(?:\.[0-9]{1,200})?)[eE]([+-]?[0-9]{1,4})")
BASED = re.compile(r"(-?[0-9a-zA-Z]{1,60}|\(-?[0-9a-zA-Z]{1,60}\))_\{?([0-9]{1,3})\}?")
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


def readings(form: str, percentage: bool) -> list[str]:
    """What a normal form may stand for: 50% for 50 and 0.5, 12_5 for 12 and 7, 2e3 for 2000."""
    if percentage:
        return [form, f"\\frac{{{form}}}{{100}}"]
    if (scientific := SCIENTIFIC.fullmatch(form)) is not None:
        exponent = int(scientific[2])
        power = f"{scientific[1]}\\cdot10^{{{exponent}}}"
        # 2e-1 may be twice Euler's number, less one.
        return [power, form] if form.isascii() and "." not in form and "-" in form[1:] else [power]
    number_in_base = based(form)
    if number_in_base is None or number_in_base.value is None:
        return [form]
    return [number_in_base.digits, str(number_in_base.value)]


class Based(NamedTuple):
    """A number written in a base; `value` is None where its digits are none of that base."""

    digits: str
    base: int
    value: int | None


def based(form: str) -> Based | None:
    """A normal form that is a number with its base, 12_5 or (1A)_{16}; None for any other."""
    match = BASED.fullmatch(form)
    if match is None or not any(character.isdigit() for character in match[1]):
        return None
    digits, base = match[1].strip("()").upper(), int(match[2])
    try:
        return Based(digits, base, int(digits, base) if 2 <= base <= 36 else None)
    except ValueError:
        return Based(digits, base, None)


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


class Worth(NamedTuple):
    """The value of an expression, and how far it may be off for what cancelled in its sums."""

    value: Value
    noise: float


def values(text: str) -> list[Worth] | None:
    """Values of the elements of a normal form, of a lone one or a list; None where one has none."""
    if not text:
        return None
    if text[0] in "([" and text[-1] in ")]" and "," in text:
        text = text[1:-1]
    found = [worth(part) for part in text.split(",")]
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


def same(one: str, other: str) -> bool | None:
    """Whether two expressions are of one value; None where that is not known.

    Decimals agree with what is within their sixth place and a ten-thousandth.
    """
    first, second = worth(one), worth(other)
    if first is None or second is None:
        return False if differ(one, other) else None
    x, y = first.value, second.value
    if isinstance(x, Fraction) and isinstance(y, Fraction):
        if x == y or "." not in one + other:
            return x == y
        return round(x, PLACES) == round(y, PLACES) and abs(x - y) <= SHARE * max(abs(x), abs(y))
    if not _close(first, second, NEAR):
        return False
    again = worth(one, second=True), worth(other, second=True)
    if again[0] is None or again[1] is None or not _close(again[0], again[1], NEAR):
        return None
    return True if _close(first, second, SAME) and _close(*again, SAME) else None


def value(text: str) -> complex | None:
    """The value of one expression; None where it has another meaning, or is out of range."""
    found = worth(text)
    return None if found is None else complex(found.value)


def is_constant(text: str) -> bool:
    """Whether it is a number, without letters, or infinite."""
    if text.lstrip("+-") == "\\infty":
        return True
    return (found := worth(text)) is not None and found == worth(text, second=True)


@lru_cache(maxsize=4096)
def worth(text: str, second: bool = False) -> Worth | None:
    """The same, exact where it is rational; second: with the other values of letters."""
    tokens = TOKEN.findall(text)
    if len(text) > LONGEST or "".join(tokens) != text.replace(" ", "") or APART.search(text):
        return None
    try:
        exact = number(text)
        reader = _Reader(tokens, OTHERS if second else LETTERS)
        found = exact.value if exact is not None else reader.whole()
        return Worth(found, reader.noise) if cmath.isfinite(complex(found)) else None
    except (ValueError, ArithmeticError, RecursionError):
        return None


class _Reader:
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
        if self._depth > 40:
            raise ValueError
        found: Value | None = None
        sign = self._step() if self.token in ("+", "-") else "+"
        while True:
            term = self._product() if sign == "+" else -self._product()
            if found is not None:
                self.noise = max(self.noise, ROUNDING * abs(found), ROUNDING * abs(term))
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


def _kind(text: str) -> str | None:
    """What can never be equal to something of another kind; None where that is not known."""
    if "\\begin{" in text and ("&" in text or "\\\\" in text):
        return "matrix"
    if "\\cup" in text or "\\infty" in text:
        return "set"
    return None if value(text) is None else "scalar"


def _covers(some: list[Worth], others: list[Worth]) -> bool:
    """Whether each of the others is near one of them: sets of numbers have no order."""
    return all(any(_close(x, y, NEAR) for x in some) for y in others)


def _close(one: Worth, other: Worth, share: float) -> bool:
    """Whether values differ by no more than a share of the larger, and what sums may be off."""
    x, y = complex(one.value), complex(other.value)
    return abs(x - y) <= share * max(abs(x), abs(y)) + one.noise + other.noise


def _bounded(found: Value) -> Value:
    if isinstance(found, Fraction):
        if found.numerator.bit_length() + found.denominator.bit_length() > BITS:
            raise ValueError
    return found


def _raised(base: Value, exponent: Value) -> Value:
    """The power, ValueError where people mean another of its values: the cube root of -8 is -2."""
    if isinstance(base, Fraction) and isinstance(exponent, Fraction) and exponent.denominator == 1:
        bits = base.numerator.bit_length() + base.denominator.bit_length()
        if bits * abs(exponent) > BITS:
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
