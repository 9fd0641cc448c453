from fractions import Fraction

import pytest

from rlcotrain.grader.closed_form import differ, number, readings, value
from rlcotrain.grader.latex import boxed, normal


@pytest.mark.parametrize(
    ("text", "worth"),
    [
        (r"2\sqrt{2}", 8**0.5),
        (r"-\frac{3}{4}+1", 0.25),
        (r"3^{2}-2\cdot4", 1.0),
        (r"-2^2", -4.0),
        (r"\sqrt[3]{27}", 3.0),
        ("6/2(3)", 9.0),
        (r"2\pi", 6.283185307179586),
        ("1:4", 0.25),
        ("3+2i", 3 + 2j),
        (r"10\frac{1}{2}", 10.5),
    ],
)
def test_what_a_calculator_tells(text: str, worth: complex) -> None:
    assert value(text) == pytest.approx(worth)


@pytest.mark.parametrize(
    "text",
    [
        *("", "2+", "(2", "1/0", "9^{9^{9}}", r"\sin(2)", "x=2", "12_5", "2,3", "x_1"),
        *(r"x\frac{1}{2}", r"\sqrt[3]{-8}", "(" * 300 + "1" + ")" * 300, "1+" * 500 + "1"),
    ],
)
def test_what_it_does_not(text: str) -> None:
    assert value(text) is None


@pytest.mark.parametrize(
    ("one", "other", "differs"),
    [
        ("x^2", "x^3", True),
        ("a+b", "b+a", False),
        ("(x+1)^2", "x^2+2x+1", False),
        ("1,2", "2,1", False),
        ("1,2", "1,3", True),
        ("1,2", "1", True),
        (r"(-\infty,4)", "4", True),
        (r"\begin{pmatrix}1\\2\end{pmatrix}", "3", True),
        (r"\sin(x)", "3", False),
        ("3", "3.0000000001", False),
    ],
)
def test_what_clearly_differs(one: str, other: str, differs: bool) -> None:
    assert differ(one, other) is differ(other, one) is differs


def test_numbers_are_exact() -> None:
    assert number("-0.10") == (Fraction(-1, 10), True)
    assert number(r"2\frac{1}{3}") == (Fraction(7, 3), False)
    assert number(r"\frac{1}{0}") is None and number("x") is None


def test_what_a_form_may_stand_for() -> None:
    assert readings("50", percentage=True) == ["50", r"\frac{50}{100}"]
    assert readings("12_5", percentage=False) == ["12", "7"]
    assert readings("19_5", percentage=False) == ["19_5"]


@pytest.mark.parametrize(
    ("written", "form"),
    [
        (r"\dfrac12", r"\frac{1}{2}"),
        (r"\left( 1 ,\, 2 \right)", "(1,2)"),
        (r"\text{ Odd }", "odd"),
        (r"$12 \text{ cm}$", "12"),
        (r"f(x) = 2x", "2x"),
        (r"\begin{pmatrix} 1 \\ 2 \end{pmatrix}", r"\begin{pmatrix}1\\2\end{pmatrix}"),
        (r"29,\!322", "29322"),
        (r"\sqrt x", r"\sqrt{x}"),
        (r"2, 3,\text{ and } 4.", "2,3,4"),
    ],
)
def test_the_normal_form(written: str, form: str) -> None:
    assert normal(written) == form


def test_what_boxes_hold() -> None:
    text = r"\boxed{a} \fbox{\boxed{b}} \boxed c$ \boxed{d"
    assert boxed(text) == ["a", r"\boxed{b}", "c"]
