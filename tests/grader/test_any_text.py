"""Whatever a model writes is graded: no text raises or hangs, and its grade is always the same."""

import time
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rlcotrain.grader.allenai import AllenaiGsm8k, AllenaiMath
from rlcotrain.grader.choice import Choice
from rlcotrain.grader.closed_form import differ, value
from rlcotrain.grader.exact import Exact
from rlcotrain.grader.format import FORMS, Format
from rlcotrain.grader.gsm8k import Gsm8k
from rlcotrain.grader.last_letters import LastLetters
from rlcotrain.grader.latex import normal
from rlcotrain.grader.math import Math
from rlcotrain.grader.math_verify import MathVerify
from rlcotrain.grader.minerva import Minerva
from rlcotrain.grader.number import Number
from rlcotrain.types import Grader
from tests.grader.graded import graded, problem

BY_STRING: dict[str, tuple[Grader, str]] = {
    **{
        f"gsm8k_{mode}": (Gsm8k(mode=mode), "5")  # type: ignore[arg-type]
        for mode in ("strict", "hash", "flexible", "any")
    },
    "number": (Number(tolerance=0.0), "5"),
    "exact": (Exact(normalise=False), "five"),
    "exact_normalised": (Exact(normalise=True), "five"),
    "choice": (Choice(letters="ABCDE"), "B"),
    "last_letters": (LastLetters(), "ae"),
    "allenai_gsm8k": (AllenaiGsm8k(), "5"),
    **{f"format_{form}": (Format(form=form), "5") for form in FORMS},  # type: ignore[arg-type]
}
SMALL: dict[str, Any] = {"workers": 2, "timeout": 1.0, "memory": 1 << 30}
BY_ALGEBRA: dict[str, Grader] = {
    "math": Math(**SMALL),
    "minerva": Minerva(**SMALL),
    "allenai_math": AllenaiMath(**SMALL),
    "math_verify": MathVerify(**SMALL),
}
PIECES = (
    *(
        r"\boxed{",
        "}",
        "{",
        "$",
        "$$",
        r"\(",
        r"\)",
        "#### ",
        "The answer is ",
        "Answer:",
        ".",
        ",",
    ),
    *(
        "<answer>",
        "</answer>",
        "<think>",
        "</think>",
        "\nQuestion:",
        "\n",
        " ",
        "**",
        "(",
        ")",
        "=",
    ),
    *("5", "-3.5", "1,000", "1/0", "50%", "0", "1e9", "x", "B", r"\frac{1}{2}", r"\frac", r"\sqrt"),
    *("^", "_", "!", r"\pi", r"\infty", r"\text{ cm}", r"\begin{pmatrix}", r"\\", "&", r"\cup"),
    *("Final Answer: The final answer is ", "I hope it is correct.", "\ud800", "\x00", "\u0663"),
)
TEXTS = st.lists(st.sampled_from(PIECES) | st.text(max_size=8), max_size=16).map("".join)
# A list of what once hurt somebody: quadratic patterns, numbers of a megabyte, stacks of braces.
HOSTILE = [
    *(
        "9" * 200_000,
        "1," * 100_000,
        "1,111" * 40_000,
        "." * 200_000,
        "-$" * 100_000,
        "1/" * 60_000,
    ),
    *("<answer>" * 30_000, "####" * 50_000, "#### 1" * 30_000, "\n" * 200_000, "\nQ" * 60_000),
    *(r"\boxed{" * 30_000, r"\boxed " * 30_000, "{" * 200_000, "$" * 200_000, "$ " * 60_000),
    *("The answer is " * 15_000, "Answer: " * 20_000, "the answer is 5 " + "a" * 200_000),
    *("Final Answer: The final answer is" * 6_000, r"\text{" * 30_000, "<think>" * 30_000),
    *(
        r"\boxed{" + inside + "}"
        for inside in ("{" * 900 + "}" * 900, "(" * 1900, "1+" * 990 + "1")
    ),
    *(r"\boxed{" + inside + "}" for inside in (r"\frac" * 390, r"\sqrt{" * 300, "x^" * 900)),
]


@pytest.mark.parametrize("name", BY_STRING)
@given(text=TEXTS)
@settings(max_examples=150, deadline=500, derandomize=True, database=None)
def test_a_grader_of_strings_grades_any_text(name: str, text: str) -> None:
    grader, answer = BY_STRING[name]
    grade = graded(grader, text, answer)
    assert grade.score is not None and 0 <= grade.score <= 1
    assert grade.status == "ok" or grade.score == 0
    assert grade == graded(grader, text, answer)


@pytest.mark.parametrize("name", BY_ALGEBRA)
@given(texts=st.lists(TEXTS, min_size=5, max_size=5))
@settings(
    max_examples=8,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
)
def test_a_grader_by_algebra_grades_any_text(name: str, texts: list[str]) -> None:
    grader, problems = BY_ALGEBRA[name], [problem("x+7")] * 5
    grades = grader.grade(texts, problems)
    for grade in grades:
        assert (grade.score is None) == (grade.status in ("timeout", "crashed"))
    assert grades == grader.grade(texts, problems)


@pytest.mark.parametrize("name", [*BY_STRING, *BY_ALGEBRA])
def test_hostile_texts_take_no_time(name: str) -> None:
    grader, answer = BY_STRING.get(name) or (BY_ALGEBRA[name], "x+7")
    if name == "math_verify":
        pytest.skip("the library reads whole texts: the pool's time limit is what ends it")
    for text in HOSTILE:
        start = time.process_time()
        assert graded(grader, text, answer).score in (0.0, 1.0, None)
        assert time.process_time() - start < 1.0, f"{text[:40]!r} x {len(text)}"


@given(text=TEXTS)
@settings(max_examples=300, deadline=500, derandomize=True, database=None)
def test_a_normal_form_is_found_for_any_answer(text: str) -> None:
    form = normal(text)
    value(form)
    assert not differ(form, form)
