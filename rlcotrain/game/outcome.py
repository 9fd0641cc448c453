"""What games of one answer have in common: a prompt a problem, and rewards from verdicts."""

from collections.abc import Sequence
from dataclasses import replace

from rlcotrain.types import Problem, Prompt, Rollout, Speakers, Turn, Verdict


def ask(problems: Sequence[Problem], turn: Turn, role: str) -> list[Prompt]:
    """One prompt a problem; rows of one prompt are peers."""
    return [
        Prompt(
            problem=problem,
            messages=turn.task.wording.messages(problem, turn.lead),
            peers=f"{turn.step}/{position}/{role}",
            episode=f"{turn.step}/{position}",
        )
        for position, problem in enumerate(problems)
    ]


def reward(
    rows: Sequence[Rollout],
    verdicts: Sequence[Verdict],
    agents: Speakers,
    turn: Turn,
    marked: bool = False,
) -> list[Rollout]:
    """Rows with their grades, and their verdicts on the streams `outcome` and `step`.

    Without a score, or without one mark a step, a row goes without that stream. marked: verdicts
    are those of a verifier that marks steps; a row in which it was shown none has earned -1, as one
    whose steps are all wrong: else a solution could escape its marks by showing no step.
    """
    graded = [
        replace(row, grade=verdict.grade) for row, verdict in zip(rows, verdicts, strict=True)
    ]
    scored = [
        row if verdict.score is None else row.give("outcome", verdict.score, part="correct")
        for row, verdict in zip(graded, verdicts, strict=True)
    ]
    return [
        _reward_steps(row, verdict.steps, agents, turn)
        if verdict.steps or (marked and verdict.status == "ok")
        else row
        for row, verdict in zip(scored, verdicts, strict=True)
    ]


def _reward_steps(row: Rollout, marks: Sequence[float], agents: Speakers, turn: Turn) -> Rollout:
    """+1/K for a right step, -1/K for a wrong one, between for a mark between; -1 without any."""
    spans = turn.task.wording.steps(row.text, row.stop == "stop")
    if not spans and not marks:
        return row.give("step", -1.0)
    if len(spans) != len(marks):
        return row
    start = 0  # what stands between two steps belongs to the later one
    for mark, end in zip(marks, agents.token_ends(row, [end for _, end in spans]), strict=True):
        row = row.give("step", (2 * mark - 1) / len(marks), start=start, end=end)
        start = end
    return row
