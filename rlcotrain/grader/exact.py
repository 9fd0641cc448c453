"""Whether the answer is the known one letter by letter, spaces around it aside."""

from rlcotrain.grader.answer_tag import tagged_answer
from rlcotrain.types import Grade


class Exact:
    """Compares what `<answer>` holds or, without such a mark, the whole text."""

    def grade(self, text: str, answer: str) -> Grade:
        """1 where they are equal, 0 elsewhere."""
        rule, extracted = find(text)
        if extracted is None:
            return Grade(score=0.0, extracted=None, rule=rule, status="no_answer")
        score = float(extracted == answer.strip())
        return Grade(score=score, extracted=extracted, rule=rule, status="ok")

    def extract(self, text: str) -> str | None:
        """The answer itself, None where the text gives none: what a majority votes on."""
        return find(text)[1]


def find(text: str) -> tuple[str, str | None]:
    """The rule that found the answer, and the answer."""
    tagged = tagged_answer(text)
    rule = "text" if tagged is None else "answer_tag"
    return rule, (text if tagged is None else tagged).strip() or None
