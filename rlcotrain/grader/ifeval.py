"""Instructions to follow that a program can check, as RLVR data write them down.

The known answer is a JSON object: `func_name`, one of the RULES, and what it needs, the rest null.
The rules are those of allenai/open-instruct (open_instruct/if_functions.py, arXiv 2411.15124)
after the taxonomy of IFEval (arXiv 2311.07911).
"""

import inspect
import json
import re
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from typing import Any

from rlcotrain.grader.single import Single
from rlcotrain.types import Grade

# A sentence ends in . ? or !, not behind "e.g." or "Mr.".
SENTENCE_END = re.compile(r"(?<!\w\.\w.)(?<![A-Z][a-z]\.)(?<=\.|\?|!)\s")
CAPITALS = re.compile(r"\b[A-Z]+\b")
WORD = re.compile(r"\b\w+\b")
QUANTIFIERS = ("at least", "around", "at most")


class Ifeval(Single):
    """1 where the instruction is followed, 0 elsewhere; the rule is its `func_name`.

    What stands before `</think>` does not count, nor does white space around the rest.
    """

    def grade_one(self, text: str, answer: str) -> Grade:
        """ValueError where `answer` is no instruction that is known here."""
        name, needed = read(answer)
        said = text.rpartition("</think>")[2].strip()
        follows = RULES[name](said, **needed)
        return Grade(score=float(follows), extracted=None, rule=name, status="ok")


def read(answer: str) -> tuple[str, dict[str, Any]]:
    """Name of the rule, and what it needs. ValueError where that is not what there is."""
    try:
        found = json.loads(answer)
    except (ValueError, RecursionError):
        found = None
    name = found.get("func_name") if isinstance(found, Mapping) else None
    if not isinstance(name, str) or name not in RULES:
        raise ValueError(f"known answer {answer!r:.60} is no instruction with a known func_name")
    assert isinstance(found, Mapping)
    given = {key: value for key, value in found.items() if value is not None}
    del given["func_name"]
    needs = dict(list(inspect.signature(RULES[name]).parameters.items())[1:])
    wrong = [key for key in needs if not _fits(key, given.get(key))]
    if wrong:
        raise ValueError(f"{name}: {wrong[0]}={given.get(wrong[0])!r:.60} is nothing to check by")
    if name == "validate_response_language" and find_spec("langdetect") is None:
        raise ValueError(
            f"{name}: needs the package langdetect; pip install 'rlcotrain[ifeval]' brings it"
        )
    return name, {key: given[key] for key in needs}


def _fits(key: str, value: Any) -> bool:
    if key in ("N", "i"):
        return isinstance(value, int) and not isinstance(value, bool) and value >= (key == "i")
    if key in ("keyword_list", "forbidden_words", "options"):
        return isinstance(value, list) and all(isinstance(one, str) for one in value)
    if key == "letter":
        return isinstance(value, str) and len(value) == 1
    return value in QUANTIFIERS if key == "quantifier" else isinstance(value, str)


def _keywords(text: str, keyword_list: Sequence[str]) -> bool:
    return all(word.lower() in text.lower() for word in keyword_list)


def _keyword_frequency(text: str, word: str, N: int) -> bool:
    return WORD.findall(text.lower()).count(word.lower()) == N


def _forbidden_words(text: str, forbidden_words: Sequence[str]) -> bool:
    return not any(word.lower() in text.lower() for word in forbidden_words)


def _letter_frequency(text: str, letter: str, N: int) -> bool:
    return text.count(letter) == N


def _language(text: str, language: str) -> bool:
    from langdetect import DetectorFactory, LangDetectException, detect

    DetectorFactory.seed = 0  # without one, two calls may differ
    try:
        return bool(detect(text) == language)
    except LangDetectException:  # a text without letters
        return False


def _divided(text: str, N: int) -> bool:
    """Paragraphs with the divider * * * between them."""
    parts = "\n".join(line.strip() for line in text.splitlines()).split("* * *")
    return len(parts) == N and all(part.strip() for part in parts)


