import json
from pathlib import Path

import pytest

from rlcotrain.grader.number import Number

SHARED = Path(__file__).parents[3] / "shared" / "data"
NUMBER = Number(tolerance=0.0)


@pytest.mark.parametrize(
    ("text", "extracted", "rule"),
    [
        ("<step>7+8=5</step><answer>5</answer>", "5", "answer_tag"),
        ("<answer>3</answer> no, <answer>x = 4</answer> or 9", "4", "answer_tag"),
        ("so <answer>3</answer><answer>4", "3", "answer_tag"),
        ("48+24=72\n#### 72\n#### 73 clips for 2 days", "73", "marker"),
        ("#### $1,234.50", "1234.5", "marker"),
        ("He has 3 cats and 12.", "12", "last_number"),
        ("<answer>7", "7", "last_number"),
        ("16 - 3 = 13", "13", "last_number"),
        ("<think><answer>2</answer></think>13", "13", "last_number"),
        ("13\n\nQuestion: What is 2+3?\nAnswer: 5", "13", "last_number"),
    ],
)
def test_where_the_answer_is_looked_for(text: str, extracted: str, rule: str) -> None:
    grade = NUMBER.grade_one(text, extracted)
    assert (grade.score, grade.extracted, grade.rule, grade.status) == (1.0, extracted, rule, "ok")


@pytest.mark.parametrize(
    ("written", "number"),
    [
        ("1,234,567", "1234567"),
        ("$1,000.00", "1000"),
        ("-$5", "-5"),
        ("$-5", "-5"),
        ("\u22125", "-5"),
        ("+7", "7"),
        ("50%", "50"),
        ("\\boxed{-3}", "-3"),
        ("**18**", "18"),
        ("1e3", "1000"),
        (".50", "0.5"),
        ("-0.0", "0"),
        ("007", "7"),
        ("16-3", "3"),  # a difference, not a sign
        ("(2)-3", "3"),
        ("1,2,3", "3"),  # a list, not thousands
        ("1.2.3", "3"),
        ("3/4", "4"),
    ],
)
def test_how_a_number_may_be_written(written: str, number: str) -> None:
    assert NUMBER.extract(f"The answer is {written}") == number


@pytest.mark.parametrize(
    ("text", "status"),
    [
        ("", "no_answer"),
        ("I do not know", "no_answer"),
        ("5 <answer>none</answer>", "unparsable"),
        ("5 #### unknown", "unparsable"),
        ("1e99999999999999999999", "unparsable"),
    ],
)
def test_no_number_is_wrong_and_says_why(text: str, status: str) -> None:
    grade = NUMBER.grade_one(text, "5")
    assert (grade.score, grade.extracted, grade.status) == (0.0, None, status)
    assert NUMBER.extract(text) is None


@pytest.mark.parametrize(("said", "score"), [("3.14", 1.0), ("3.15", 1.0), ("3.16", 0.0)])
def test_tolerance_is_an_absolute_difference(said: str, score: float) -> None:
    assert Number(tolerance=0.01).grade_one(said, "3.14").score == score


def test_without_tolerance_the_last_digit_counts() -> None:
    assert NUMBER.grade_one("0.1000000000000000000000000000000001", "0.1").score == 0.0
    assert NUMBER.grade_one("0.30", "0.3").score == 1.0


@pytest.mark.parametrize(
    "text",
    [
        "9" * 200_000,
        "1," * 100_000,
        "1,111" * 40_000,
        "1e" * 100_000,
        "." * 200_000,
        "-$" * 100_000,
        "<answer>" * 50_000,
        "####" * 50_000,
        "1e999999",
        "-1e-999999999",
        "0e99999999999999999999",
        "\u0663\uff15\u2167\u00bd",  # digits and numbers of other scripts
        "\x00\ud800 \U0001f600",
    ],
)
def test_no_text_of_a_model_raises_or_floods_the_records(text: str) -> None:
    for grader in (NUMBER, Number(tolerance=0.5)):
        grade = grader.grade_one(text, "5")
        assert grade.score == 0.0
        assert len(grade.extracted or "") < 1100


@pytest.mark.parametrize("answer", ["", "ten", "3/4", "5 apples"])
def test_a_known_answer_that_is_no_number_is_named(answer: str) -> None:
    with pytest.raises(ValueError, match=rf"known answer '{answer}' is no number"):
        NUMBER.grade_one("5", answer)


@pytest.mark.parametrize("tolerance", [-1.0, float("nan"), float("inf")])
def test_tolerance_out_of_range_is_named(tolerance: float) -> None:
    with pytest.raises(ValueError, match=r"grader\.tolerance=.* must be a number >= 0"):
        Number(tolerance=tolerance)


@pytest.mark.skipif(not SHARED.is_dir(), reason=f"the graded completions are not at {SHARED}")
def test_the_verdicts_published_with_gsm8k() -> None:
    lines = (SHARED / "gsm8k" / "graded_completions_sample.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    wrong = [
        row["completion"]
        for row in rows
        if (NUMBER.grade_one(row["completion"], row["gold_answer"]).score == 1.0)
        != row["is_correct"]
    ]
    assert (len(rows), wrong) == (400, [])


@pytest.mark.skipif(not SHARED.is_dir(), reason=f"the verifier cases are not at {SHARED}")
def test_the_cases_of_another_graders_suite() -> None:
    lines = (SHARED / "verifier_cases" / "small_suite.jsonl").read_text().splitlines()
    cases = [case for case in map(json.loads, lines) if case["task"] == "gsm8k_number"]
    assert len(cases) == 5
    for case in cases:
        assert NUMBER.grade_one(case["pred"], case["gold"]).score == case["expected"], case["name"]
