"""Whether the answer is the known number, however it is written.

Where the number is looked for: the last one in the last `<answer>...</answer>`, else the first one
after the last `####`, else the last one of the text; what was thought, and what follows a next
question, is not looked at. 1,000 and $1000.00 and 1e3 are one number; 50%
is 50; a fraction is no number (in 3/4 the last number is 4).
"""

import re
from decimal import MAX_EMAX, MIN_EMIN, Context, Decimal

from rlcotrain.grader.answer_tag import tagged_answer
from rlcotrain.grader.passage import first_answer
from rlcotrain.grader.single import Single
from rlcotrain.types import Grade, GradeStatus

# A minus after a digit, a letter or a bracket subtracts: 16-3 ends in 3, x = -3 in -3.
NUMBER = re.compile(
    r"(?:(?<![\w)\]])[+\-\u2212])?\$?"
    r"((?:[0-9]{1,3}(?:,[0-9]{3})+(?![0-9])|[0-9]+)(?:\.[0-9]+)?|(?<![0-9])\.[0-9]+)"
    r"([eE][+-]?[0-9]+)?%?",
    re.ASCII,
)
# Without traps an exponent out of range gives NaN or an infinity and never an exception.
QUIET = Context(prec=1000, Emax=MAX_EMAX, Emin=MIN_EMIN, traps=[])


class Number(Single):
    """Right within `tolerance`, an absolute difference; 0 asks for the same number exactly."""

    def __init__(self, *, tolerance: float) -> None:
        if not 0 <= tolerance < float("inf"):
            raise ValueError(f"grader.tolerance={tolerance} must be a number >= 0")
        self.tolerance = Decimal(str(tolerance))

    def grade_one(self, text: str, answer: str) -> Grade:
        """1 where the numbers agree, 0 elsewhere. ValueError where `answer` is no number."""
        known = read(answer.strip())
        if known is None:
            raise ValueError(f"known answer {answer!r:.60} is no number, as grader=number needs")
        rule, token = find(text)
        value = None if token is None else read(token)
        if value is None:
            unmarked = token is None and rule == "last_number"
            status: GradeStatus = "no_answer" if unmarked else "unparsable"
            return Grade(score=0.0, extracted=None, rule=rule, status=status)
        near = value == known or QUIET.abs(QUIET.subtract(value, known)) <= self.tolerance
        return Grade(score=float(near), extracted=canonical(value), rule=rule, status="ok")

    def extract(self, text: str) -> str | None:
        """The answer itself, None where the text gives none: what a majority votes on."""
        token = find(text)[1]
        value = None if token is None else read(token)
        return None if value is None else canonical(value)


def find(text: str) -> tuple[str, str | None]:
    """The rule that looked for the answer, and the number as written where it found one."""
    return first_answer(text, _find) or ("last_number", None)


def _find(text: str) -> tuple[str, str | None] | None:
    """The same of one passage; None where it has neither a mark nor a number."""
    tagged = tagged_answer(text)
    if tagged is not None:
        return "answer_tag", last(tagged)
    _, mark, after = text.rpartition("####")
    if mark:
        match = NUMBER.search(after)
        return "marker", None if match is None else match[0]
    number = last(text)
    return None if number is None else ("last_number", number)


def last(text: str) -> str | None:
    """The last number of a text, as written."""
    tokens = [match[0] for match in NUMBER.finditer(text)]
    return tokens[-1] if tokens else None


def read(text: str) -> Decimal | None:
    """A text that is one number and nothing else, as an exact decimal."""
    match = NUMBER.fullmatch(text)
    if match is None:
        return None
    sign = "-" if text[0] in "-\u2212" else ""
    value = Decimal(f"{sign}{match[1].replace(',', '')}{match[2] or ''}", QUIET)
    return value if value.is_finite() else None


def canonical(value: Decimal) -> str:
    """One text per number, so that 18, 18.0 and 1.8e1 are the same vote."""
    if not value:
        return "0"
    value = value.normalize(QUIET)
    # 1e999999 written out would fill a megabyte of the records.
    return f"{value:f}" if abs(value.adjusted()) < 50 else str(value)
