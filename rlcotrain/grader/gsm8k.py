"""Word problems with a number for an answer, as strict or as lenient as `mode` says.

strict: "The answer is 18." (the form of chain-of-thought prompts, arXiv 2201.11903)
hash: "#### 18" (the data's own form, arXiv 2110.14168)
flexible: the last number of the text
any: the first of hash, strict, a closed box and flexible that finds a number

Marks count where they stand first, as in lm-eval's gsm8k: what a model goes on to say is about
another question. Numbers are compared exactly: 18, 18.00, $18, 18 eggs and 36/2 are one.
"""

import re
from collections.abc import Callable
from fractions import Fraction
from functools import partial
from typing import Literal

from rlcotrain.grader.calculator import bits
from rlcotrain.grader.closed_form import readings, worth
from rlcotrain.grader.latex import boxed
from rlcotrain.grader.latex import read as read_latex
from rlcotrain.grader.numerals import NUMERAL, last_numeral, read, value, written
from rlcotrain.grader.passage import first_answer
from rlcotrain.grader.single import Single, nothing, verdict
from rlcotrain.grader.symbols import digits
from rlcotrain.grader.units import WRAPPED
from rlcotrain.types import Grade

Mode = Literal["strict", "hash", "flexible", "any"]
# A unit may follow the number, and nothing that holds another: "The answer is 5 - 2 = 3." is lax.
SENTENCE = re.compile(
    rf"\b[Tt]he answer is[ ]?({NUMERAL.pattern})"
    r"(?:[ ][^0-9.\n]{1,40}|/?[a-zA-Z]{1,12})?(?=\.(?![0-9])|\s*$|\n)",
    re.ASCII,
)
GROUPING = re.compile(r"(?<=[0-9])(?:,\\!|\{,\}|\\,)(?=[0-9]{3}(?![0-9]))")
# Thousands with spaces between them, where a mark says that a number comes: #### 1 500.
SPACED = re.compile(r"((?:####|[Tt]he answer is)[ \t]*\$?)([0-9]{1,3}(?: [0-9]{3}){1,9})(?![0-9])")
HASH = re.compile(rf"####[ \t]*({NUMERAL.pattern})", re.ASCII)
# What shows that the number of a mark is the first of a sum: #### 18 - 2 = 16.
WORKED = re.compile(r"[ \t]*(?:[-+*/=\u2212\u00d7\u00f7]|\\times|\\cdot|\\div)[ \t]*\\?\$?\(?[0-9]")
LISTED = re.compile(r"[.)][ \t]+\w")
FUNCTION = re.compile(r"\\(?:sqrt|pi|log|ln|exp|sin|cos|tan)(?![a-zA-Z])")
POWER = re.compile(r"(?<=[a-zA-Z])\^\{?[0-9]\}?")  # of a unit: cm^2
# In a box: more than a number and what is counted.
MORE = re.compile(
    r"[0-9].*[0-9]|[<>_^+]|\\(?:[dt]?frac|pm|neq?|leq?|geq?|lt|gt)(?![a-zA-Z])"
    r"|\b(?:not|or (?:more|less|fewer)|at (?:least|most)|(?:more|less|fewer) than|half)\b",
    re.DOTALL,
)
WIDEST = 1000  # bits of the two parts of a number in a box
Found = tuple[str, Fraction | None]  # a number as it is written, and what it is worth


class Gsm8k(Single):
    """1 for the known number, 0 elsewhere; see the module for the modes."""

    def __init__(self, *, mode: Mode) -> None:
        self.mode = mode

    def grade_one(self, text: str, answer: str) -> Grade:
        """ValueError where `answer` is no number, alone or after `#### `."""
        known = read(answer.rpartition("####")[2])
        if known is None:
            raise ValueError(
                f"known answer {answer!r:.60} is no number, as grader=gsm8k needs, alone or after "
                "'#### '"
            )
        rule, found = self._find(text)
        if found is None:
            return nothing(rule)
        said = found[1]
        if said is None:
            return nothing(rule, "unparsable", found[0][:100])
        return verdict(said == known, written(said), rule)

    def extract(self, text: str) -> str | None:
        """The number, in one form for equal ones; None where the text gives none."""
        found = self._find(text)[1]
        return None if found is None or found[1] is None else written(found[1])

    def _find(self, text: str) -> tuple[str, Found | None]:
        """The rule that found the number, else the mode, and the number."""
        # LaTeX's 1,\!000 and 1{,}000, and 1 000.
        text = SPACED.sub(_joined, GROUPING.sub("", digits(text)))
        for rules in RULES[self.mode]:
            if (found := first_answer(text, partial(_first, rules))) is not None:
                return found
        return self.mode, None


Rules = dict[str, Callable[[str], Found | None]]


def _first(rules: Rules, text: str) -> tuple[str, Found] | None:
    """The first rule that finds a number in a passage, and the number."""
    answers = ((name, rule(text)) for name, rule in rules.items())
    return next(((name, found) for name, found in answers if found is not None), None)


def _joined(match: re.Match[str]) -> str:
    return match[1] + match[2].replace(" ", "")


def _stated(text: str) -> Found | None:
    match = SENTENCE.search(text)
    return None if match is None else _numeral(NUMERAL.fullmatch(match[1]))


def _numeral(match: re.Match[str] | None) -> Found | None:
    return None if match is None else (match[0], value(match))


def _hashed(text: str) -> Found | None:
    """The number of the first mark that is no heading: "#### 1. Add the apples" counts from 1 on.

    "#### 18. That is it." is no heading, as nothing counts up to it.
    """
    headings = list[re.Match[str]]()
    for match in HASH.finditer(text):
        listed = LISTED.match(text, match.end()) is not None
        found = _numeral(NUMERAL.fullmatch(match[1]))
        if not listed or found is None or found[1] != len(headings) + 1:
            return _worked(text, match) if WORKED.match(text, match.end()) else found
        headings.append(match)
    if len(headings) == 1 and NUMERAL.search(text, headings[0].end()) is None:
        return _numeral(NUMERAL.fullmatch(headings[0][1]))
    return None


def _worked(text: str, match: re.Match[str]) -> Found:
    """What a sum at a mark comes to, if it says so."""
    line = text[match.end() :].partition("\n")[0]
    _, said, last = line.rpartition("=")
    result = NUMERAL.match(last.lstrip()) if said else None
    return _numeral(result) or (f"{match[1]}{line}", None)


def _boxed(text: str) -> Found | None:
    boxes = boxed(text)
    if not boxes:
        return None
    form = read_latex(boxes[-1]).text if len(boxes[-1]) <= 200 else ""
    found = worth(readings(form, percentage=False)[0]) if ":" not in form else None
    if found is not None and isinstance(found.value, Fraction):
        return form, found.value if bits(found.value) <= WIDEST else None
    plain = POWER.sub("", WRAPPED.sub(r" \1 ", boxes[-1])).rpartition("=")[2]
    more = MORE.search(NUMERAL.sub("0", plain))
    return (form, None) if more or FUNCTION.search(form) else _numeral(last_numeral(boxes[-1]))


def _last(text: str) -> Found | None:
    return _numeral(last_numeral(text))


# What is looked for in all passages before the next.
RULES: dict[Mode, tuple[Rules, ...]] = {
    "strict": ({"strict": _stated},),
    "hash": ({"hash": _hashed},),
    "flexible": ({"flexible": _last},),
    "any": ({"hash": _hashed, "strict": _stated, "boxed": _boxed}, {"flexible": _last}),
}
