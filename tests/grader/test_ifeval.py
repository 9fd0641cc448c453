"""Instructions as RLVR data write them, with completions that do and do not follow them."""

import json
import time
from importlib.util import find_spec
from typing import Any

import pytest

from rlcotrain.grader.ifeval import RULES, Ifeval
from tests.grader.graded import assert_unusable, graded

CASES: list[tuple[str, dict[str, Any], str, str]] = [
    ("verify_keywords", {"keyword_list": ["Tea", "milk"]}, "Milk in my tea.", "Tea alone."),
    ("verify_keyword_frequency", {"word": "tea", "N": 2}, "Tea, tea!", "Tea and teapots."),
    ("validate_forbidden_words", {"forbidden_words": ["bad"]}, "All good.", "Badly said."),
    ("verify_letter_frequency", {"letter": "o", "N": 2}, "too", "O to"),
    ("verify_paragraph_count", {"N": 2}, "One.\n * * * \nTwo.", "One.\n* * *\n"),
    ("validate_word_constraint", {"N": 3, "quantifier": "at least"}, "a b c", "a b"),
    ("validate_word_constraint", {"N": 3, "quantifier": "at most"}, "a b c", "a b c d"),
    ("validate_word_constraint", {"N": 20, "quantifier": "around"}, "a " * 22, "a " * 23),
    (
        "verify_sentence_constraint",
        {"N": 2, "quantifier": "at least"},
        "Mr. Fox ran, e.g. today. He fell.",
        "Mr. Fox ran, e.g. today.",
    ),
    ("verify_sentence_constraint", {"N": 1, "quantifier": "around"}, "A. B!", "A. B! C?"),
    (
        "validate_paragraphs",
        {"N": 2, "first_word": "So", "i": 2},
        "Well.\n\nSo be it.",
        "So.\n\nWell.",
    ),
    ("validate_paragraphs", {"N": 2, "first_word": "So", "i": 3}, "", "So.\n\nSo."),
    ("verify_postscript", {"postscript_marker": "P.S."}, "Bye. P.S. Hello", "Bye. P.S. "),
    ("validate_placeholders", {"N": 2}, "[name] of [town]", "[name of\ntown] [here]"),
    ("verify_bullet_points", {"N": 2}, "* a\n - b", "* a\n* b\n* c"),
    ("validate_title", {}, "<<Tea>>\nIt is hot.", "<<Tea\n>>"),
    ("validate_choice", {"options": ["My answer is yes.", "No."]}, "No. Why?", "My answer is"),
    ("validate_highlighted_sections", {"N": 2}, "*one* and *two*", "*one* and *two"),
    (
        "validate_sections",
        {"N": 2, "section_splitter": "Section"},
        "Section 1\na\nSECTION 2\nb",
        "Section 1\nSection b",
    ),
    ("validate_json_format", {}, '{"a": [1]}', "{'a': 1}"),
    ("validate_repeat_prompt", {"original_prompt": "Say tea."}, "Say tea. Tea.", "Tea. Say tea."),
    ("validate_two_responses", {}, "Yes.\n******\nNo.", "Yes.\n******\nYes."),
    ("validate_uppercase", {}, "TEA, 2 CUPS", "Tea"),
    ("validate_lowercase", {}, "tea, 2 cups", "Tea"),
    ("validate_frequency_capital_words", {"N": 1, "quantifier": "at most"}, "A cup", "A CUP"),
    ("validate_end", {"end_phrase": "Any more?"}, "Here. Any more?", "Any more? No."),
    ("validate_quotation", {}, '"Tea."', '"Tea.'),
    ("validate_no_commas", {}, "tea and milk", "tea, milk"),
]


def instruction(name: str, needed: dict[str, Any]) -> str:
    unused = {key: None for key in ("N", "quantifier", "first_word") if key not in needed}
    return json.dumps({"func_name": name, **needed, **unused})


@pytest.mark.parametrize(("name", "needed", "followed", "ignored"), CASES)
def test_a_rule_tells_what_follows_it(
    name: str, needed: dict[str, Any], followed: str, ignored: str
) -> None:
    answer = instruction(name, needed)
    if followed:
        grade = graded(Ifeval(), f"<think>, , A [</think> {followed}\n", answer)
        assert (grade.score, grade.rule, grade.status) == (1.0, name, "ok")
    assert graded(Ifeval(), ignored, answer).score == 0.0


def test_every_rule_has_a_case() -> None:
    assert {name for name, *_ in CASES} == set(RULES) - {"validate_response_language"}


HERE = find_spec("langdetect") is not None


@pytest.mark.skipif(not HERE, reason="the package langdetect is not installed")
def test_the_language_of_a_text() -> None:
    german = instruction("validate_response_language", {"language": "de"})
    said = "Der Tee ist heute leider schon wieder kalt geworden."
    assert graded(Ifeval(), said, german).score == 1.0
    assert graded(Ifeval(), "The tea has gone cold again today.", german).score == 0.0
    assert graded(Ifeval(), "12 34", german).score == 0.0


@pytest.mark.skipif(HERE, reason="the package langdetect is installed")
def test_a_language_without_the_package_is_not_graded_against() -> None:
    german = instruction("validate_response_language", {"language": "de"})
    assert_unusable(Ifeval(), german, r"needs the package langdetect; pip install")


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ("18", "is no instruction with a known func_name"),
        ("{", "is no instruction"),
        ('{"func_name": "verify_smell"}', "is no instruction with a known func_name"),
        ('{"func_name": ["a"]}', "is no instruction"),
        (instruction("verify_bullet_points", {}), "N=None is nothing to check by"),
        (instruction("verify_bullet_points", {"N": "3"}), "N='3' is nothing"),
        (instruction("verify_letter_frequency", {"letter": "ab", "N": 1}), "letter='ab'"),
        (instruction("validate_choice", {"options": "yes"}), "options='yes' is nothing"),
        (instruction("validate_word_constraint", {"N": 3, "quantifier": "some"}), "'some'"),
    ],
)
def test_what_is_no_instruction_is_not_graded_against(answer: str, message: str) -> None:
    assert_unusable(Ifeval(), answer, message)


@pytest.mark.parametrize(("name", "needed"), [(name, needed) for name, needed, *_ in CASES])
@pytest.mark.parametrize("piece", ["*", "[", "[]", "<<", "A", "A.", '"', "Section 1", "- ", "*\n"])
def test_a_megabyte_takes_no_time(name: str, needed: dict[str, Any], piece: str) -> None:
    text = piece * (1_000_000 // len(piece))
    start = time.process_time()
    graded(Ifeval(), text, instruction(name, needed))
    assert time.process_time() - start < 0.5
