import time

import pytest

from rlcotrain.grader.math import Math
from tests.grader.graded import POOL, assert_unusable, graded, problem

MATH = Math(**POOL)


@pytest.mark.parametrize(
    ("text", "extracted", "rule"),
    [
        (r"so \boxed{3} and then \boxed{\frac{1}{2}}.", r"\frac{1}{2}", "boxed"),
        (r"\boxed{\sqrt{\{x\}}}", r"\sqrt{\{x\}}", "boxed"),
        (r"$\boxed 5$ it is", "5", "boxed"),
        (r"\boxed{7} but \boxed{8", "7", "boxed"),
        (r"\boxed{} The answer is 4.", "4", "stated"),
        ("The answer is $x^2 + 1$, I hope", "x^2 + 1", "stated"),
        ("**Final Answer:** 3.5 meters.", "3.5 meters", "stated"),
        ("The final answer is: \\(2\\pi\\).", "2\\pi", "stated"),
        ("The answer is 4. No, the answer is 5", "5", "stated"),
        ("The answers: the answer is $2$, $x$ and $3$, see above", "2, x, 3", "stated"),
        ("The answer is $8$ since $4+4=8$", "8", "stated"),
        ("<answer> 12 </answer> The answer is 13", "12", "answer_tag"),
        ("2x+1", "2x+1", "text"),
    ],
)
def test_where_the_answer_is_looked_for(text: str, extracted: str, rule: str) -> None:
    grade = graded(MATH, text, extracted)
    assert (grade.score, grade.extracted, grade.rule, grade.status) == (1.0, extracted, rule, "ok")


@pytest.mark.parametrize(
    ("gold", "answer"),
    [
        (r"\frac{1}{2}", "0.5"),
        (r"\frac12", r"\dfrac{1}{2}"),
        ("1/2", r"\tfrac{2}{4}"),
        (r"10\frac{1}{12}", r"\frac{121}{12}"),
        (r"98,\!770", "98770"),
        ("1,000", "1000"),
        (r"2\sqrt{2}", r"\sqrt{8}"),
        (r"\frac{3}{\sqrt{10}}", r"\frac{3\sqrt{10}}{10}"),
        (r"3\text{ boxes}", "3"),
        (r"20 \text{ cm}^2", "20"),
        (r"9\pi \text{ inches}", r"9\pi"),
        (r"60^\circ", "60"),
        (r"\$18.90", "18.9"),
        (r"32\%", "32"),
        (r"\text{Friday}", "friday"),
        (r"\text{(C)}", "(C)"),
        ("x = 5", "5"),
        ("5", "x=5"),
        ("1 - x", "-x+1"),
        ("(x+1)(x-1)", "x^2 - 1"),
        (r"\left( \frac{5}{2}, 3 \right)", "(2.5,3)"),
        ("2, 3", "3, 2"),
        (r"\begin{pmatrix} 7 \\ 5 \end{pmatrix}", r"\begin{pmatrix}7\\5\end{pmatrix}"),
        (r"(-\infty,-8]\cup [8,\infty)", r"(-\infty, -8] \cup [8, \infty)"),
        (r"\boxed{42}", "42"),
        (r"\frac{1}{3}", "0.333333"),
        (r"-3+2i", "2i - 3"),
        (r"6, 8\text{, and }10", "6,8,10"),
        (r"\frac{1}{6}", r"0.1\overline{6}"),
        (r"-3.\overline{45}", r"-\frac{38}{11}"),
        ("0.125", r"12.5\%"),
        (r"\emptyset", r"\varnothing"),
        ("18", "18 square feet"),
        (r"60^\circ", "60 degrees"),
        ("5", "5 cm^2"),
        ("3xy", "3 xy"),
        ("6m", "6 m"),
    ],
)
def test_what_is_worth_the_same(gold: str, answer: str) -> None:
    assert graded(MATH, rf"so it is $\boxed{{{answer}}}$.", gold).score == 1.0


@pytest.mark.parametrize(
    ("gold", "answer"),
    [
        ("43", "42"),
        (r"\frac{1}{3}", "0.33"),
        ("(1, 2)", "(2, 1)"),
        ("[1, 2]", "(1, 2)"),
        (r"\sqrt{2}", "1.41"),
        ("x^2", "x^3"),
        ("x", "y"),
        (r"\text{Friday}", r"\text{Monday}"),
        ("2, 3", "2"),
        ("1000001", "1000000"),
        ("12_5", "21_5"),
        (r"\begin{pmatrix} 7 \\ 5 \end{pmatrix}", r"\begin{pmatrix} 5 \\ 7 \end{pmatrix}"),
        (r"(-\infty, 4)", "4"),
        ("D", "B"),
        ("32\\%", "33"),
        ("10^{10}", "10^{11}"),
        ("12", "12 or more"),
        ("2", "2 million"),
        ("2", "2 pi"),
    ],
)
def test_what_is_not(gold: str, answer: str) -> None:
    grade = graded(MATH, rf"\boxed{{{answer}}}", gold)
    assert (grade.score, grade.extracted) == (0.0, answer)


@pytest.mark.parametrize(
    ("text", "extracted", "status"),
    [
        ("I wonder\nwhat it is", None, "no_answer"),
        ("", None, "no_answer"),
        (r"<think>perhaps \boxed{x+7}, but", None, "no_answer"),
        (r"\boxed{\frac{}{}}", r"\frac{}{}", "unparsable"),
        (r"\boxed{" + "1+" * 2000 + "1}", None, "unparsable"),
    ],
)
def test_no_answer_is_wrong_and_says_why(text: str, extracted: str | None, status: str) -> None:
    grade = graded(MATH, text, "x+7")
    assert (grade.score, grade.extracted, grade.status) == (0.0, extracted, status)


def test_an_answer_that_hangs_is_wrong() -> None:
    hasty = Math(workers=1, timeout=0.5, memory=1 << 30)
    graded(hasty, r"\boxed{\sin(x)}", "y")  # the pool has started
    start = time.monotonic()
    late, right, wrong = hasty.grade(
        [r"\boxed{9^{9^{9^{9}}}+x!}", r"\boxed{x+x}", r"\boxed{\cos(x)}"], [problem("2x")] * 3
    )
    assert (late.score, late.rule, late.status) == (0.0, "boxed", "answer_timeout")
    assert [right.score, wrong.score] == [1.0, 0.0], "the others are none the worse for it"
    assert time.monotonic() - start < 10


def test_equal_answers_are_one_vote() -> None:
    texts = [r"\boxed{\frac12}", r"\boxed{\dfrac{1}{2}}", "The answer is $1/2$."]
    assert {MATH.extract(text) for text in texts} == {r"\frac{1}{2}"}
    assert MATH.extract("I do not\nknow") is None


def test_a_known_answer_that_hangs_gives_no_score() -> None:
    hasty = Math(workers=1, timeout=0.5, memory=1 << 30)
    (grade,) = hasty.grade([r"\boxed{x+1}"], [problem(r"9^{9^{9^{9}}}+x!")])
    assert (grade.score, grade.status) == (None, "timeout")


@pytest.mark.parametrize("answer", ["", "  \n", "x" * 2001])
def test_a_known_answer_that_says_nothing_is_named(answer: str) -> None:
    assert_unusable(MATH, answer, "known answer '.* is none to compare with; expected 1 to 2000")
