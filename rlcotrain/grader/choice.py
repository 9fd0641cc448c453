"""Multiple choice: which letter the completion settles on."""

import re
from collections.abc import Iterator

from rlcotrain.grader.latex import normal
from rlcotrain.grader.marked import marked_answers
from rlcotrain.grader.passage import first_answer
from rlcotrain.grader.single import Single, nothing, verdict
from rlcotrain.types import Grade

OPTION_IS = re.compile(r"\b(?:option|choice)[ ]?(?:is[ ]?:?|:)[\s*_]{0,5}", re.IGNORECASE)
# What follows the letter where it is none of an article's words: "A triangle".
CONNECTED = re.compile(r"\s+(?:because|since|as|is|for|which|with|and|or)\b", re.IGNORECASE)
NOT = re.compile(
    r"(?:\b(?:not|neither|nor|than|except|cannot)|n't)(?:\s+be)?\s*[*]{0,2}$", re.IGNORECASE
)


class Choice(Single):
    """`letters` are the options there are.

    Looked for in the last closed box, in `<answer>`, in what is said to be the answer, the option
    or correct, in a last line that holds nothing else, and in the last brackets: (B). What names
    two of them settles on none, and a or A before a word is an article.
    """

    def __init__(self, *, letters: str) -> None:
        if not letters.isalpha() or len(set(letters.upper())) != len(letters):
            raise ValueError(f"grader.letters={letters!r}: must be letters, each once, as in ABCD")
        self.letters = letters.upper()
        one = f"[{self.letters}]"
        self._alone = re.compile(rf"[\s*(\[]*({one})[\s*)\].]*", re.IGNORECASE)
        # In words the letter stands first, and alone: "B", "(B)", "B) 12 cm", not "Because".
        self._leading = re.compile(
            rf"(?:(?:option|choice|letter)\s)?(?:\\(?:text|math)[a-z]{{0,2}}\{{)?[\s*(\[]*({one})"
            r"(?![a-zA-Z0-9'^_+=])",
            re.IGNORECASE,
        )
        self._bracketed = re.compile(rf"\(({one})\)")
        joined = r"(?:(?:,\s?)?(?:and|or)\b(?:\s(?:maybe|perhaps|possibly))?|,|;|/|\\?&|\+)"
        self._beside = re.compile(
            rf"[\s*)\]]{{0,9}}{joined}[\s*(\[]*{one}(?![a-zA-Z'])|\)\s?\({one}\)"
        )
        self._before = re.compile(rf"{one}[\s*)\]]{{0,9}}{joined}\s*$|\({one}\)\s?$")
        self._correct = re.compile(
            rf"(?<![a-zA-Z'])({one})[)\]*]{{0,3}} is (?:the )?(?:correct|right|answer)\b"
        )

    def grade_one(self, text: str, answer: str) -> Grade:
        """ValueError where `answer` is none of the letters."""
        known = self._alone.fullmatch(normal(answer))
        if known is None:
            raise ValueError(
                f"known answer {answer!r:.60} is none of grader.letters={self.letters}"
            )
        rule, found = first_answer(text, self._find) or ("brackets", None)
        return nothing(rule) if found is None else verdict(found == known[1].upper(), found, rule)

    def extract(self, text: str) -> str | None:
        """The letter; None where the text settles on none."""
        return (first_answer(text, self._find) or ("", None))[1]

    def _find(self, text: str) -> tuple[str, str | None] | None:
        """The rule and its letter, None for several; None where no rule finds any."""
        for rule, said in self._said(text):
            if (match := self._leading.match(said)) is not None and _is_letter(match):
                return rule, None if self._beside.match(said, match.end()) else match[1].upper()
        last = text.strip().rpartition("\n")[2]
        if (match := self._alone.fullmatch(last[:100])) is not None:
            return "last_line", match[1].upper()
        settled = [
            match
            for match in self._bracketed.finditer(text)
            if NOT.search(text[max(match.start() - 20, 0) : match.start()]) is None
        ]
        if not settled:
            return None
        start = settled[-1].start()
        several = self._before.search(text[max(start - 20, 0) : start])
        return "brackets", None if several else settled[-1][1]

    def _said(self, text: str) -> Iterator[tuple[str, str]]:
        """Rules, and the words that should open with the letter."""
        yield from marked_answers(text)
        ends = [match.end() for match in OPTION_IS.finditer(text)]
        if ends:
            yield "stated", text[ends[-1] : ends[-1] + 200]
        correct = [
            match[1]
            for match in self._correct.finditer(text)
            if NOT.search(text[max(match.start() - 20, 0) : match.start()]) is None
            and self._before.search(text[max(match.start() - 20, 0) : match.start()]) is None
        ]
        if correct:
            yield "stated", correct[-1]


def _is_letter(match: re.Match[str]) -> bool:
    """Whether it is no article: "a triangle" and "A triangle" have one."""
    rest = match.string[match.end() :].lstrip("*")
    article = match[1] in "aAI" and rest[:1].isspace() and rest.strip(" *.") != ""
    return not article or (match[1] != "a" and CONNECTED.match(rest) is not None)
