"""Word problems with a number for an answer, as strict or as lenient as `mode` says.

strict: "The answer is 18." (the form of chain-of-thought prompts, arXiv 2201.11903)
hash: "#### 18" (the data's own form, arXiv 2110.14168)
flexible: the last number of the text
any: the first of hash, strict, a closed box and flexible that finds a number

Marks count where they stand first, as in lm-eval's gsm8k: what a model goes on to say is about
another question. Numbers are compared exactly: 18, 18.00, $18, 18 eggs and 36/2 are one.
"""

import re
from typing import Literal

from rlcotrain.grader.latex import boxed
from rlcotrain.grader.numerals import NUMERAL, last_numeral, read, value, written
from rlcotrain.grader.passage import graded_part
from rlcotrain.grader.single import Single, nothing, verdict
from rlcotrain.types import Grade

Mode = Literal["strict", "hash", "flexible", "any"]
# A unit may follow the number, and nothing that holds another: "The answer is 5 - 2 = 3." is lax.
SENTENCE = re.compile(
    rf"\b[Tt]he answer is[ ]?({NUMERAL.pattern})"
    r"(?:[ ][^0-9.\n]{1,40}|/?[a-zA-Z]{1,12})?(?=\.(?![0-9])|\s*$|\n)",
    re.ASCII,
)
# "#### 1. Add the apples" is a heading.
GROUPING = re.compile(r"(?<=[0-9])(?:,\\!|\{,\}|\\,)(?=[0-9]{3}(?![0-9]))")
HASH = re.compile(rf"####[ \t]*({NUMERAL.pattern})(?![.)][ \t]+\w)", re.ASCII)


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
        rule, found = self._find(graded_part(text))
        if found is None:
            return nothing(rule)
        said = value(found)
        if said is None:
            return nothing(rule, "unparsable", found[0][:100])
        return verdict(said == known, written(said), rule)

    def extract(self, text: str) -> str | None:
        """The number, in one form for equal ones; None where the text gives none."""
        found = self._find(graded_part(text))[1]
        said = None if found is None else value(found)
        return None if said is None else written(said)

    def _find(self, text: str) -> tuple[str, re.Match[str] | None]:
        """The rule that found the number, else the mode, and the number."""
        text = GROUPING.sub("", text)  # LaTeX's 1,\!000 and 1{,}000
        rules = ("hash", "strict", "boxed", "flexible") if self.mode == "any" else (self.mode,)
        for rule in rules:
            if (found := RULES[rule](text)) is not None:
                return rule, found
        return self.mode, None


def _marked(pattern: re.Pattern[str], text: str) -> re.Match[str] | None:
    """The number that a pattern holds where it first matches."""
    match = pattern.search(text)
    return None if match is None else NUMERAL.fullmatch(match[1])


def _boxed(text: str) -> re.Match[str] | None:
    boxes = boxed(text)
    return last_numeral(boxes[-1]) if boxes else None


RULES = {
    "hash": lambda text: _marked(HASH, text),
    "strict": lambda text: _marked(SENTENCE, text),
    "boxed": _boxed,
    "flexible": last_numeral,
}
