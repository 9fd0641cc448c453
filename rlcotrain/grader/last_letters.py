"""Last-letter concatenation (arXiv 2201.11903): "Ada Lovelace" gives "ae"."""

from rlcotrain.grader.marked import marked_answers
from rlcotrain.grader.passage import first_answer, passages
from rlcotrain.grader.single import Single, nothing, verdict
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
        rule, found = _find(text)
        return verdict(found == known, found, rule) if found else nothing(rule)

    def extract(self, text: str) -> str | None:
        """The letters; None where there are none."""
        return _find(text)[1] or None


def letters(text: str) -> str:
    """The letters of a text, in lower case."""
    return "".join(character for character in text.lower() if character.isalpha())


def _find(text: str) -> tuple[str, str]:
    if (marked := first_answer(text, _marked)) is not None:
        return marked
    words = passages(text)[0].rsplit(maxsplit=1)
    return "last_word", letters(words[-1][:200]) if words else ""


def _marked(text: str) -> tuple[str, str] | None:
    answers = ((rule, letters(said[:200])) for rule, said in marked_answers(text))
    return next((answer for answer in answers if answer[1]), None)
