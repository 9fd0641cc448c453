"""Graders that find an answer in a text and compare it with the known one by mathematics."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from rlcotrain.grader.passage import first_answer, passages
from rlcotrain.grader.pool import Result, shared_pool
from rlcotrain.grader.single import known_answer, nothing, verdict
from rlcotrain.types import Grade, GradeStatus, Problem

Word = Literal["right", "wrong"] | GradeStatus
# What is so of the answer, where the known answer alone was read in time.
BLAMED: Mapping[Word, Word] = {"timeout": "answer_timeout", "crashed": "answer_crashed"}
Outcome = tuple[Word, str | None]  # and the answer as it was read


@dataclass(frozen=True, slots=True)
class Found:
    """An answer, and the rule that found it."""

    rule: str
    text: str


class Compared(ABC):
    """What can be told from the strings is told here, the rest by a pool of processes.

    workers: processes, shared by all graders of the same settings; timeout: seconds a comparison
    may take; memory: bytes a process may use. An answer that takes more is wrong (answer_timeout,
    answer_crashed) where the known answer is compared with a plain one in time; else the grader
    failed, and there is no score (timeout, crashed).
    """

    task: str  # of the pool (rlcotrain.grader.symbolic)
    rule: str  # how it looks for answers, to be named where there is none
    plain = "x+7"  # an answer that is read and compared in no time
    waits = True
    longest = 2000  # characters of an answer; what is longer is none

    def __init__(self, *, workers: int, timeout: float, memory: int) -> None:
        self.settings = workers, timeout, memory
        shared_pool(*self.settings)  # refuses wrong settings; no process starts before it is used

    @abstractmethod
    def find(self, text: str) -> list[Found]:
        """Answers of a text, by falling trust; right if one of them is. [] where it has none."""

    def unmarked(self, text: str) -> list[Found]:
        """Answers of a passage that marks none; asked about the first one only."""
        return []

    def asked(self, gold: str, answer: str) -> tuple[str, str]:
        """What the pool compares for a known answer and one of a text."""
        return gold, answer

    @abstractmethod
    def quick(self, gold: str, answer: str) -> bool | None:
        """Whether they are equal, as far as the strings tell; None where they do not."""

    def grade(self, texts: Sequence[str], problems: Sequence[Problem]) -> list[Grade]:
        """One grade a text, in order; all comparisons of the batch run side by side."""
        golds = [known_answer(problem) for problem in problems]
        found = [self._find(text) for text in texts]
        pairs = [
            (gold, answer.text)
            for gold, answers in zip(golds, found, strict=True)
            for answer in answers
        ]
        outcomes = self._compare(pairs)
        return [
            self._grade([(answer, *outcomes[gold, answer.text]) for answer in answers])
            for gold, answers in zip(golds, found, strict=True)
        ]

    def check(self, problem: Problem) -> None:
        """ValueError for a known answer that is blank or far too long."""
        answer = known_answer(problem)
        if not answer.strip() or len(answer) > self.longest:
            raise ValueError(
                f"known answer {answer!r:.60} is none to compare with; expected 1 to "
                f"{self.longest} characters that are not all blank"
            )

    def extract(self, text: str) -> str | None:
        """The answer that is trusted most, None where there is none: what a majority votes on."""
        found = self._find(text)
        return found[0].text if found and len(found[0].text) <= self.longest else None

    def _find(self, text: str) -> list[Found]:
        return first_answer(text, self.find) or self.unmarked(passages(text)[0])

    def _compare(self, pairs: Sequence[tuple[str, str]]) -> dict[tuple[str, str], Outcome]:
        """Outcomes by (gold, answer)."""
        outcomes = dict[tuple[str, str], Outcome]()
        asked = dict[tuple[str, str], tuple[str, str]]()
        for gold, text in dict.fromkeys(pairs):
            if len(text) > self.longest:
                outcomes[gold, text] = "unparsable", None
            elif (equal := self.quick(gold, text)) is not None:
                outcomes[gold, text] = "right" if equal else "wrong", text
            else:
                asked[gold, text] = self.asked(gold, text)
        results = self._pooled([*asked.values()])
        for pair, result in zip(asked, results, strict=True):
            outcomes[pair] = _outcome(result, pair[1])
        late = {asked[pair][0] for pair in asked if outcomes[pair][0] in BLAMED}
        readable = self._readable(list(late))
        for pair in asked:
            word, read = outcomes[pair]
            if asked[pair][0] in readable:
                outcomes[pair] = BLAMED.get(word, word), read
        return outcomes

    def _pooled(self, pairs: Sequence[tuple[str, str]]) -> list[Result]:
        """What the pool says of pairs; its processes start with the first."""
        if not pairs:
            return []
        return shared_pool(*self.settings).run([(self.task, *pair) for pair in pairs])

    def _readable(self, golds: Sequence[str]) -> set[str]:
        """Known answers that are compared with a plain one in time: the fault is not theirs."""
        own = self._pooled([(gold, self.plain) for gold in golds])
        return {gold for gold, result in zip(golds, own, strict=True) if result.status == "ok"}

    def _grade(self, judged: Sequence[tuple[Found, Word, str | None]]) -> Grade:
        """The grade by the first right answer, else by one that may have been right."""
        if not judged:
            return nothing(self.rule)
        for wanted in ("right", *BLAMED, *BLAMED.values()):
            for answer, word, read in judged:
                if word == wanted:
                    return _graded(answer, word, read)
        return _graded(*judged[0])


def _graded(answer: Found, word: Word, read: str | None) -> Grade:
    if word == "right" or word == "wrong":
        return verdict(word == "right", read or "", answer.rule)
    score = None if word in BLAMED else 0.0
    return Grade(score=score, extracted=read, rule=answer.rule, status=word)


def _outcome(result: Result, text: str) -> Outcome:
    """The outcome of an answer; the library's own grader says what it read, if not all of it."""
    if result.status != "ok":
        return result.status, None
    word, read = result.value
    return word, text if read is None else read or None
