r"""What a LaTeX expression is worth, where a pocket calculator could tell.

Letters have fixed values, so that expressions that differ differ in value: what differs clearly is
not equal, what agrees in two assignments is, and neither needs computer algebra. Rational numbers
are exact, all else is floating point. Nothing here can hang: it is one pass over at most `LONGEST`
characters (rlcotrain.grader.calculator).
"""

from __future__ import annotations

import cmath
import re
from fractions import Fraction
from functools import lru_cache
from typing import NamedTuple

from rlcotrain.grader.calculator import LETTERS, OTHERS, Reader, Value

LONGEST = 400
NEAR, SAME = 1e-6, 1e-9  # relative: further apart is another value, closer the same
PLACES, SHARE = 6, Fraction(1, 10_000)  # a decimal agrees to so many places, and to this share
TOKEN = re.compile(r"\\[a-zA-Z]+|[0-9]+(?:\.[0-9]+)?|\.[0-9]+|[a-zA-Z]|[-+*/:^(){}\[\]!]")
APART = re.compile(r"[0-9.] +[0-9.]")
NUMBER = re.compile(
    r"([+-]?)(?:([0-9]{1,200}(?:\.[0-9]{1,200})?)"
    r"|([0-9]{0,100})\\frac\{([+-]?[0-9]{1,100})\}\{([0-9]{1,100})\})"
)
SCIENTIFIC = re.compile(r"([+-]?[0-9]{1,200}(?:\.[0-9]{1,200})?)[eE]([+-]?[0-9]{1,4})")
GROUPED = re.compile(r"[+-]?[0-9]{1,3}(?:,[0-9]{3})+(?:\.[0-9]+)?")
SLASH = re.compile(r"([+-]?)([0-9]+)/([0-9]+)")
REPEATING = re.compile(r"([+-]?)([0-9]{0,20})\.([0-9]{0,20})\\overline\{([0-9]{1,20})\}")
BASED = re.compile(r"(-?[0-9a-zA-Z]{1,60}|\(-?[0-9a-zA-Z]{1,60}\))_\{?([0-9]{1,3})\}?")


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
    if match is None:
        return None
    digits, base = match[1].strip("()").lower(), int(match[2])
    if digits.isalpha() and base <= 10:
        return None  # ab_1 is no number
    try:
        return Based(digits, base, int(digits, base) if 2 <= base <= 36 else None)
    except ValueError:
        return Based(digits, base, None)


def as_fraction(text: str) -> str:
    """A normal form with LaTeX's fraction for a slash, 1/2, and for a repeating decimal.

    Thousands have no commas, and a decimal a 0 before its point.
    """
    text = text.replace(",", "") if GROUPED.fullmatch(text) else text
    if (slash := SLASH.fullmatch(text)) is not None:
        return f"{slash[1]}\\frac{{{slash[2]}}}{{{slash[3]}}}"
    if (repeating := REPEATING.fullmatch(text)) is not None:
        return _repeated(*repeating.groups())
    return f"0{text}" if text.startswith(".") else text


def _repeated(sign: str, whole: str, places: str, period: str) -> str:
    r"""0.1\overline{6} is \frac{15}{90}: (16 - 1) / 90."""
    above = int(f"{whole}{places}{period}") - int(f"{whole}{places}" or 0)
    return f"{sign}\\frac{{{above}}}{{{'9' * len(period)}{'0' * len(places)}}}"


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
    again, other_again = worth(one, second=True), worth(other, second=True)
    if again is None or other_again is None or not _close(again, other_again, SAME):
        return None
    return True if _close(first, second, SAME) else None


def value(text: str) -> complex | None:
    """The value of one expression; None where it has another meaning, or is out of range."""
    found = worth(text)
    try:
        return None if found is None else complex(found.value)
    except OverflowError:
        return None


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
        reader = Reader(tokens, OTHERS if second else LETTERS)
        found = exact.value if exact is not None else reader.whole()
        finite = isinstance(found, Fraction) or cmath.isfinite(found)
        return Worth(found, reader.noise) if finite else None
    except (ValueError, ArithmeticError, RecursionError):
        return None


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
    x, y = one.value, other.value
    if isinstance(x, Fraction) and isinstance(y, Fraction):
        return abs(x - y) <= Fraction(share) * max(abs(x), abs(y))
    try:
        x, y = complex(x), complex(y)
    except OverflowError:  # what is exact may be larger than any of the others
        return False
    return abs(x - y) <= share * max(abs(x), abs(y)) + one.noise + other.noise
