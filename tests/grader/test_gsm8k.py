import pytest

from rlcotrain.grader.gsm8k import Gsm8k, Mode
from tests.grader.graded import assert_unusable, graded, problem

MODES: tuple[Mode, ...] = ("strict", "hash", "flexible", "any")


def found(text: str) -> list[str | None]:
    """What each of the modes extracts."""
    return [Gsm8k(mode=mode).extract(text) for mode in MODES]


@pytest.mark.parametrize(
    ("text", "strict", "marked", "flexible", "any_"),
    [
        ("The answer is 18.", "18", None, "18", "18"),
        ("so 3 eggs. The answer is 18", "18", None, "18", "18"),
        ("the answer is $1,234.50 dollars.\nDone in 5 steps", "1234.5", None, "5", "1234.5"),
        ("The answer is 20 - 2 = 18.", None, None, "18", "18"),
        ("The answer is: 18.", None, None, "18", "18"),
        ("Answer: 18", None, None, "18", "18"),
        ("9 * 2 = <<9*2=18>>18\n#### 18", None, "18", "18", "18"),
        ("#### 18\n\nAnd another one has 5\n#### 7", None, "18", "7", "18"),
        ("#### $1,000", None, "1000", "1000", "1000"),
        ("#### 1. Count\n#### 2. Add\n#### 18", None, "18", "18", "18"),
        ("so \\boxed{18} of the 20", None, None, "20", "18"),
        ("#### 18\nThe answer is 19. \\boxed{20} 21", "19", "18", "21", "18"),
        ("There is none", None, None, None, None),
    ],
)
def test_what_each_mode_looks_for(
    text: str, strict: str | None, marked: str | None, flexible: str | None, any_: str | None
) -> None:
    assert found(text) == [strict, marked, flexible, any_]


@pytest.mark.parametrize(
    ("written", "number"),
    [
        ("1,234,567", "1234567"),
        ("$18.00", "18"),
        ("-$5", "-5"),
        ("$-5", "-5"),
        ("\u22125", "-5"),
        ("+7", "7"),
        ("16-3", "3"),
        ("50%", "50"),
        ("3/4", "0.75"),
        ("1/3", "1/3"),
        ("2 1/2 cups", "2.5"),
        ("-1 1/2", "-1.5"),
        ("\\frac{1}{8}", "0.125"),
        ("-\\dfrac{3}{2}", "-1.5"),
        (".5", "0.5"),
        ("0.050", "0.05"),
        ("18km", "18"),
        ("**18**", "18"),
        ("\u20ac12", "12"),
        ("1.5/3", "0.5"),
        ("$1{,}000$", "1000"),
        ("\\boxed{1,\\!234,\\!567}", "1234567"),
        ("\\boxed{1\\,000}", "1000"),
        ("\\boxed{18\\text{ in}^2}", "18"),
        ("18 cm^{2}", "18"),
    ],
)
def test_how_a_number_may_be_written(written: str, number: str) -> None:
    assert Gsm8k(mode="flexible").extract(f"in all {written}") == number
    assert graded(Gsm8k(mode="any"), f"in all {written}", number).score == 1.0


@pytest.mark.parametrize(
    "next_one",
    [
        "\n\nQuestion: How many are 2 and 5?\nAnswer: 2 + 5 = 7\n#### 7",
        "\n[Question] What is 7?",
        "\nQ: And 2 + 5?\nA: The answer is 7.",
        "\n\nProblem 2: 7 hens",
        "\n**Question:** 7?",
        "\n### Problem: 7?",
        "\nHuman: and 7?",
        "\n\n## Problem 2\nThere are 7 hens.",
        "\n**Exercise 3**\n7 hens",
    ],
)
def test_an_invented_next_question_is_not_graded(next_one: str) -> None:
    for text, mode in (("#### 18", "hash"), ("The answer is 18.", "strict"), ("18", "flexible")):
        grade = graded(Gsm8k(mode=mode), text + next_one, "18")  # type: ignore[arg-type]
        assert (grade.score, grade.extracted, grade.rule) == (1.0, "18", mode)


def test_the_question_said_again_is_no_next_one() -> None:
    text = "Question: How many are 9 and 9?\nAnswer: 9 + 9 = 18\n\nQuestion: And 2?\nAnswer: 2"
    assert found(text) == [None, None, "18", "18"]


def test_what_was_thought_is_not_said() -> None:
    assert found("<think>#### 5 or The answer is 5.</think>\n#### 18")[:2] == [None, "18"]
    assert found("<think>It may be 5, or The answer is 6. #### 7") == [None] * 4, "cut in thought"


@pytest.mark.parametrize(
    ("text", "extracted", "status"),
    [
        ("nothing", None, "no_answer"),
        ("9" * 200, "9" * 100, "unparsable"),
        ("5/0", "5/0", "unparsable"),
    ],
)
def test_no_number_is_wrong_and_says_why(text: str, extracted: str | None, status: str) -> None:
    grade = graded(Gsm8k(mode="any"), text, "5")
    assert (grade.score, grade.extracted, grade.status) == (0.0, extracted, status)


def test_a_rule_is_named() -> None:
    texts = ["#### 5", "The answer is 5.", "\\boxed{5}", "5", "five"]
    grades = Gsm8k(mode="any").grade(texts, [problem("5")] * 5)
    assert [grade.rule for grade in grades] == ["hash", "strict", "boxed", "flexible", "any"]
    assert [grade.score for grade in grades] == [1, 1, 1, 1, 0]


def test_the_known_answer_may_be_the_worked_text() -> None:
    assert graded(Gsm8k(mode="any"), "18", "9*2=18\n#### 18").score == 1.0
    assert graded(Gsm8k(mode="any"), "1000", "#### 1,000").score == 1.0


@pytest.mark.parametrize("answer", ["", "ten", "5 apples", "9" * 101])
def test_a_known_answer_that_is_no_number_is_named(answer: str) -> None:
    assert_unusable(Gsm8k(mode="strict"), answer, "known answer '.* is no number, as grader=gsm8k")


def test_a_problem_without_an_answer_is_named() -> None:
    assert_unusable(Gsm8k(mode="any"), None, "problem 'p/1' has no known answer")
