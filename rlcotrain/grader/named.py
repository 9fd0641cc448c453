r"""Names of what an answer equals, and ranges of what it lies in: x=5, x=1,y=2, 1<x<3."""

import re

from rlcotrain.grader.closed_form import as_fraction, is_constant

VARIABLE = r"(?:[a-zA-Z]|\\(?:alpha|beta|gamma|delta|theta|lambda|mu|phi))"
NAMED = re.compile(
    rf"({VARIABLE}(?:_\{{?[0-9a-zA-Z]+\}}?|\([a-zA-Z]\))?|[a-zA-Z]{{2,}}"
    rf"|\({VARIABLE}(?:,{VARIABLE})+\))"
    r"(?:=|\\in(?![a-zA-Z]) ?)([^=<>]+)"
)
FLIPPED = re.compile(rf"([^=<>,]+)=({VARIABLE})")
BOUND = re.compile(
    rf"({VARIABLE})(<|>|\\le|\\ge) ?([^=<>]+)|([^=<>]+?)(<|>|\\le|\\ge) ?({VARIABLE})"
)
BETWEEN = re.compile(rf"([^=<>]+?)(<|>|\\le|\\ge) ?({VARIABLE})(<|>|\\le|\\ge) ?([^=<>]+)")
BUILT = re.compile(rf"\\\{{{VARIABLE}(?:\\in ?\\mathbb\{{R\}})?(?:\\mid|:|\|) ?(.*)\\\}}")


def named(text: str) -> tuple[str, str]:
    """The name of what an answer equals, and the answer: x=5, x=1,y=2, 1<x<3."""
    if (flipped := FLIPPED.fullmatch(text)) is not None:
        text = f"{flipped[2]}={flipped[1]}" if is_constant(flipped[1]) else text
    parts = [NAMED.fullmatch(part) for part in split(text)]
    if len(parts) > 1 and all(parts):
        pairs = [(part[1], as_fraction(part[2])) for part in parts if part is not None]
        names = [name for name, _ in pairs]
        if len(set(names)) == 1:
            return _name(names[0]), ",".join(value for _, value in pairs)
        if len(set(names)) == len(names):
            pairs.sort()
            return ",".join(name for name, _ in pairs), f"({','.join(v for _, v in pairs)})"
    if (named := NAMED.fullmatch(text)) is not None:
        return _name(named[1]), as_fraction(named[2])
    return _interval(text)


def _name(written: str) -> str:
    """A name that tells variables apart: a longer word says what was asked for."""
    written = written.strip("()") if "," in written else written
    return "" if written.isalpha() and len(written) > 2 else written


def _interval(text: str) -> tuple[str, str]:
    r"""1<x<3 as (1,3), x\ge2 as [2,\infty), \{x|x<2\} as (-\infty,2), if the bounds are numbers."""
    if (built := BUILT.fullmatch(text)) is not None and _interval(built[1])[0]:
        return _interval(built[1])
    if (between := BETWEEN.fullmatch(text)) is not None:
        low, left, name, right, high = between.groups()
        if (left in "<\\le") == (right in "<\\le") and is_constant(low) and is_constant(high):
            if left not in "<\\le":
                low, left, right, high = high, right, left, low
            opened, closed = "[("[left in "<>"], "])"[right in "<>"]
            return name, f"{opened}{as_fraction(low)},{as_fraction(high)}{closed}"
    elif (bound := BOUND.fullmatch(text)) is not None:
        name, sign, end = bound[1] or bound[6], bound[2] or bound[5], bound[3] or bound[4]
        if is_constant(end):
            above = (sign in "<\\le") == (bound[1] is None)
            strict, end = sign in "<>", as_fraction(end)
            if above:
                return name, f"{'[('[strict]}{end},\\infty)"
            return name, f"(-\\infty,{end}{'])'[strict]}"
    return "", as_fraction(text)


def split(text: str) -> list[str]:
    """The parts between the commas that stand in no brackets."""
    parts, depth, start = list[str](), 0, 0
    for at, character in enumerate(text):
        depth += (character in "([{") - (character in ")]}")
        if character == "," and depth == 0:
            parts.append(text[start:at])
            start = at + 1
    return [*parts, text[start:]]
