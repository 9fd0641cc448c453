"""A model judges: it reads problem and solution and writes a judgement of every step and a verdict.

Rules of RL Tango (arXiv 2505.15034; code kaiwenzha/rl-tango): the verifier's own rows earn, on one
stream and summed raw, agreement of their final verdict with the grader plus weighted format.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import islice
from typing import Literal

import numpy as np

from rlcotrain.grader.single import waits
from rlcotrain.types import (
    Grade,
    Grader,
    Judgement,
    Prompt,
    Rollout,
    Sampling,
    Speakers,
    Turn,
    Verdict,
)
from rlcotrain.verifier.judgement import MARKS, TAGS, format_score, read


class Llm:
    """The role `verifier` judges; its policy learns where a phase trains it, else it is frozen.

    steps: whether marks are asked for and paid to the generator as the stream `step`.
    gold_weight: the generator's outcome is gold_weight * grader + (1 - gold_weight) * verdict, so
        0 pays by the verdict alone and reads no known answer for it.
    format_weight: what a well-formed judgement earns beside agreement (gamma, 0.8 in Tango).
    format: `strict` rewards a judgement only if it is well-formed and its verdict follows from its
        marks: otherwise the label teaches the marks nothing, and once most solutions are right,
        "right" whatever the marks are is the cheapest verdict. `graded` rewards agreement wherever
        the verdict can be read, and format by degrees (Tango's code).
    blind_spot: whose errors demonstrations of judging have: the generator's own (shared) or errors
        of their own (independent).
    """

    def __init__(
        self,
        *,
        grader: Grader,
        steps: bool,
        gold_weight: float,
        format: Literal["strict", "graded"],
        format_weight: float,
        blind_spot: Literal["shared", "independent"],
        temperature: float,
        max_tokens: int,
        stop: Sequence[str],
    ) -> None:
        if not 0 <= gold_weight <= 1:
            raise ValueError(f"verifier.gold_weight={gold_weight}: must lie in 0..1")
        if format_weight < 0:
            raise ValueError(f"verifier.format_weight={format_weight}: must be 0 or more")
        if temperature <= 0:
            raise ValueError(
                f"verifier.temperature={temperature}: must be above 0, verifications of one "
                "solution are compared with each other"
            )
        # what its policy must be able to write
        self.marks = (*(TAGS if steps else TAGS[2:]), *MARKS)
        _check_stop(stop, self.marks)
        self.grader = grader
        self.steps = steps
        self.gold_weight = gold_weight
        self.format = format
        self.usable = {"ok"} if format == "strict" else {"ok", "contradictory"}
        self.format_weight = format_weight
        self.blind_spot = blind_spot
        self.sampling = Sampling(temperature=temperature, max_tokens=max_tokens, stop=tuple(stop))
        self.needs_answers = gold_weight > 0
        self.streams = ("outcome", "step", "verdict") if steps else ("outcome", "verdict")

    def judge(
        self, rollouts: list[Rollout], agents: Speakers, turn: Turn
    ) -> tuple[list[Verdict], list[Rollout]]:
        """One verdict a row, and `turn.verifications` judgements a row, all asked in one batch.

        A solution that leaves the verifier no room has no judgement, and its verdict is missing.
        """
        heard, grades = self._ask(rollouts, agents, turn, self.sampling)
        verdicts = [
            self._verdict(rollout, grade, rows)
            for rollout, grade, rows in zip(rollouts, grades, heard, strict=True)
        ]
        return verdicts, [self._pay(row) for rows in heard for row in rows]

    def ask(
        self, rollouts: Sequence[Rollout], agents: Speakers, turn: Turn, sampling: Sampling
    ) -> list[Rollout]:
        """Judgements, read and held against what is known, not yet paid; a row's side by side.

        Only judgements of one solution are peers.
        """
        heard, _ = self._ask(rollouts, agents, turn, sampling)
        return [row for rows in heard for row in rows]

    def _ask(
        self, rollouts: Sequence[Rollout], agents: Speakers, turn: Turn, sampling: Sampling
    ) -> tuple[list[list[Rollout]], list[Grade | None]]:
        """The judgements of each solution, none where it leaves no room for them, and what the
        grader says of it, meanwhile where it only waits.
        """
        wording = turn.task.wording
        prompts = [
            Prompt(
                problem=row.problem,
                messages=wording.judge_messages(row.problem, row.text, row.stop == "stop"),
                peers=f"{row.episode}/{position}/verifier",  # solutions may share an episode
                episode=row.episode,
                optional=True,
            )
            for position, row in enumerate(rollouts)
        ]
        with ThreadPoolExecutor(max_workers=1) as beside:
            graded = beside.submit(self._grades, rollouts) if waits(self.grader) else None
            said = agents.sample(
                "verifier", prompts, turn.verifications, sampling, turn.seed, turn.step
            )
        grades = self._grades(rollouts) if graded is None else graded.result()
        count, answered = turn.verifications, {row.peers for row in said}
        whole, rest, heard = len(said) == count * len(prompts), iter(said), list[list[Rollout]]()
        for prompt, row, grade in zip(prompts, rollouts, grades, strict=True):
            facts = self._facts(row, grade, turn)
            mine = islice(rest, count if whole or prompt.peers in answered else 0)
            heard.append([replace(one, judgement=self._read(one, facts)) for one in mine])
        return heard, grades

    def _grades(self, rollouts: Sequence[Rollout]) -> list[Grade | None]:
        """The grader's word on each solution, None where no answer is known."""
        known = [i for i, row in enumerate(rollouts) if row.problem.answer is not None]
        texts, problems = [rollouts[i].text for i in known], [rollouts[i].problem for i in known]
        found = dict(zip(known, self.grader.grade(texts, problems), strict=True))
        return [found.get(i) for i in range(len(rollouts))]

    def _facts(self, judged: Rollout, grade: Grade | None, turn: Turn) -> Judgement:
        """What is known of a solution, before anything is said of it."""
        spans = turn.task.wording.steps(judged.text, judged.stop == "stop")
        steps = [judged.text[start:end] for start, end in spans]
        score = None if grade is None else grade.score
        return Judgement(
            verdict=Verdict(score=None, status="missing"),
            right=None if score is None else score >= 0.5,
            count=len(steps),
            finished=judged.stop == "stop",
            steps=turn.task.truth(judged.problem, steps),
        )

    def _read(self, row: Rollout, facts: Judgement) -> Judgement:
        count = facts.count if self.steps else None
        return replace(facts, verdict=read(row.text, row.stop, count, facts.finished))

    def _verdict(self, judged: Rollout, grade: Grade | None, rows: Sequence[Rollout]) -> Verdict:
        """What the judgements of one solution come to: means over those that can be read."""
        verdicts = [row.judgement.verdict for row in rows if row.judgement is not None]
        clear = [verdict for verdict in verdicts if verdict.status in self.usable]
        scores = [verdict.score for verdict in clear if verdict.score is not None]
        marks = np.mean([verdict.steps for verdict in clear], axis=0).tolist() if clear else ()
        if self.gold_weight > 0 and grade is None:
            raise ValueError(
                f"problem {judged.problem.id!r} has no known answer, as "
                f"verifier.gold_weight={self.gold_weight} needs; 0 does without"
            )
        return Verdict(
            score=self._mixed(None if grade is None else grade.score, scores),
            steps=tuple(marks),
            status="ok" if clear else next((v.status for v in verdicts), "missing"),
            grade=grade,
        )

    def _mixed(self, gold: float | None, scores: Sequence[float]) -> float | None:
        """Grader and verdicts as gold_weight weighs them; None where one that counts is missing."""
        if self.gold_weight > 0 and gold is None:
            return None
        if self.gold_weight == 1:
            return gold
        if not scores:
            return None
        return self.gold_weight * (gold or 0.0) + (1 - self.gold_weight) * float(np.mean(scores))

    def _pay(self, row: Rollout) -> Rollout:
        """The row with what its judgement earned; without a known answer it goes without."""
        assert row.judgement is not None
        verdict, right = row.judgement.verdict, row.judgement.right
        if right is None:
            return row
        if self.format == "strict":
            well_formed = float(verdict.status == "ok")
            agrees = bool(well_formed) and verdict.score == float(right)
        else:
            count = None if not self.steps else row.judgement.count
            well_formed = format_score(row.text, verdict, count)
            agrees = verdict.extracted is not None and MARKS[verdict.extracted] == float(right)
        row = row.give("verdict", float(agrees), part="correct")
        return row.give("verdict", self.format_weight * well_formed, part="format")


def _check_stop(stop: Sequence[str], marks: Sequence[str]) -> None:
    """ValueError for a string that would end every judgement before it is whole."""
    for end in stop:
        if any(end in mark or mark in end for mark in marks):
            raise ValueError(
                f"verifier.stop={list(stop)}: {end!r} would cut a judgement off at what it must "
                f"hold, {' '.join(marks)}; the end of sequence ends it"
            )
