r"""Whether two answers are one, as far as their normal forms and values tell.

An answer of which a part cannot be read is like no other: computer algebra would leave that part
out and compare the rest.
"""

import re
from collections.abc import Iterable

from rlcotrain.grader.closed_form import based, is_constant, number, readings, same
from rlcotrain.grader.latex import Form
from rlcotrain.grader.named import split
from rlcotrain.grader.units import clash

# What computer algebra would pass over, or read as something else.
UNREADABLE = re.compile(
    r"!!|^\\angle ?[A-Z]{3}$"
    r"|[0-9.] +[0-9.]|\.[0-9]*\.|[0-9]\\?_|['?;@#\"]|\\(?:ldots|text|dot|overline)|[^\x00-\x7f]"
)
BRACKETS = (("(", ")"), ("(", "]"), ("[", ")"), ("[", "]"), ("\\{", "\\}"))


def equal(known: Form, said: Form) -> bool | None:
    """True or False where that is certain; None where computer algebra has to say."""
    if known == said and known.text:
        return True
    if _names_clash(known.name, said.name) or clash(known.unit, said.unit):
        return False
    if known.words or said.words:
        return known.text == said.text
    if not said.percent and _contradicts(said.text):
        return False
    if {"am", "pm"} & {known.unit, said.unit}:
        return known.text.removesuffix(":00") == said.text.removesuffix(":00")
    other = said.text
    if "," in known.name and not said.name and "(" not in other:
        other = f"({other})"  # x=1,y=2 and 1,2
    if said.short and not known.short and number(known.text) is not None:
        other = said.short
    if known.percent is said.percent:
        return _equal(known.text, other)
    return _any(
        _equal(one, two)
        for one in readings(known.text, known.percent)
        for two in readings(other, said.percent)
    )


def _names_clash(one: str, other: str) -> bool:
    return bool(one and other) and ("(" in one) is ("(" in other) and one != other


def _contradicts(text: str) -> bool:
    """Whether it is an equation of two different numbers: 3=2."""
    first, *others = text.split("=")
    return any(is_constant(first) and is_constant(x) and same(first, x) is False for x in others)


def _equal(one: str, other: str) -> bool | None:
    """Of two normal forms, which may stand for several values each: 12_5 for 12 and 7."""
    if one == other:
        return bool(one)
    first, second = based(one), based(other)
    if first is not None and second is not None:
        return first == second and first.value is not None
    if any(number is not None and number.value is None for number in (first, second)):
        return False
    return _any(_compared(a, b) for a in readings(one, False) for b in readings(other, False))


def _compared(one: str, other: str) -> bool | None:
    if one == other:
        return True
    if UNREADABLE.search(one) or UNREADABLE.search(other):
        return False
    (kind, some), (kind_2, others) = _elements(one), _elements(other)
    if len(some) == len(others) == 1 and kind == kind_2 == "":
        return same(one, other)
    if kind in ("", "\\{\\}") and kind_2 in ("", "\\{\\}"):
        there = [_any(_equal(a, b) for b in others) for a in some]
        back = [_any(_equal(a, b) for a in some) for b in others]
        return _all(there + back)
    if _listed(kind, some, kind_2) or _listed(kind_2, others, kind):
        return False
    if kind == "\\{\\}" and len(some) == 1 and _elements(some[0])[0]:
        return _equal(some[0], other)
    if kind_2 == "\\{\\}" and len(others) == 1 and _elements(others[0])[0]:
        return _equal(one, others[0])
    if "" in (kind, kind_2) or "\\{\\}" in (kind, kind_2):
        return False if _scalar(one, kind) or _scalar(other, kind_2) else None
    if kind != kind_2 or len(some) != len(others):
        return False
    return _all([_equal(a, b) for a, b in zip(some, others, strict=True)])


def _listed(kind: str, elements: list[str], other: str) -> bool:
    """Whether it is a set of several numbers, and the other a tuple or an interval."""
    return (
        kind == "\\{\\}"
        and other not in ("", kind)
        and len(elements) > 1
        and not any(bracket in element for element in elements for bracket in "([{")
    )


def _scalar(text: str, kind: str) -> bool:
    return kind == "" and same(text, text) is True


def _elements(text: str) -> tuple[str, list[str]]:
    r"""The brackets of a tuple, an interval or a set ("" for none), and what stands in them.

    (2) is a number in brackets, 2,3 a set without; \pm2 is 2,-2.
    """
    for opened, closed in BRACKETS:
        if text.startswith(opened) and text.endswith(closed) and _encloses(text):
            inner = split(text[len(opened) : -len(closed)])
            if len(inner) > 1 or opened == "\\{":
                return opened + closed, inner
    parts = split(text)
    return "", [sign for part in parts for sign in _signs(part)]


def _signs(text: str) -> list[str]:
    if text.count("\\pm") != 1:
        return [text]
    before, _, after = text.partition("\\pm")
    return [f"{before}{sign}{after.lstrip()}" for sign in "+-"]


def _encloses(text: str) -> bool:
    """Whether the bracket that opens a text closes at its end: (1,2) does, (1,2)(3,4) does not."""
    depth = 0
    for at, character in enumerate(text):
        depth += (character in "([{") - (character in ")]}")
        if depth == 0 and character in ")]}":
            return at == len(text) - 1
    return False


def _any(found: Iterable[bool | None]) -> bool | None:
    results = list(found)
    return True if True in results else None if None in results else False


def _all(results: list[bool | None]) -> bool | None:
    return False if False in results else None if None in results else True
