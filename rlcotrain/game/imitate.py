"""Rows made from worked solutions; nothing is sampled. With the loss nll this is SFT."""

from collections.abc import Sequence
from dataclasses import replace

from rlcotrain.game.outcome import ask
from rlcotrain.model.agents import Agents
from rlcotrain.types import Grader, Problem, Rollout, Turn


class Imitate:
    """One row a problem and role: its worked solution, as the role should have said it.

    The grader's score is recorded on the stream `outcome`: how much of the corpus is right.
    """

    streams = ("outcome",)
    samples = False
    needs_answers = False

    def __init__(self, grader: Grader, roles: Sequence[str]) -> None:
        self.grader = grader
        self.roles = tuple(roles)

    def play(self, problems: list[Problem], agents: Agents, turn: Turn) -> list[Rollout]:
        """ValueError for a problem without a worked solution."""
        texts = [_solution(problem) for problem in problems]
        rows = [
            row for role in self.roles for row in agents.say(role, ask(problems, turn, role), texts)
        ]
        known = [i for i, row in enumerate(rows) if row.problem.answer is not None]
        said, asked = [rows[i].text for i in known], [rows[i].problem for i in known]
        for i, grade in zip(known, self.grader.grade(said, asked), strict=True):
            rows[i] = replace(rows[i], grade=grade)
            if grade.score is not None:
                rows[i] = rows[i].give("outcome", grade.score, part="correct")
        return rows


def _solution(problem: Problem) -> str:
    if problem.solution is None:
        raise ValueError(
            f"game=imitate: problem {problem.id} has no worked solution; "
            "choose a data set that has them or a schedule without imitation"
        )
    return problem.solution
