import pytest

from rlcotrain.grader.last_letters import LastLetters
from tests.grader.graded import assert_unusable, graded


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ('a and e. Concatenating them is "ae". The answer is ae.', "stated"),
        ("The answer is **AE**", "stated"),
        ("<answer>a-e</answer>", "answer_tag"),
        (r"\boxed{\text{ae}}", "boxed"),
        ("Ada ends in a, Lovelace in e: ae.", "last_word"),
        ("ae", "last_word"),
    ],
)
def test_letters_are_compared(text: str, rule: str) -> None:
    grade = graded(LastLetters(), text, "ae")
    assert (grade.score, grade.extracted, grade.rule) == (1.0, "ae", rule)
    assert graded(LastLetters(), text, "ea").score == 0.0


def test_no_letters() -> None:
    assert graded(LastLetters(), "12 34", "ae").status == "no_answer"
    assert_unusable(LastLetters(), "12", "known answer '12' holds no letters")
