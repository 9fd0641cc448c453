"""A program judges: each row against the known answer of its problem."""

from rlcotrain.types import Grade, Grader, Rollout, Speakers, Turn, Verdict


class Rule:
    """The grader's score is the verdict; a row that gives no answer is wrong, and so is judged.

    Where the grader could not find out (timeout, crashed), the verdict is missing.
    """

    needs_answers = True
    streams = ("outcome",)

    def __init__(self, *, grader: Grader) -> None:
        self.grader = grader

    def judge(
        self, rollouts: list[Rollout], agents: Speakers, turn: Turn
    ) -> tuple[list[Verdict], list[Rollout]]:
        """One verdict a row, rows cut at the length limit included; a rule has no rows of its own.

        ValueError for a problem without a known answer.
        """
        problems = [rollout.problem for rollout in rollouts]
        for problem in problems:
            if problem.answer is None:
                raise ValueError(
                    f"problem {problem.id!r} has no known answer, as verifier=rule needs; "
                    "verifier=majority does without"
                )
        grades = self.grader.grade([rollout.text for rollout in rollouts], problems)
        return [_verdict(grade) for grade in grades], []


def _verdict(grade: Grade) -> Verdict:
    return Verdict(
        score=grade.score,
        status="ok" if grade.score is not None else "missing",
        extracted=grade.extracted,
        grade=grade,
    )
