"""Last-letter concatenation (arXiv 2201.11903): "Ada Lovelace" gives "ae"."""

from rlcotrain.grader.answer_tag import tagged_answer
from rlcotrain.grader.latex import boxed, normal
from rlcotrain.grader.passage import graded_part
from rlcotrain.grader.single import Single, nothing, verdict
from rlcotrain.grader.stated import stated_answer
from rlcotrain.types import Grade


class LastLetters(Single):
    """Letters of the boxed, tagged or stated answer, else of the last word; case does not count.

    Spaces and marks between letters do not count either: a-e, "a e" and ae are one.
    """

    def grade_one(self, text: str, answer: str) -> Grade:
        """ValueError where `answer` holds no letters."""
        known = letters(answer)
        if not known:
            raise ValueError(f"known answer {answer!r:.60} holds no letters")
        rule, found = _find(graded_part(text))
        return verdict(found == known, found, rule) if found else nothing(rule)

    def extract(self, text: str) -> str | None:
        """The letters; None where there are none."""
        return _find(graded_part(text))[1] or None


def letters(text: str) -> str:
    """The letters of a text, in lower case."""
    return "".join(character for character in text.lower() if character.isalpha())


def _find(text: str) -> tuple[str, str]:
    boxes = boxed(text)
    places = (
        ("boxed", normal(boxes[-1][:200]) if boxes else None),
        ("answer_tag", tagged_answer(text)),
        ("stated", stated_answer(text)),
    )
    for rule, said in places:
        if said is not None and (found := letters(said[:200])):
            return rule, found
    words = text.rsplit(maxsplit=1)
    return "last_word", letters(words[-1][:200]) if words else ""
