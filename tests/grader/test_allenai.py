import pytest

from rlcotrain.grader.allenai import AllenaiGsm8k, AllenaiMath
from tests.grader.graded import POOL, assert_unusable, graded

MATH = AllenaiMath(**POOL)


@pytest.mark.parametrize(
    ("text", "gold", "score", "extracted"),
    [
        ("in all 1,234.", "1234", 1.0, "1234"),
        ("in all -3", "-3", 1.0, "-3"),
        ("in all 3", "-3", 0.0, "3"),
        ("18.00", "18", 0.0, "18.00"),
        ("It is 18. Then 5 more", "18", 0.0, "5"),
        ("It is 18\n\nQuestion: and 5?", "18", 1.0, "18"),
        ("none", "18", 0.0, None),
    ],
)
def test_the_last_number_digit_by_digit(
    text: str, gold: str, score: float, extracted: str | None
) -> None:
    grade = graded(AllenaiGsm8k(), text, gold)
    assert (grade.score, grade.extracted, grade.rule) == (score, extracted, "last_number")
    assert grade.status == ("no_answer" if extracted is None else "ok")


def test_a_blank_known_answer_is_named() -> None:
    assert_unusable(AllenaiGsm8k(), " ", "known answer ' ' is blank; expected a number")


@pytest.mark.parametrize(
    ("text", "gold", "score", "rule"),
    [
        (r"so \boxed{\frac{1}{2}}", "0.5", 1.0, "boxed"),
        ("Final Answer: The final answer is $2x$. I hope it is correct.", "x+x", 1.0, "minerva"),
        (
            r"\boxed{7} Final Answer: The final answer is 8. I hope it is correct.",
            "8",
            1.0,
            "minerva",
        ),
        ("first $3$ and then $4$ it is", "4", 1.0, "dollar"),
        ("first $3$ and then $4$ it is", "3", 0.0, "dollar"),
        (r"\boxed{3} or $4$", "4", 0.0, "boxed"),
        ("4", "4", 1.0, "text"),
        ("it is 4", "4", 0.0, "text"),
    ],
)
def test_the_forms_that_are_tried(text: str, gold: str, score: float, rule: str) -> None:
    grade = graded(MATH, text, gold)
    assert (grade.score, grade.rule) == (score, rule)
