"""Which part of a completion is graded: the answer to the question that was asked."""

import re
from collections.abc import Callable
from typing import TypeVar

Answer = TypeVar("Answer")
# A base model goes on with a question of its own, and answers that one as well.
NEXT_QUESTION = re.compile(
    r"^[ \t>*#]*"
    r"(?:\[(?:Question|Problem)\]|(?:(?:Next |New )?(?:Question|Problem)|Q|Exercise)[ ]?[0-9]{0,4}"
    r"[*]{0,2}:|(?:Question|Problem|Exercise)[ ]?[0-9]{1,4}[*]{0,2}[ \t]*$"
    r"|(?:Human|User)[*]{0,2}:)",
    re.MULTILINE,
)


def passages(text: str) -> list[str]:
    """What comes after the last `</think>`, divided where a line opens a question; at least one.

    A thought that never closed holds no answer: the length limit cut it. A question that opens the
    text is the one that was asked, said again.
    """
    text = text.rpartition("</think>")[2].partition("<think>")[0]
    found, start = list[str](), 0
    for match in NEXT_QUESTION.finditer(text):
        if found or text[start : match.start()].strip():
            found.append(text[start : match.start()])
        start = match.end()
    return [*found, text[start:]]


def first_answer(text: str, find: Callable[[str], Answer | None]) -> Answer | None:
    """What `find` finds in the first passage that holds something for it; None: in none.

    A question before any answer is a heading of the solution's own, one after it a next question.
    """
    return next((found for part in passages(text) if (found := find(part))), None)
