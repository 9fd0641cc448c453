"""What a judgement must look like, read strictly.

    <step>... right</step><step>... wrong</step><verdict>wrong</verdict>

One block a step of the solution, each ending in its mark, then one verdict and nothing after it.
The verdict follows from the marks: right where every step is marked right, else wrong.
"""

import re
from typing import NamedTuple

from rlcotrain.types import Stop, Verdict, VerdictStatus

MARKS = {"right": 1.0, "wrong": 0.0}
TAGS = ("<step>", "</step>", "<verdict>", "</verdict>")
TAG = re.compile("|".join(TAGS))


class Blocks(NamedTuple):
    """A judgement taken apart: contents of its step and verdict blocks, and the words between."""

    steps: list[str]
    verdicts: list[str]
    between: str  # outside all blocks, before the last of them ends
    after: str


def read(text: str, stop: Stop, count: int | None, finished: bool = True) -> Verdict:
    """The verdict of a judgement on a solution of `count` steps; None: its marks are not read.

    status missing: cut at the length limit, or no verdict; unparsable: a second verdict, words
    after it, tags that do not pair, a block without a mark; misaligned: another number of blocks
    than steps; contradictory: the verdict does not follow from the marks. Only with status ok or
    contradictory are there a score and marks; `extracted` is the final verdict wherever that one
    can be read. finished: whether the solution came to its end; one that was cut off may be wrong
    although every step that it has is right.
    """
    if stop == "length":
        return Verdict(score=None, status="missing")
    found = _take_apart(text)
    if found is None:
        return Verdict(score=None, status="unparsable")
    if not found.verdicts:
        return Verdict(score=None, status="missing")
    said = found.verdicts[0].strip()
    if len(found.verdicts) > 1 or said not in MARKS or found.after.strip():
        return Verdict(score=None, status="unparsable")
    if count is None:
        return Verdict(score=MARKS[said], extracted=said)
    marks = [_mark(step) for step in found.steps]
    clean = tuple(mark for mark in marks if mark is not None)
    if len(clean) < len(marks):
        return Verdict(score=None, status="unparsable", extracted=said)
    if len(marks) != count:
        return Verdict(score=None, status="misaligned", extracted=said)
    follows = MARKS[said] == min(clean, default=MARKS[said]) or (said == "wrong" and not finished)
    status: VerdictStatus = "ok" if follows else "contradictory"
    return Verdict(score=MARKS[said], steps=clean, status=status, extracted=said)


def format_score(text: str, verdict: Verdict, count: int | None) -> float:
    """How well-formed a judgement is, by degrees, in 0..1: verifier_format_reward of
    kaiwenzha/rl-tango, with the tags and marks of this module.

    0 unless it ends in one verdict block, is not cut, and its tags pair; else 1, less 0.8 for a
    verdict that ends in no mark, 0.8 without a step block or for a number of blocks that end in a
    mark other than `count`, 0.4 for words outside the blocks; not less than 0. With `count` None
    blocks are not asked for.
    """
    found = _take_apart(text)
    if verdict.status == "missing" or found is None:
        return 0.0
    if len(found.verdicts) != 1 or found.after.strip():
        return 0.0
    unmarked = _mark(found.verdicts[0]) is None
    marked = sum(_mark(step) is not None for step in found.steps)
    wrong = count is not None and (not found.steps or marked != count)
    return max(1.0 - 0.8 * unmarked - 0.8 * wrong - 0.4 * bool(found.between.strip()), 0.0)


def _take_apart(text: str) -> Blocks | None:
    """None where tags do not pair or stand inside others, or a step follows a verdict.

    In linear time, whatever the text: a model may write thousands of tags.
    """
    contents: dict[str, list[str]] = {"step": [], "verdict": []}
    between: list[str] = []
    opened, start = None, 0
    for tag in TAG.finditer(text):
        name, words = tag[0].strip("</>"), text[start : tag.start()]
        if tag[0].startswith("</"):
            if opened != name:
                return None
            contents[name].append(words)
            opened = None
        else:
            # A step after the verdict would be judged too late.
            if opened is not None or (name == "step" and contents["verdict"]):
                return None
            between.append(words)
            opened = name
        start = tag.end()
    if opened is not None:
        return None
    return Blocks(contents["step"], contents["verdict"], "".join(between), text[start:])


def _mark(step: str) -> float | None:
    """The mark a block ends in, as a word of its own: `5right` is one, `upright` is none."""
    words = step.rstrip()
    for mark, value in MARKS.items():
        if words.endswith(mark) and not words.removesuffix(mark)[-1:].isalpha():
            return value
    return None
