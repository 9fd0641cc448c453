"""How reward streams are weighed against each other, and rare classes against frequent ones."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Literal

from rlcotrain.types import Rollout

Anneal = Literal["constant", "exponential", "linear", "cosine"]
Normalise = Literal["streams", "sum"]
SUM = "sum"


class Mix:
    """Stream weights: outcome times 1 - alpha, step times alpha, others as they are.

    A stream that is not named in `weights` is recorded and not learned from. alpha goes from
    `alpha` to `alpha_end` in `anneal_steps` steps of the leading phase (the generator's), where
    RL Tango (arXiv 2505.15034) has it fall exponentially to 1e-3, and stays there. phase_out: a
    stream's weight falls evenly to 0 in so many steps of that phase. normalise:
    `streams` each by itself and mixed afterwards (Tango's rule); `sum` makes one number of all that
    a row has earned, weighed, and normalises that, which its authors report to be unstable.
    """

    def __init__(
        self,
        weights: Mapping[str, float],
        alpha: float,
        anneal: Anneal,
        alpha_end: float,
        anneal_steps: int,
        phase_out: Mapping[str, int],
        normalise: Normalise,
    ) -> None:
        for key, value in (("alpha", alpha), ("alpha_end", alpha_end)):
            if not 0 <= value <= 1:
                raise ValueError(f"reward.{key}={value}: must lie in 0..1")
        if anneal == "exponential" and not 0 < alpha_end <= alpha:
            raise ValueError(
                f"reward.alpha_end={alpha_end}: an exponential never ends at 0 or above alpha, "
                f"so above 0 and at most {alpha}"
            )
        if anneal_steps < 0:
            raise ValueError(f"reward.anneal_steps={anneal_steps}: must be 0 or more")
        if alpha > 0 and not weights.get("step"):
            raise ValueError(
                f"reward.alpha={alpha}: pays the stream step, which reward.weights does not name; "
                "reward=steps does, and verifier=llm_steps emits it"
            )
        if not any(weights.values()):
            raise ValueError(f"reward.weights={dict(weights)}: at least one must not be 0")
        for stream, steps in phase_out.items():
            if stream not in weights or steps < 1:
                raise ValueError(
                    f"reward.phase_out.{stream}={steps}: must be 1 step or more, of a stream that "
                    f"reward.weights names: {', '.join(weights)}"
                )
        self._weights, self._phase_out = dict(weights), dict(phase_out)
        self.alpha_start, self.alpha_end = alpha, alpha_end
        self.anneal, self.anneal_steps = anneal, anneal_steps
        self.normalise = normalise

    def alpha(self, step: int) -> float:
        """alpha at a step of the leading phase, counted from 0."""
        assert step >= 0
        start, end = self.alpha_start, self.alpha_end
        done = min(step / max(self.anneal_steps, 1), 1.0)
        if self.anneal == "constant":
            return start
        if self.anneal == "exponential":
            return start * math.exp(-math.log(start / end) * done)
        left = 1 - done if self.anneal == "linear" else (1 + math.cos(math.pi * done)) / 2
        return end + (start - end) * left

    @property
    def streams(self) -> tuple[str, ...]:
        """The streams that count at some step."""
        ends = {self.alpha_start, self.alpha_start if self.anneal == "constant" else self.alpha_end}
        unused = {"step"} if ends == {0.0} else {"outcome"} if ends == {1.0} else set()
        return tuple(key for key, weight in self._weights.items() if weight and key not in unused)

    def weights(self, step: int) -> dict[str, float]:
        """Weights by stream at a step of the leading phase, counted from 0."""
        alpha = self.alpha(step)
        share = {"outcome": 1 - alpha, "step": alpha}
        for stream, steps in self._phase_out.items():
            share[stream] = share.get(stream, 1.0) * max(1 - step / steps, 0.0)
        return {key: weight * share.get(key, 1.0) for key, weight in self._weights.items()}

    def weigh(self, rows: Sequence[Rollout], step: int) -> tuple[list[Rollout], dict[str, float]]:
        """(rows, weights) for the advantage. `sum` makes one stream of all, weighed already."""
        weights = self.weights(step)
        if self.normalise == "streams":
            return list(rows), weights
        return [_summed(row, weights) for row in rows], {SUM: 1.0}


class Balance:
    """Weights rows of judged solutions, so that the more frequent class does not rule.

    A class counts 1 / count^power, rescaled to a batch mean of 1: power 1 is 1/count, 0.5 Tango's
    1/sqrt (arXiv 2505.15034), 0 none. Counts are running means over batches that are learned from
    (decay 0.8 in Tango; the first batch begins them).
    counted: `all` judgements (Tango), or those with a `signal`: others of the same solution earned
    something else. A verifier that misses an error in every judgement of a solution learns nothing
    from it, so without this the other class, which does have a signal, would rule.
    """

    def __init__(
        self, power: float, decay: float, counted: Literal["all", "signal"] = "all"
    ) -> None:
        if power < 0:
            raise ValueError(f"balance.power={power}: must be 0 (off) or more")
        if not 0 <= decay < 1:
            raise ValueError(f"balance.decay={decay}: must be at least 0 and below 1")
        if counted not in ("all", "signal"):
            raise ValueError(f"balance.counted={counted}: must be all or signal")
        self.power, self.decay, self.counted = power, decay, counted
        self.counts: dict[bool, float] = {}

    def __call__(self, rows: Sequence[Rollout], train: Sequence[str]) -> list[Rollout]:
        """Rows with `weight`; those that are not counted judgements of known solutions stay as they
        are."""
        signal = _with_signal(rows) if self.counted == "signal" else {row.peers for row in rows}
        labels = {
            i: right
            for i, row in enumerate(rows)
            if row.peers in signal and (right := _label(row, train)) is not None
        }
        if not labels:
            return list(rows)
        self._observe(list(labels.values()))
        # A class that has died out of the running mean must not weigh without bound.
        raw = {i: max(self.counts[right], 1.0) ** -self.power for i, right in labels.items()}
        scale = len(raw) / sum(raw.values())
        return [
            replace(row, weight=row.weight * raw[i] * scale) if i in raw else row
            for i, row in enumerate(rows)
        ]

    def _observe(self, labels: Sequence[bool]) -> None:
        for right in (True, False):
            count = float(labels.count(right))
            old = self.counts.get(right, count)
            self.counts[right] = self.decay * old + (1 - self.decay) * count

    def state_dict(self) -> dict[bool, float]:
        """The running counts."""
        return dict(self.counts)

    def load_state_dict(self, state: dict[bool, float]) -> None:
        """Go on with the counts of `state_dict`."""
        self.counts = dict(state)


def _with_signal(rows: Sequence[Rollout]) -> set[str]:
    """The peers that did not all earn the same."""
    earned: dict[str, set[frozenset[tuple[str, float | None]]]] = {}
    for row in rows:
        streams = {reward.stream for reward in row.rewards}
        totals = frozenset((stream, row.earned(stream)) for stream in streams)
        earned.setdefault(row.peers, set()).add(totals)
    return {peers for peers, totals in earned.items() if len(totals) > 1}


def _label(row: Rollout, train: Sequence[str]) -> bool | None:
    """Whether the judged solution is right; None for a row that is no judgement to learn from."""
    return row.judgement.right if row.judgement is not None and row.policy in train else None


def _summed(row: Rollout, weights: Mapping[str, float]) -> Rollout:
    """The row with all that it has earned as one reward on all of its tokens."""
    values = [
        reward.value * weights[reward.stream] for reward in row.rewards if reward.stream in weights
    ]
    row = replace(row, rewards=())
    return row.give(SUM, sum(values)) if values else row
