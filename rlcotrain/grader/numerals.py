"""Numbers as word problems have them: 1,234.50 and $5 and -3 and 3/4 and 2 1/2 and 50%."""

import re
from fractions import Fraction

PLAIN = r"(?:[0-9]{1,3}(?:,[0-9]{3})+(?![0-9])|[0-9]+)(?:\.[0-9]+)?|(?<![0-9])\.[0-9]+"
# A minus after a digit, a letter or a bracket subtracts: 16-3 ends in 3, x = -3 in -3.
NUMERAL = re.compile(
    r"(?P<sign>(?<![\w)\]}])[+\-\u2212])?\\?[$\u20ac\u00a3]?(?P<inner>(?<=[$\u20ac\u00a3])-)?"
    rf"(?:(?P<plain>{PLAIN})"
    r"(?:[eE](?P<power>[+-]?[0-9]{1,2})(?![0-9a-zA-Z])"
    rf"|[ ]?/[ ]?(?P<below>{PLAIN})|[ ](?P<top>[0-9]{{1,9}})/(?P<bottom>[0-9]{{1,9}}))?"
    r"|\\[dt]?frac\{(?P<above>[0-9]{1,30})\}\{(?P<under>[0-9]{1,30})\})"
    r"(?:\\?%)?",
    re.ASCII,
)
LONGEST = 100  # characters of a number; a longer one is none


def read(text: str) -> Fraction | None:
    """A text that is one number and nothing else, None for any other; 50% is 50."""
    match = NUMERAL.fullmatch(text.strip())
    return None if match is None else value(match)


def value(match: re.Match[str]) -> Fraction | None:
    """What a NUMERAL is worth; None where it is too long or divides by 0."""
    if len(match[0]) > LONGEST:
        return None
    if match["plain"] is None:
        above, below = Fraction(match["above"]), Fraction(match["under"])
    elif match["power"] is not None:
        above, below = _plain(match["plain"]) * Fraction(10) ** int(match["power"]), Fraction(1)
    elif match["below"] is not None:
        above, below = _plain(match["plain"]), _plain(match["below"])
    elif match["bottom"] is not None:
        bottom = Fraction(match["bottom"])
        above, below = _plain(match["plain"]) * bottom + Fraction(match["top"]), bottom
    else:
        above, below = _plain(match["plain"]), Fraction(1)
    if not below:
        return None
    minus = (match["sign"] or match["inner"] or "+") in "-\u2212"
    return -above / below if minus else above / below


def last_numeral(text: str) -> re.Match[str] | None:
    """The last number of a text; an exponent, as in 18 cm^2, is none of its own."""
    matches = [
        match
        for match in NUMERAL.finditer(text)
        if not text[max(match.start() - 2, 0) : match.start()].endswith(("^", "^{"))
    ]
    return matches[-1] if matches else None


def written(number: Fraction) -> str:
    """One text for equal numbers: a decimal where that is exact, else a fraction."""
    rest = number.denominator
    for factor in (2, 5):
        while rest % factor == 0:
            rest //= factor
    if rest != 1:
        return str(number)
    places = 0
    while number.denominator != 1:
        number, places = number * 10, places + 1
    digits = f"{abs(number.numerator):0{places + 1}d}"
    sign = "-" if number < 0 else ""
    return f"{sign}{digits[:-places]}.{digits[-places:]}" if places else f"{sign}{digits}"


def _plain(text: str) -> Fraction:
    return Fraction(text.replace(",", ""))
