import pytest

from rlcotrain.grader.exact import Exact


@pytest.mark.parametrize(
    ("text", "answer", "score"),
    [
        (" Paris\n", "Paris", 1.0),
        ("paris", "Paris", 0.0),
        ("It is <answer> Paris </answer>, I think", " Paris", 1.0),
        ("<answer>Rome</answer><answer>Paris</answer>", "Paris", 1.0),
        ("<answer>Paris</answer><answer>Rome</answer>", "Paris", 0.0),
        ("The answer is Paris", "Paris", 0.0),
        ("\U0001f600", "\U0001f600", 1.0),
    ],
)
def test_equal_letter_by_letter(text: str, answer: str, score: float) -> None:
    grade = Exact(normalise=False).grade_one(text, answer)
    assert (grade.score, grade.status) == (score, "ok")


@pytest.mark.parametrize(
    ("text", "rule"), [(" \n", "text"), ("x <answer> </answer>", "answer_tag")]
)
def test_an_empty_answer_is_none(text: str, rule: str) -> None:
    grade = Exact(normalise=False).grade_one(text, "")
    assert (grade.score, grade.extracted, grade.rule, grade.status) == (
        0.0,
        None,
        rule,
        "no_answer",
    )
    assert Exact(normalise=False).extract(text) is None


def test_what_a_majority_votes_on() -> None:
    assert Exact(normalise=False).extract("so <answer> B </answer>") == "B"


@pytest.mark.parametrize(
    ("text", "answer", "score"),
    [
        ("<think>Rome?</think>The  Eiffel-Tower!", "eiffeltower", 1.0),
        ("<answer>A simple test.</answer>", "simple test", 1.0),
        ("another", "other", 0.0),
    ],
)
def test_as_people_read_it(text: str, answer: str, score: float) -> None:
    assert Exact(normalise=True).grade_one(text, answer).score == score
