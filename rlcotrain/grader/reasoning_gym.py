"""The scorer that the package reasoning-gym has for each of its tasks (arXiv 2505.24760)."""

import base64
import pickle
from collections.abc import Sequence

from rlcotrain.grader.answer_tag import tagged_answer
from rlcotrain.grader.passage import first_answer, passages
from rlcotrain.grader.pool import Job, Result, shared_pool
from rlcotrain.grader.single import nothing
from rlcotrain.types import Grade, Problem

TASKS = "rlcotrain.grader.gym_scores"
LONGEST = 20_000  # characters of an answer; what is longer is none


class ReasoningGymScorer:
    """What the package says of `<answer>...</answer>` or, without such a mark, of the whole text.

    Its scores lie in 0..1: some tasks give a share for an answer that is near, or of the right
    form. Scorers run in the pool, since some of them calculate what the model wrote.

    workers, timeout (seconds), memory (bytes): as for graders that compare by mathematics.
    """

    def __init__(self, *, workers: int, timeout: float, memory: int) -> None:
        self.pool = workers, timeout, memory, TASKS
        shared_pool(*self.pool)  # refuses wrong settings; no process starts before it is used

    def grade(self, texts: Sequence[str], problems: Sequence[Problem]) -> list[Grade]:
        """One grade a text, in order; all of the batch are scored side by side."""
        found = [_find(text) for text in texts]
        jobs = [
            _job(answer, problem) if answer and len(answer) <= LONGEST else None
            for (_, answer), problem in zip(found, problems, strict=True)
        ]
        results = iter(shared_pool(*self.pool).run([job for job in jobs if job is not None]))
        return [
            _grade(rule, answer, next(results) if job is not None else None)
            for (rule, answer), job in zip(found, jobs, strict=True)
        ]

    def check(self, problem: Problem) -> None:
        """ValueError for a problem that is not the package's."""
        _job("", problem)

    def extract(self, text: str) -> str | None:
        """The answer; None where the text gives none."""
        return _find(text)[1]


def _find(text: str) -> tuple[str, str | None]:
    """The rule that found the answer, and the answer."""
    tagged = first_answer(text, tagged_answer)
    rule, answer = ("text", passages(text)[0]) if tagged is None else ("answer_tag", tagged)
    return rule, answer.strip() or None


def _job(answer: str, problem: Problem) -> Job:
    """ValueError for a problem that is not the package's."""
    name = (problem.columns.get("metadata") or {}).get("source_dataset")
    if not isinstance(name, str):
        raise ValueError(
            f"problem {problem.id}: is none of the package reasoning-gym, as "
            "grader=reasoning_gym needs; data=reasoning_gym makes them"
        )
    # JSON would make lists of tuples, which some scorers tell apart.
    entry = base64.b64encode(pickle.dumps(dict(problem.columns))).decode()
    return "score", name, answer, entry


def _grade(rule: str, answer: str | None, result: Result | None) -> Grade:
    if answer is None:
        return nothing(rule)
    if result is None:
        return nothing(rule, "unparsable", answer[:100])
    if result.status != "ok":
        return Grade(score=None, extracted=answer, rule=rule, status=result.status)
    if result.value is None:
        return nothing(rule, "unparsable", answer)
    return Grade(score=result.value, extracted=answer, rule=rule, status="ok")
