r"""Words behind a number: units and counted things, which an answer may leave out, and others."""

import re
from typing import NamedTuple

WRAPPER = r"\\(?:text(?:bf|it|rm|tt|sf|sl|up|normal)?|mbox|math(?:rm|bf|it)|operatorname)\s*"
WRAPPED = re.compile(rf"{WRAPPER}\{{([^{{}}]*)\}}")
NUMBERED = re.compile(rf"{WRAPPER}\{{([^{{}}0-9]*[0-9][^{{}}]*)\}}")  # \text{1 hour}
ROMAN = re.compile(r"\{\\rm\s+([^{}]*)\}|\\rm\s*\{([^{}]*)\}")
RATIO = re.compile(
    rf"\\[dt]?frac\s*\{{\s*{WRAPPER}\{{([^{{}}]*)\}}\s*\}}\s*\{{\s*{WRAPPER}\{{([^{{}}]*)\}}\s*\}}"
)
# Everything from a number, a bracket or \pi to the end that holds no other number.
TAIL = re.compile(
    rf"(?:(?<=[0-9}})\]!%$])|(?<=\\pi)|(?<=[0-9][.]))(?P<gap>\s*)"
    rf"(?P<words>(?=[a-zA-Z\\(])(?:{WRAPPER}\{{[^{{}}0-9]*\}}|[a-zA-Z.\s/()'-]|\\cdot(?![a-zA-Z])"
    r"|(?<=[a-zA-Z}])\^\{?-?[1-4]\}?)+)$"
)
TOKEN = re.compile(r"[a-zA-Z]+|\^\{?-?[1-4]\}?|/")
SCALES = {
    **{"dozen": "12", "hundred": "100", "thousand": "1000"},
    **{"million": "10^{6}", "billion": "10^{9}", "trillion": "10^{12}"},
}
# Words that say more than what is counted: 3 squared, 3 is wrong, 3 or more, 3 halves.
_MEANINGFUL = """
is are was were be isn aren not no non never none nor wrong incorrect false true only or and but
if then than when where which that least most between to from plus minus over divided by
multiplied half halves third thirds quarter quarters fourth fourths fifth fifths sixth sixths
seventh sevenths eighth eighths ninth ninths tenth tenths hundredth hundredths thousandth
thousandths squared cubed root power exponent factorial mod modulo choose negative positive below
above pi infinity infty sin cos tan cot csc log ln exp gcd lcm sqrt zero one two three four five
six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen
nineteen twenty thirty forty fifty sixty seventy eighty ninety hundred thousand million billion
trillion dozen percent base twice double triple approximately roughly maybe perhaps possibly
unknown undefined ones tens permil permille
"""
MEANINGFUL = frozenset(_MEANINGFUL.split())
_NAMES = {
    **{"mm": "mm millimeter millimetre", "cm": "cm centimeter centimetre", "km": "km kilometer"},
    **{"m": "meter metre", "in": "in inch inche inches", "ft": "ft foot feet", "yd": "yd yard"},
    **{"mi": "mi mile", "g": "gram", "kg": "kg kilogram kilo", "mg": "mg milligram"},
    **{"lb": "lb pound", "oz": "oz ounce", "ton": "ton tonne", "l": "liter litre", "ml": "ml"},
    **{"gal": "gal gallon", "s": "sec second", "min": "min minute", "h": "hr hour", "day": "day"},
    **{"week": "week", "month": "month", "year": "yr year", "ms": "ms millisecond"},
    **{"cent": "cent", "dollar": "dollar usd buck", "euro": "euro", "am": "am", "pm": "pm"},
    **{"deg": "deg degree", "rad": "rad radian", "mi h": "mph", "km h": "kph kmh", "hz": "hz"},
    **{"kw": "kw", "mw": "mw", "kj": "kj", "pa": "pa", "kpa": "kpa", "ev": "ev", "mol": "mol"},
}
VOWEL = re.compile("[aeiouy]")
KNOWN = {name: unit for unit, names in _NAMES.items() for name in names.split()}
LETTERS = {"m": "m", "g": "g", "s": "s", "h": "h", "L": "l", "l": "l"} | {x: x for x in "JNWVCFKA"}

