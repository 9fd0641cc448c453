import numpy as np
import pytest

from rlcotrain.grader.exact import Exact
from rlcotrain.grader.format import Form, Format
from rlcotrain.grader.gsm8k import Gsm8k
from rlcotrain.grader.overlong import Overlong
from rlcotrain.grader.paid import Paid
from rlcotrain.grader.watched import Watched
from rlcotrain.types import Rollout
from tests.grader.graded import assert_unusable, graded, problem
from tests.rows import said, spoken

ANY, STRICT = Gsm8k(mode="any"), Gsm8k(mode="strict")


@pytest.mark.parametrize(
    ("form", "text", "score"),
    [
        ("think", "<think>a</think>b", 1.0),
        ("think", "<think>a</think>b<think>c</think>", 0.0),
        ("think", "well <think>a</think>b", 0.0),
        ("think_answer", "<think>a</think>\n<answer>5</answer>", 1.0),
        ("think_answer", "<think>a</think> so <answer>5</answer>", 0.0),
        ("think_answer", "<think><answer>4</answer></think><answer>5</answer>", 0.0),
        ("answer_tag", "so\n<answer>5</answer>\n", 1.0),
        ("answer_tag", "<answer>5</answer> it is", 0.0),
        ("answer_tag", "<answer>4</answer><answer>5</answer>", 0.0),
        ("boxed", r"so $\boxed{5}$.", 1.0),
        ("boxed", r"\boxed{4} or \boxed{5}", 0.0),
        ("boxed", r"\boxed{}", 0.0),
        ("boxed", r"\boxed{5", 0.0),
        ("hash", "9*2\n#### 18", 1.0),
        ("hash", "#### 18\nso", 0.0),
        ("answer_is", "9*2\nThe answer is 18.", 1.0),
        ("answer_is", "The answer is 18. I think.", 1.0),
        ("answer_is", "18", 0.0),
    ],
)
def test_the_wanted_form(form: Form, text: str, score: float) -> None:
    grade = graded(Format(form=form), text, "5")
    assert (grade.score, grade.rule, grade.status) == (score, form, "ok")


def test_a_form_needs_no_known_answer() -> None:
    Format(form="boxed").check(problem(None))
    assert Format(form="boxed").grade(["5"], [problem(None)])[0].score == 0.0


def test_a_grader_as_a_stream_of_its_own() -> None:
    rows = [said(text, problem("5")) for text in ("The answer is 5.", "5")]
    assert Paid(grader=STRICT).pay(rows) == [1.0, 0.0]


def long(tokens: int) -> Rollout:
    return spoken([1], range(tokens))


def test_dapos_penalty_grows_evenly_in_the_buffer() -> None:
    """Limit 20, buffer 0.2 of it, 4 tokens: free up to 16, -1/4 a token from there."""
    found = Overlong(max_tokens=20, buffer=0.2).pay([long(n) for n in (1, 16, 17, 18, 20, 21)])
    assert found == pytest.approx([0.0, 0.0, -0.25, -0.5, -1.0, -1.0])
    assert np.isfinite(found[0] or 0.0)


@pytest.mark.parametrize("buffer", [0.0, 1.5])
def test_a_buffer_is_a_share(buffer: float) -> None:
    with pytest.raises(
        ValueError, match=r"bonus\.overlong\.buffer=.*: must be above 0 and at most 1"
    ):
        Overlong(max_tokens=20, buffer=buffer)


def test_who_watches_pays_nobody() -> None:
    grader = Watched(grader=ANY, watch={"gsm8k_strict": STRICT})
    lax, exact = grader.grade(["#### 5", "The answer is 5."], [problem("5")] * 2)
    assert [lax.score, exact.score] == [1.0, 1.0]
    assert [dict(grade.watched)["gsm8k_strict"].score for grade in (lax, exact)] == [0.0, 1.0]
    assert grader.extract("#### 5") == "5"
    assert_unusable(grader, "five", "is no number")


def test_who_watches_keeps_no_problem_out() -> None:
    """What it cannot use it says nothing of; the problem is graded all the same."""
    grader = Watched(grader=Exact(), watch={"gsm8k_strict": STRICT})
    grader.check(problem("five"))
    word, number = grader.grade(["five", "The answer is 5."], [problem("five"), problem("5")])
    assert (word.score, word.watched) == (1.0, ())
    assert [(name, grade.score) for name, grade in number.watched] == [("gsm8k_strict", 1.0)]


def test_what_names_no_answer_cannot_be_voted_on() -> None:
    with pytest.raises(ValueError, match="grader: Format names no answer, as verifier=majority"):
        Watched(grader=Format(form="boxed"), watch={}).extract("5")
