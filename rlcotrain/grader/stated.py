"""The answer a completion states in words: "The answer is 5.", "**Answer:** $x = 5$"."""

import re

PHRASE = re.compile(
    r"\banswer[*_]{0,2}[ ]?(?:is|:|=)(?:[ ]?(?:is|:|=))?[ ]?[*_]{0,2}[ ]?:?\s{0,3}",
    re.IGNORECASE,
)
MATH = (("$$", "$$"), ("$", "$"), ("\\(", "\\)"), ("\\[", "\\]"))
SENTENCE = re.compile(r"[^\n]{0,400}?(?=[.!?]?(?:[*_]{1,2})?(?:\s*$|\n|[.!?][*_]{0,2}\s))")


def stated_answer(text: str) -> str | None:
    """What the last such phrase says: its mathematics, or the rest of its sentence."""
    phrases = list(PHRASE.finditer(text))
    if not phrases:
        return None
    end = phrases[-1].end()
    rest = text[end : end + 500]
    for opened, closed in MATH:
        if rest.startswith(opened):
            inside, found, _ = rest[len(opened) :].partition(closed)
            return inside.strip() or None if found else None
    sentence = SENTENCE.match(rest)
    return (sentence[0] if sentence else rest).strip(" *_\"'") or None
