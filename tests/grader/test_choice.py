import pytest

from rlcotrain.grader.choice import Choice
from tests.grader.graded import assert_unusable, graded

CHOICE = Choice(letters="abcde")


@pytest.mark.parametrize(
    ("text", "letter", "rule"),
    [
        (r"so $\boxed{\text{(B)}}$", "B", "boxed"),
        (r"\boxed{B}", "B", "boxed"),
        ("<answer>b</answer>", "B", "answer_tag"),
        ("The answer is (B).", "B", "stated"),
        ("**Answer:** B) 12 cm", "B", "stated"),
        ("The answer is C. No: the correct answer is B", "B", "stated"),
        ("12 cm it is\n(B)", "B", "last_line"),
        ("b", "B", "last_line"),
        ("Not (A) but (B), since 12 cm fits", "B", "brackets"),
    ],
)
def test_where_the_letter_is_looked_for(text: str, letter: str, rule: str) -> None:
    grade = graded(CHOICE, text, f"({letter.lower()})")
    assert (grade.score, grade.extracted, grade.rule) == (1.0, letter, rule)
    assert graded(CHOICE, text, "E").score == 0.0


@pytest.mark.parametrize(
    "text", ["", "Because I say so", "A dog and a cat", "The answer is because"]
)
def test_a_word_is_no_letter(text: str) -> None:
    assert graded(CHOICE, text, "A").status == "no_answer"


def test_letters_and_known_answers_that_do_not_fit() -> None:
    assert_unusable(CHOICE, "F", r"known answer 'F' is none of grader\.letters=ABCDE")
    with pytest.raises(ValueError, match=r"grader\.letters='AAB': must be letters, each once"):
        Choice(letters="AAB")
