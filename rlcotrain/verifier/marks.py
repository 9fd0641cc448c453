"""Step marks from what the data know: controls that say what a verifier could be worth.

An oracle's marks, marks of a given quality, and marks that belong to somebody else.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Literal

from rlcotrain.seeds import derive_seed
from rlcotrain.types import Grade, Grader, Rollout, Speakers, Turn, Verdict

Shuffle = Literal["none", "steps", "rows", "all"]


class Marks:
    """The grader scores the answer; a program marks the steps.

    recall: share of wrong steps that are marked wrong; false_flags: share of right ones.
    shuffle: `steps` deals all marks of the batch anew (chance, at the same rate), `rows` hands each
    row the marks of another of as many steps among its peers, `all` the score of another as well;
    a row that has no such peer goes without marks.
    """

    needs_answers = True
    streams = ("outcome", "step")

    def __init__(
        self, *, grader: Grader, recall: float, false_flags: float, shuffle: Shuffle
    ) -> None:
        for key, value in (("recall", recall), ("false_flags", false_flags)):
            if not 0 <= value <= 1:
                raise ValueError(f"verifier.{key}={value}: must lie in 0..1")
        self.grader = grader
        self.recall, self.false_flags = recall, false_flags
        self.shuffle = shuffle

    def judge(
        self, rollouts: list[Rollout], agents: Speakers, turn: Turn
    ) -> tuple[list[Verdict], list[Rollout]]:
        """One verdict a row; ValueError for a problem whose steps the data cannot judge."""
        rng = Random(derive_seed(turn.seed, turn.step, "marks"))
        marks = [self._marks(rollout, turn, rng) for rollout in rollouts]
        grades = self._grades(rollouts)
        scores = [grade.score for grade in grades]
        if self.shuffle == "steps":
            marks = _dealt(marks, rng)
        elif self.shuffle in ("rows", "all"):
            order = _exchanged(
                [(r.peers, len(m)) for r, m in zip(rollouts, marks, strict=True)], rng
            )
            # A row that has no like among its peers goes without rather than keep its own.
            marks = [marks[j] if i != j else [] for i, j in enumerate(order)]
        if self.shuffle == "all":
            order = _exchanged([(r.peers, 0) for r in rollouts], rng)
            scores = [scores[i] for i in order]
        return [
            Verdict(score=score, steps=tuple(line), grade=grade)
            for score, line, grade in zip(scores, marks, grades, strict=True)
        ], []

    def _marks(self, rollout: Rollout, turn: Turn, rng: Random) -> list[float]:
        spans = turn.task.wording.steps(rollout.text, rollout.stop == "stop")
        steps = [rollout.text[start:end] for start, end in spans]
        truth = turn.task.truth(rollout.problem, steps)
        if truth is None:
            raise ValueError(
                f"problem {rollout.problem.id!r}: its data cannot tell which steps are right, as "
                "this verifier needs; data=arithmetic can"
            )
        flags = [rng.random() < (self.false_flags if step.right else self.recall) for step in truth]
        return [float(not flag) for flag in flags]

    def _grades(self, rollouts: Sequence[Rollout]) -> list[Grade]:
        problems = [rollout.problem for rollout in rollouts]
        for problem in problems:
            if problem.answer is None:
                raise ValueError(f"problem {problem.id!r} has no known answer to grade by")
        return self.grader.grade([rollout.text for rollout in rollouts], problems)


def _dealt(marks: Sequence[Sequence[float]], rng: Random) -> list[list[float]]:
    """The marks of all rows in one pack, shuffled, and dealt back in the rows' lengths."""
    pack = [mark for line in marks for mark in line]
    rng.shuffle(pack)
    cards = iter(pack)
    return [[next(cards) for _ in line] for line in marks]


def _exchanged(keys: Sequence[tuple[str, int]], rng: Random) -> list[int]:
    """A permutation that gives each row another of an equal key; a lone one keeps its place."""
    order = list(range(len(keys)))
    for key in dict.fromkeys(keys):
        members = [i for i, other in enumerate(keys) if other == key]
        turn = rng.randrange(1, len(members)) if len(members) > 1 else 0
        for place, i in enumerate(members):
            order[i] = members[(place + turn) % len(members)]
    return order
