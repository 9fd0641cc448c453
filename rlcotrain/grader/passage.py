"""Which part of a completion is graded: the answer to the question that was asked."""

import re

# A base model goes on with a question of its own, and answers that one as well.
NEXT_QUESTION = re.compile(
    r"^[ \t>*#]*"
    r"(?:\[(?:Question|Problem)\]|(?:(?:Next |New )?(?:Question|Problem)|Q|Exercise)[ ]?[0-9]{0,4}"
    r"[*]{0,2}:|(?:Question|Problem|Exercise)[ ]?[0-9]{1,4}[*]{0,2}[ \t]*$"
    r"|(?:Human|User)[*]{0,2}:)",
    re.MULTILINE,
)


def graded_part(text: str) -> str:
    """The text after the last `</think>`, up to where it begins a next question.

    A thought that never closed holds no answer: the length limit cut it. A question that opens the
    text is the one that was asked, said again.
    """
    text = text.rpartition("</think>")[2].partition("<think>")[0]
    opened = False
    for match in NEXT_QUESTION.finditer(text):
        opened = opened or bool(text[: match.start()].strip())
        if opened:
            return text[: match.start()]
        opened = True
    return text
