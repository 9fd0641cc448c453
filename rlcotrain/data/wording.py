"""How a problem is put to the models, where a reply ends, and where its steps do."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from rlcotrain.types import Messages, Problem, Words

StepStyle = Literal["tag", "line"]
OPEN, CLOSE = "<step>", "</step>"
PLACE = re.compile(r"\{(question|solution|count)\}")
# The `<` of a tag of judgements, however it is written: one that looks like it may pass for it.
# Characters that cannot be seen may stand in it, and some tokenizers fold full-width ones.
UNSEEN = (
    r"\x00-\x08\x0e-\x1f\x7f-\x9f\u00ad\u034f\u061c\u180b-\u180f\u200b-\u200f\u202a-\u202e"
    r"\u2060-\u206f\ufe00-\ufe0f\ufeff"
)


def _tag(*names: str) -> re.Pattern[str]:
    wide = [[f"[{letter}{chr(ord(letter) + 0xFEE0)}]" for letter in name] for name in names]
    one_of = "|".join(f"[{UNSEEN}]*".join(letters) for letters in wide)
    return re.compile(rf"[<\uff1c\ufe64](?=[\s/\uff0f{UNSEEN}]*(?:{one_of})\b)", re.IGNORECASE)


TAG = _tag("step", "verdict")
VERDICT_TAG = _tag("verdict")
# The beginning of a tag, which what stands behind the question would close.
BEGUN = re.compile(
    rf"[<\uff1c\ufe64](?=[\s/\uff0f{UNSEEN}]*"
    r"(?:s(?:t(?:e(?:p)?)?)?|v(?:e(?:r(?:d(?:i(?:c(?:t)?)?)?)?)?)?)?\Z)",
    re.IGNORECASE,
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Wording:
    """`template` is the user's message; `stop` are the strings that end a completion.

    prefix: how every completion begins, read by the model and not said by it.
    examples: {question, answer} pairs that stand before the question, in words of `template`. Over
    `examples_until` steps they are phased out, the last of them first; None keeps them.
    max_tokens: room for a completion, unless `sampling.max_tokens` says otherwise.
    step_style: a solution's steps are `<step>...</step>` (tag) or lines (line; not `####` ones).
    judge_template: what the verifier reads; judge_system, judge_stop and judge_tokens likewise.
    """

    template: str = "{question}"
    system: str | None = None
    prefix: str = ""
    examples: Sequence[Mapping[str, str]] = ()
    examples_until: int | None = None
    stop: Sequence[str] = ()
    max_tokens: int = 512
    step_style: StepStyle = "tag"
    judge_template: str = "{question}{solution}"
    judge_system: str | None = None
    judge_stop: Sequence[str] = ()
    judge_tokens: int = 512

    def __post_init__(self) -> None:
        needed = {"template": ["question"], "judge_template": ["question", "solution"]}
        for key, places in needed.items():
            for place in places:
                if f"{{{place}}}" not in getattr(self, key):
                    raise ValueError(
                        f"data.wording.{key}={getattr(self, key)!r} must contain {{{place}}}"
                    )

        for example in self.examples:
            if set(example) != {"question", "answer"}:
                raise ValueError(
                    f"data.wording.examples: holds {dict(example)!r:.60}, expected question and "
                    "answer of each"
                )
        if self.examples_until is not None and self.examples_until < 1:
            raise ValueError(
                f"data.wording.examples_until={self.examples_until}: must be 1 or more, or null"
            )

    def messages(self, problem: Problem, lead: int | None = None) -> Messages:
        """The system message, if there is one, then the question as the user's message.

        lead: steps that the leading phase has done, None: as at the end of training. A `prefix` is
        the beginning of an assistant's message.
        """
        parts = []
        for one in self.shown(lead):
            parts += [*self._ask(str(one["question"])), (" ", False), (str(one["answer"]), True)]
            parts += [("\n\n", False)]
        speech = _speech(self.system, Words.of(*parts, *self._ask(problem.question)))
        begun = {"role": "assistant", "content": Words(self.prefix)}
        return (*speech, begun) if self.prefix else speech

    def shown(self, lead: int | None) -> Sequence[Mapping[str, str]]:
        """The examples of a step: ceil(n * (1 - lead / examples_until)) of n."""
        if self.examples_until is None:
            return self.examples
        left = self.examples_until - (self.examples_until if lead is None else lead)
        return self.examples[: -(-len(self.examples) * max(left, 0) // self.examples_until)]

    def _ask(self, question: str) -> list[tuple[str, bool]]:
        """Parts of Words. Of the template's braces only {question} is a place, not \\boxed{}."""
        first, *others = self.template.split("{question}")
        parts = [(first, False)]
        for other in others:
            parts += [(question, True), (other, False)]
        return parts

    def judge_messages(self, problem: Problem, solution: str, finished: bool) -> Messages:
        """What the verifier reads: the question, the solution in marked steps, their number.

        The tags of a judgement are the verifier's. Where question or solution write one, its `<`
        is `&lt;`; only solutions whose steps are tagged keep their own `<step>` and `</step>`.
        """
        steps = self.steps(solution, finished)
        if self.step_style == "line":
            solution = _mark(solution, steps)
        else:
            solution = VERDICT_TAG.sub("&lt;", solution)
        places = {
            "question": BEGUN.sub("&lt;", TAG.sub("&lt;", problem.question)),
            "solution": solution,
            "count": str(len(steps)),
        }
        # One pass: a solution that says {question} must not be filled in.
        words = PLACE.split(self.judge_template)  # own, place, own, place ...
        parts = [(places[w], True) if i % 2 else (w, False) for i, w in enumerate(words)]
        return _speech(self.judge_system, Words.of(*parts))

    def tagged(self) -> Wording:
        """The same for solutions whose steps are tagged."""
        return replace(self, step_style="tag")

    def steps(self, text: str, finished: bool) -> list[tuple[int, int]]:
        """(start, end) characters of every step; one that the length limit cut has no end."""
        return _tagged(text) if self.step_style == "tag" else _lines(text, finished)


