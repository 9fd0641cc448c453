"""What games of one answer have in common: a prompt a problem, and a verdict on each row."""

from collections.abc import Sequence

from rlcotrain.types import Problem, Prompt, Rollout, Turn, Verdict


def ask(problems: Sequence[Problem], turn: Turn, role: str) -> list[Prompt]:
    """One prompt a problem; rows of one prompt are peers."""
    return [
        Prompt(
            problem=problem,
            messages=turn.messages(problem),
            peers=f"{turn.step}/{position}/{role}",
            episode=f"{turn.step}/{position}",
        )
        for position, problem in enumerate(problems)
    ]


def reward(rows: Sequence[Rollout], verdicts: Sequence[Verdict]) -> list[Rollout]:
    """Rows with their verdict on the stream `outcome`; without a verdict a row goes without."""
    return [
        row if verdict.score is None else row.give("outcome", verdict.score, part="correct")
        for row, verdict in zip(rows, verdicts, strict=True)
    ]
