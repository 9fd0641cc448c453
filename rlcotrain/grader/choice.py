"""Multiple choice: which letter the completion settles on."""

import re

from rlcotrain.grader.latex import normal
from rlcotrain.grader.marked import marked_answers
from rlcotrain.grader.passage import graded_part
from rlcotrain.grader.single import Single, nothing, verdict
from rlcotrain.types import Grade


class Choice(Single):
    """`letters` are the options there are.

    Looked for in the last closed box, in `<answer>`, in what is said to be the answer, in a last
    line that holds nothing else, and in the last brackets: (B).
    """

    def __init__(self, *, letters: str) -> None:
        if not letters.isalpha() or len(set(letters.upper())) != len(letters):
            raise ValueError(f"grader.letters={letters!r}: must be letters, each once, as in ABCD")
        self.letters = letters.upper()
        # In words the letter stands first, and alone: "B", "(B)", "B) 12 cm", not "Because".
        self._leading = re.compile(rf"[\s*(\[]*([{self.letters}])(?![a-zA-Z'])", re.IGNORECASE)
        self._alone = re.compile(rf"[\s*(\[]*([{self.letters}])[\s*)\].]*", re.IGNORECASE)
        self._bracketed = re.compile(rf"\(([{self.letters}])\)")

    def grade_one(self, text: str, answer: str) -> Grade:
        """ValueError where `answer` is none of the letters."""
        known = self._alone.fullmatch(normal(answer))
        if known is None:
            raise ValueError(
                f"known answer {answer!r:.60} is none of grader.letters={self.letters}"
            )
        rule, found = self._find(graded_part(text))
        return nothing(rule) if found is None else verdict(found == known[1].upper(), found, rule)

    def extract(self, text: str) -> str | None:
        """The letter; None where the text settles on none."""
        return self._find(graded_part(text))[1]

    def _find(self, text: str) -> tuple[str, str | None]:
        for rule, said in marked_answers(text):
            if (match := self._leading.match(said)) is not None:
                return rule, match[1].upper()
        last = text.strip().rpartition("\n")[2]
        if (match := self._alone.fullmatch(last[:100])) is not None:
            return "last_line", match[1].upper()
        brackets = self._bracketed.findall(text)
        return "brackets", brackets[-1] if brackets else None
