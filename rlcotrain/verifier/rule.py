"""A program judges: each row against the known answer of its problem."""

from rlcotrain.types import Grader, Rollout, Speakers, Turn, Verdict


class Rule:
    """The grader's score is the verdict; a row that gives no answer is wrong, and so is judged."""

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
        return [self._verdict(rollout) for rollout in rollouts], []

    def _verdict(self, rollout: Rollout) -> Verdict:
        problem = rollout.problem
        if problem.answer is None:
            raise ValueError(
                f"problem {problem.id!r} has no known answer, as verifier=rule needs; "
                "verifier=majority does without"
            )
        grade = self.grader.grade(rollout.text, problem.answer)
        return Verdict(score=grade.score, extracted=grade.extracted)
