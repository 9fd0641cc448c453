"""Whether the answer is the known text: letter by letter, or as people read it."""

import re
import string

from rlcotrain.grader.answer_tag import tagged_answer
from rlcotrain.grader.passage import first_answer, passages
from rlcotrain.grader.single import Single, nothing, verdict
from rlcotrain.types import Grade

ARTICLE = re.compile(r"\b(?:a|an|the)\b")
PUNCTUATION = str.maketrans("", "", string.punctuation)


class Exact(Single):
    """Compares what `<answer>` holds or, without such a mark, the whole text.

    normalise: case, articles, punctuation and spacing do not count (SQuAD's rule,
        arXiv 1606.05250), nor does what stands before `</think>`.
    """

    def __init__(self, *, normalise: bool = False) -> None:
        self.normalise = normalise

    def grade_one(self, text: str, answer: str) -> Grade:
        """1 where they are equal, 0 elsewhere."""
        rule, extracted = self._find(text)
        if extracted is None:
            return nothing(rule)
        known = plain(answer) if self.normalise else answer.strip()
        return verdict(extracted == known, extracted, rule)

    def extract(self, text: str) -> str | None:
        """The answer itself, None where the text gives none: what a majority votes on."""
        return self._find(text)[1]

    def _find(self, text: str) -> tuple[str, str | None]:
        """The rule that found the answer, and the answer."""
        tagged = first_answer(text, tagged_answer) if self.normalise else tagged_answer(text)
        text = passages(text)[0] if self.normalise else text
        rule, found = ("text", text) if tagged is None else ("answer_tag", tagged)
        return rule, (plain(found) if self.normalise else found.strip()) or None


def plain(text: str) -> str:
    """Lower case, without articles and punctuation, single spaces."""
    return " ".join(ARTICLE.sub(" ", text.lower().translate(PUNCTUATION)).split())
