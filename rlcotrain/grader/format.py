"""Whether a completion has the wanted form, whatever it answers; no answer need be known."""

import re
from collections.abc import Callable, Sequence
from typing import Literal

from rlcotrain.grader.latex import boxed
from rlcotrain.types import Grade, Problem

Form = Literal["think", "think_answer", "answer_tag", "boxed", "hash", "answer_is"]
HASH_LINE = re.compile(r"####[ \t]*[^\s#].*")
SENTENCE = re.compile(r"\b[Tt]he answer is[ ]\S")


class Format:
    """1 for the form, 0 elsewhere.

    think: opens with `<think>`, its only one, and closes it (TRL's think_format_reward)
    think_answer: `<think>...</think><answer>...</answer>` and nothing else (arXiv 2501.12948)
    answer_tag: ends in `<answer>...</answer>`, its only one
    boxed: one closed, filled box and no more
    hash: one `#### ` mark, and the answer behind it ends the text
    answer_is: the last line ends in "The answer is ...."
    """

    def __init__(self, *, form: Form) -> None:
        self.form = form

    def grade(self, texts: Sequence[str], problems: Sequence[Problem]) -> list[Grade]:
        """One grade a text, in order."""
        return [
            Grade(
                score=float(FORMS[self.form](text.strip())),
                extracted=None,
                rule=self.form,
                status="ok",
            )
            for text in texts
        ]

    def check(self, problem: Problem) -> None:
        """Nothing: any problem will do."""


def _think(text: str) -> bool:
    return text.startswith("<think>") and text.count("<think>") == 1 and "</think>" in text


def _think_answer(text: str) -> bool:
    thought, closed, rest = text.partition("</think>")
    return _think(text) and bool(closed) and _is_tagged(rest.strip()) and "<answer>" not in thought


def _is_tagged(text: str) -> bool:
    once = text.count("<answer>") == text.count("</answer>") == 1
    return once and text.startswith("<answer>") and text.endswith("</answer>")


def _answer_tag(text: str) -> bool:
    _, opened, rest = text.partition("<answer>")
    return _is_tagged(opened + rest)


def _boxed(text: str) -> bool:
    boxes = boxed(text)
    return len(boxes) == 1 == text.count("\\boxed") and bool(boxes[0].strip())


def _hash(text: str) -> bool:
    last = text.rpartition("\n")[2].strip()
    return text.count("####") == 1 and HASH_LINE.fullmatch(last) is not None


def _answer_is(text: str) -> bool:
    last = text.rpartition("\n")[2]
    return last.endswith(".") and SENTENCE.search(last) is not None


FORMS: dict[str, Callable[[str], bool]] = {
    "think": _think,
    "think_answer": _think_answer,
    "answer_tag": _answer_tag,
    "boxed": _boxed,
    "hash": _hash,
    "answer_is": _answer_is,
}