POWERS = {"2": "^2", "square": "^2", "sq": "^2", "3": "^3", "cubic": "^3", "cu": "^3", "4": "^4"}


class Counted(NamedTuple):
    """What stands before the words; what they scale it by ("" for nothing); their known unit."""

    text: str
    scale: str
    unit: str


def counted(text: str) -> Counted:
    r"""A text without the unit or the things counted at its end: 3\text{ boxes}, 7 km/h.

    Words that mean more stay. A letter alone is a unit in a text mark only: 3\text{ m}, not 3m.
    """
    text = NUMBERED.sub(r"\1", RATIO.sub(r"\\text{\1/\2}", ROMAN.sub(r"\\text{\1\2}", text)))
    tail = TAIL.search(text)
    if tail is None:
        return Counted(text, "", "")
    wrapped, before = WRAPPED.search(tail["words"]) is not None, text[: tail.start()]
    plain = re.sub(r"(?<![a-zA-Z])([ap])\.\s?m\b\.?", r"\1m", WRAPPED.sub(r" \1 ", tail["words"]))
    plain = plain.replace("\\cdot", " ")
    words = TOKEN.findall(plain)
    if re.sub(r"per[ ]+cent\b", "percent", plain.lower()).strip(" .") == "percent":
        return Counted(before, "%", "")
    if not words:
        return Counted(text, "", "")
    scale = SCALES.get(_singular(words[0].lower()), "")
    units = words[1:] if scale else words
    # Without a gap or a mark it is a product of letters, unless all of them are units: 7cm.
    spaced = bool(tail["gap"]) and before[-1:].isdigit()
    wrapped |= "/" in words  # m/s
    if not all(_is_unit(word, wrapped, spaced) for word in units):
        return Counted(text, "", "")
    return Counted(before, scale, " ".join(filter(None, map(_canonical, units))))


def clash(one: str, other: str) -> bool:
    """Whether two units, as `counted` gives them, are known ones that differ: cm and m.

    One may say less than the other: dollars, and dollars per pound.
    """
    some, others = set(one.split()), set(other.split())
    return not (some <= others or others <= some)


def compound(text: str) -> str:
    r"""Several numbers with known units, 6\text{ ft }2\text{ in}, in one form; else "" ."""
    plain = WRAPPED.sub(r" \1 ", text)
    parts = re.findall(r"([0-9]+(?:\.[0-9]+)?)\s*([a-zA-Z]+)\.?(?:[\s,]*(?:and\b)?\s*)", plain)
    rest = re.sub(r"[0-9]+(?:\.[0-9]+)?\s*[a-zA-Z]+\.?(?:[\s,]*(?:and\b)?\s*)", "", plain)
    units = [KNOWN.get(_singular(unit.lower())) or LETTERS.get(unit) for _, unit in parts]
    if len(parts) < 2 or rest.strip() or None in units:
        return ""
    return "".join(f"{number}{unit}" for (number, _), unit in zip(parts, units, strict=True))


def _is_unit(word: str, wrapped: bool, spaced: bool) -> bool:
    if not word[0].isalpha():
        return True
    if len(word) == 1:
        return wrapped and word in LETTERS
    lower = word.lower()
    if lower in MEANINGFUL:
        return False
    if _singular(lower) in KNOWN or lower in ("square", "cubic", "per", "sq", "cu", "of", "units"):
        return True
    return len(word) > 2 and (wrapped or (spaced and VOWEL.search(lower) is not None))


def _singular(word: str) -> str:
    return word if word in KNOWN or not word.endswith("s") else word[:-1]


def _canonical(word: str) -> str:
    """One word for a known unit, and for a power but the first: square, ^2, ^{-2}."""
    if word.startswith("^"):
        return POWERS.get(word.strip("^{}-"), "")
    lower = word.lower()
    return POWERS.get(lower) or KNOWN.get(_singular(lower)) or LETTERS.get(word, "")