def says_something(text: str) -> bool:
    """Whether a step shows more than spaces and characters that cannot be seen."""
    return any(letter.isprintable() and not letter.isspace() for letter in text)


def _speech(system: str | None, text: Words) -> Messages:
    user = {"role": "user", "content": text}
    told = {"role": "system", "content": Words(system or "")}
    return (user,) if system is None else (told, user)


def _tagged(text: str) -> list[tuple[int, int]]:
    """Every `<step>...</step>` that says something, without a tag inside; found in linear time."""
    spans, seen = [], 0
    while (close := text.find(CLOSE, seen)) >= 0:
        start = text.rfind(OPEN, seen, close)
        seen = close + len(CLOSE)
        if start >= 0 and says_something(text[start + len(OPEN) : close]):
            spans.append((start, seen))
    return spans


def _lines(text: str, finished: bool) -> list[tuple[int, int]]:
    """Every line that says something and is no `####` answer; the last may be cut."""
    spans, start = [], 0
    for line in text.split("\n"):
        shown, after = says_something(line), start + len(line) + 1
        shown &= not line.lstrip().startswith("####")
        if shown and (finished or after <= len(text)):
            spans.append((start, start + len(line.rstrip())))
        start = after
    return spans


def _mark(text: str, steps: Sequence[tuple[int, int]]) -> str:
    """The text with each of its steps between tags, and no others in it."""
    parts, at = [], 0
    for start, end in steps:
        between, step = (TAG.sub("&lt;", text[a:b]) for a, b in ((at, start), (start, end)))
        parts += [between, OPEN, step, CLOSE]
        at = end
    return "".join([*parts, TAG.sub("&lt;", text[at:])])
