"""The peers vote: what most of them answered passes for right (TTRL, arXiv 2504.16084).

No label is read. A row without an answer casts no vote and cannot win one, yet it is one of the
peers that `min_ratio` counts. A tie at the top elects nobody: whichever answer came first would
otherwise win by the order of the rows.
"""

from collections import Counter
from typing import Protocol

from rlcotrain.types import Rollout, Speakers, Turn, Verdict


class Extractor(Protocol):
    """A grader that can name a completion's answer, in one form for equal answers."""

    def extract(self, text: str) -> str | None: ...


class Majority:
    """1 for the answer of most peers, 0 for any other, no verdict where nothing was elected."""

    needs_answers = False
    streams = ("outcome",)

    def __init__(self, *, grader: Extractor, min_ratio: float) -> None:
        if not 0 <= min_ratio <= 1:
            raise ValueError(f"verifier.min_ratio={min_ratio} must lie in 0..1")
        if not hasattr(grader, "extract"):
            raise ValueError(
                f"verifier=majority: grader {type(grader).__name__} names no answer to vote on; "
                "number, gsm8k, math, exact, choice and last_letters do"
            )
        grader.extract("")  # or says itself that it does not
        self.grader = grader
        self.min_ratio = min_ratio

    def judge(
        self, rollouts: list[Rollout], agents: Speakers, turn: Turn
    ) -> tuple[list[Verdict], list[Rollout]]:
        """One verdict a row; `rollouts` must hold whole groups of peers. No rows of its own."""
        answers = [self.grader.extract(rollout.text) for rollout in rollouts]
        ballots: dict[str, list[str | None]] = {}
        for rollout, answer in zip(rollouts, answers, strict=True):
            ballots.setdefault(rollout.peers, []).append(answer)
        elected = {peers: elect(votes, self.min_ratio) for peers, votes in ballots.items()}
        return [
            verdict(answer, elected[rollout.peers])
            for rollout, answer in zip(rollouts, answers, strict=True)
        ], []


def elect(votes: list[str | None], min_ratio: float) -> str | None:
    """The one most frequent answer, if at least a share `min_ratio` of all peers gave it.

    A lone row elects nobody: it would always agree with itself.
    """
    ranked = Counter(vote for vote in votes if vote is not None).most_common(2)
    if len(votes) < 2 or not ranked or ranked[0][1] < min_ratio * len(votes):
        return None
    tied = len(ranked) == 2 and ranked[0][1] == ranked[1][1]
    return None if tied else ranked[0][0]


def verdict(answer: str | None, elected: str | None) -> Verdict:
    """Agreement with the elected answer; status `missing` where there is none."""
    if elected is None:
        return Verdict(score=None, status="missing", extracted=answer)
    return Verdict(score=float(answer == elected), extracted=answer)
