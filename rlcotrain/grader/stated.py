"""The answer a completion states in words: "The answer is 5.", "**Answer:** $x = 5$"."""

import re

PHRASE = re.compile(
    r"\banswer[*_]{0,2}[ ]?(?:is|:|=)(?:[ ]?(?:is|:|=))?[ ]?[*_]{0,2}[ ]?:?\s{0,3}"
    r"|^[ \t]{0,3}(?:#{1,6}[ ]|[*_]{2})[ ]{0,2}(?:Final )?Answer[*_:]{0,3}[ \t]{0,3}\n\s{0,3}",
    re.IGNORECASE | re.MULTILINE,
)
MATH = (("$$", "$$"), ("$", "$"), ("\\(", "\\)"), ("\\[", "\\]"))
NEXT = re.compile(r"\s{0,3}(?:,\s{0,3}(?:and|or)\b|,|and\b|or\b)\s{0,3}(?=\$|\\[(\[])")
SENTENCE = re.compile(r"[^\n]{0,400}?(?=[.!?]?(?:[*_]{1,2})?(?:\s*$|\n|[.!?][*_]{0,2}\s))")
# "The volume is 120": what an answer's sentence says of the thing that was asked for.
REFUSED = re.compile(r"(?<=[0-9)}$]),?[ ](?:and not|not|rather than|instead of)[ ].*$")
SUBJECT = re.compile(
    r"(?:(?:therefore|thus|so|hence|clearly|simply),?[ ])?"
    r"(?:(?:the|its?|his|her|their|there|this|that|s?he|they|we|an?|total|sum|number)\b"
    r"(?:(?!\b(?:not|never|no|isn't|than|or)\b)[a-zA-Z' ]){0,80}?"
    r"[ ](?:is|are|was|were|equals|has|have|costs?|gets?|be)[ ]{1,2}"
    r"(?:equal to |exactly |only )?)?(?:\*\*)?(?=[-+]?[0-9.$\\])",
    re.IGNORECASE,
)


def stated_answer(text: str) -> str | None:
    """What the last such phrase says: its formulas ("$2$ and $3$"), or the rest of its sentence."""
    phrases = list(PHRASE.finditer(text))
    if not phrases:
        return None
    end = phrases[-1].end()
    rest = text[end : end + 500]
    subject = SUBJECT.match(rest)
    rest = rest[subject.end() :] if subject else rest
    if rest.startswith(tuple(opened for opened, _ in MATH)):
        return ", ".join(_formulas(rest)) or None
    sentence = SENTENCE.match(rest)
    return REFUSED.sub("", sentence[0] if sentence else rest).strip(" *_\"'") or None


def _formulas(text: str) -> list[str]:
    """The formula that a text begins with, and those that a comma, and, or or puts beside it."""
    opened, closed = next(pair for pair in MATH if text.startswith(pair[0]))
    inside, found, rest = text[len(opened) :].partition(closed)
    if not found or not inside.strip():
        return []
    beside = NEXT.match(rest)
    return [inside.strip(), *(_formulas(rest[beside.end() :]) if beside is not None else [])]