def _words(text: str, N: int, quantifier: str) -> bool:
    return _counts(len(text.split()), N, quantifier, max(round(N * 0.1), 1))


def _sentences(text: str, N: int, quantifier: str) -> bool:
    return _counts(len(SENTENCE_END.split(text)), N, quantifier, 1)


def _capitals(text: str, N: int, quantifier: str) -> bool:
    return _counts(len(CAPITALS.findall(text)), N, quantifier, max(round(N * 0.1), 1))


def _counts(found: int, wanted: int, quantifier: str, tolerance: int) -> bool:
    if quantifier == "around":
        return abs(found - wanted) <= tolerance
    return found >= wanted if quantifier == "at least" else found <= wanted


def _paragraphs(text: str, N: int, first_word: str, i: int) -> bool:
    """Paragraphs with an empty line between them."""
    parts = text.split("\n\n")
    return len(parts) == N and i <= N and parts[i - 1].strip().startswith(first_word)


def _postscript(text: str, postscript_marker: str) -> bool:
    _, found, rest = text.partition(postscript_marker)
    return bool(found and rest.strip())


def _placeholders(text: str, N: int) -> bool:
    return _enclosed(text, "[", "]") >= N


def _bullets(text: str, N: int) -> bool:
    return sum(line.strip().startswith(("*", "-")) for line in text.split("\n")) == N


def _title(text: str) -> bool:
    return _enclosed(text, "<<", ">>") > 0


def _choice(text: str, options: Sequence[str]) -> bool:
    return any(option in text for option in options)


def _highlights(text: str, N: int) -> bool:
    return _enclosed(text, "*", "*") >= N


def _enclosed(text: str, opening: str, closing: str) -> int:
    """How often something stands between two marks of one line."""
    return sum(_enclosed_in(line, opening, closing) for line in text.split("\n"))


def _enclosed_in(line: str, opening: str, closing: str) -> int:
    count, at = 0, line.find(opening)
    while at >= 0 and (end := line.find(closing, at + len(opening))) >= 0:
        count, at = count + 1, line.find(opening, end + len(closing))
    return count


def _sections(text: str, N: int, section_splitter: str) -> bool:
    """Numbered: "Section 1"."""
    return len(re.findall(re.escape(section_splitter) + r"\s?\d+", text, re.IGNORECASE)) >= N


def _json(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def _repeats(text: str, original_prompt: str) -> bool:
    return text.startswith(original_prompt)


def _two_responses(text: str) -> bool:
    first, divider, second = text.partition("******")
    return bool(divider) and "******" not in second and first.strip() != second.strip()


def _uppercase(text: str) -> bool:
    return text == text.upper()


def _lowercase(text: str) -> bool:
    return text == text.lower()


def _ends(text: str, end_phrase: str) -> bool:
    return text.endswith(end_phrase)


def _quotation(text: str) -> bool:
    return text.startswith('"') and text.endswith('"')


def _no_commas(text: str) -> bool:
    return "," not in text


RULES: dict[str, Callable[..., bool]] = {
    "verify_keywords": _keywords,
    "verify_keyword_frequency": _keyword_frequency,
    "validate_forbidden_words": _forbidden_words,
    "verify_letter_frequency": _letter_frequency,
    "validate_response_language": _language,
    "verify_paragraph_count": _divided,
    "validate_word_constraint": _words,
    "verify_sentence_constraint": _sentences,
    "validate_paragraphs": _paragraphs,
    "verify_postscript": _postscript,
    "validate_placeholders": _placeholders,
    "verify_bullet_points": _bullets,
    "validate_title": _title,
    "validate_choice": _choice,
    "validate_highlighted_sections": _highlights,
    "validate_sections": _sections,
    "validate_json_format": _json,
    "validate_repeat_prompt": _repeats,
    "validate_two_responses": _two_responses,
    "validate_uppercase": _uppercase,
    "validate_lowercase": _lowercase,
    "validate_frequency_capital_words": _capitals,
    "validate_end": _ends,
    "validate_quotation": _quotation,
    "validate_no_commas": _no_commas,
}
