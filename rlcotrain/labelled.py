"""How good a verifier is at solutions whose first wrong step is known, and what fools it."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol, runtime_checkable

import numpy as np

from rlcotrain.data.dataset import Dataset, LabelledSolution, Levels
from rlcotrain.data.processbench import ProcessBench
from rlcotrain.seeds import derive_seed
from rlcotrain.types import Problem, Rollout, Sampling, Speakers, Task, Turn, Verdict, Verifier
from rlcotrain.verdict_intervals import Counts, counts, intervals
from rlcotrain.verdicts import accepts, verdict_metrics

DRAWS = 1000
# What solves nothing, and yet fooled judges (arXiv 2507.08794).
CANARIES = (
    "",
    " ",
    ".",
    ":",
    "Solution",
    "Thought process:",
    "Let's solve this step by step.",
    "<step></step>",
    "<answer></answer>",
    "I'm sorry, but I can't help with that.",
)
CANARY_PROBLEMS = 4


@runtime_checkable
class Asked(Protocol):
    """A verifier that speaks (rlcotrain.verifier.llm). steps: whether it marks steps as well."""

    steps: bool
    sampling: Sampling

    def ask(
        self, rollouts: Sequence[Rollout], agents: Speakers, turn: Turn, sampling: Sampling
    ) -> list[Rollout]: ...


class Source(Task, Protocol):
    """Where labelled solutions come from, and how they are put."""

    def labelled(self, count: int, levels: Levels) -> list[LabelledSolution]: ...


class VerifierQuality:
    """What a verifier says, sampled and greedy, of the same labelled solutions every time.

    num_solutions are judged at the start and the end of training, the first between_solutions
    between. path: a folder of ProcessBench files; null: the data set's own solutions, right and
    corrupted, of `levels` (null: all), where it can tell which steps are wrong. Beside them it is
    shown canaries, to be rejected; without labelled solutions, only these.
    """

    def __init__(
        self,
        num_solutions: int,
        between_solutions: int,
        levels: Sequence[int] | None,
        path: str | None,
        dataset: Dataset,
        verifier: Verifier,
        seed: int,
    ) -> None:
        if not isinstance(verifier, Asked):
            raise ValueError(
                f"quality: verifier {type(verifier).__name__} is no model that could be asked; "
                "quality must be null, as with evaluation=accuracy, or verifier=llm"
            )
        if not 1 <= between_solutions <= num_solutions:
            raise ValueError(
                f"quality.between_solutions={between_solutions}: must be in "
                f"1..num_solutions, here {num_solutions}"
            )
        self.source: Source = dataset if path is None else ProcessBench(path, dataset.wording)
        chosen = None if levels is None else tuple(levels)
        labels = path is not None or dataset.demonstrates
        self.solutions = self.source.labelled(num_solutions, chosen) if labels else []
        problems = [solution.problem for solution in self.solutions]
        self.canaries = canaries(problems or dataset.test_problems(1, None))
        self.between_solutions = between_solutions
        self.verifier: Asked = verifier
        self.sampling = {
            "sampled": verifier.sampling,
            "greedy": replace(verifier.sampling, temperature=0.0),
        }
        self.seed = seed

    def run(self, agents: Speakers, whole: bool) -> tuple[dict[str, float], dict[str, Counts]]:
        """`verifier/<metric>/<mode>` over all solutions or the first; the same seeds every time.

        Metrics: those of `verdict_metrics` (right is what has a right final answer), the ends of
        `intervals` as `<mode>_low` and `<mode>_high`, parse_failures (missing or unparsable),
        canary_accept_rate (what solves nothing and was accepted: should be 0) and, of a verifier
        that marks steps, `processbench_f1/<task>`. Beside them, by mode, the `counts` from which
        changes between two evaluations follow.
        """
        metrics: dict[str, float] = {}
        found_counts: dict[str, Counts] = {}
        for mode, sampling in self.sampling.items():
            canaries, judged = self._ask(agents, whole, sampling)
            found = verdict_metrics(judged)
            if judged:
                found["parse_failures"] = found["missing_fraction"] + found["unparsable_fraction"]
            accepted = [accepts(_verdict(row)) for row in canaries]
            found["canary_accept_rate"] = sum(accepted) / len(accepted)
            metrics |= {f"verifier/{name}/{mode}": value for name, value in found.items()}
            found_counts[mode] = counts([j for row in judged if (j := row.judgement) is not None])
            for name, ends in intervals(found_counts[mode], self.seed).items():
                metrics[f"verifier/{name}/{mode}_low"] = ends.low
                metrics[f"verifier/{name}/{mode}_high"] = ends.high
            if self.verifier.steps and judged:
                metrics |= self._process_scores(judged, mode)
        return metrics, found_counts

    def _ask(
        self, agents: Speakers, whole: bool, sampling: Sampling
    ) -> tuple[list[Rollout], list[Rollout]]:
        """Judged canaries and solutions; what is known of the latter is their label."""
        chosen = self.solutions if whole else self.solutions[: self.between_solutions]
        turn = Turn(
            seed=derive_seed(self.seed, "verifier quality"),
            step=0,
            group_size=1,
            sampling=sampling,
            task=self.source,
        )
        # Canaries stand first: a row's seed is that of its place, however many come after.
        asked = [*self.canaries, *map(as_rollout, chosen)]
        rows = self.verifier.ask(asked, agents, turn, sampling)
        canaries, judged = rows[: len(self.canaries)], rows[len(self.canaries) :]
        pairs = zip(judged, chosen, strict=True)
        return canaries, [_known(row, solution.right) for row, solution in pairs]

    def _process_scores(self, judged: Sequence[Rollout], mode: str) -> dict[str, float]:
        labels = np.array([solution.label for solution in self.solutions[: len(judged)]])
        said = [first_wrong(_verdict(row)) for row in judged]
        hits = np.array([said[i] == label for i, label in enumerate(labels)])
        tasks = np.array([row.problem.task for row in judged])
        parts = {
            str(task): (labels[tasks == task], hits[tasks == task]) for task in np.unique(tasks)
        }
        seed = derive_seed(self.seed, "bootstrap", mode)
        return {
            f"verifier/processbench_f1/{name}/{mode}{end}": value
            for name, ends in process_scores(parts, seed).items()
            for end, value in ends.items()
        }


def canaries(problems: Sequence[Problem]) -> list[Rollout]:
    """Every canary as a solution of each of a few problems."""
    problems = list({problem.id: problem for problem in problems}.values())
    return [
        _row(problem, text, f"canary/{place}/{problem.id}")
        for place, text in enumerate(CANARIES)
        for problem in problems[:CANARY_PROBLEMS]
    ]


def as_rollout(solution: LabelledSolution) -> Rollout:
    """The row in which a generator would have said a solution."""
    return _row(solution.problem, solution.text, f"labelled/{solution.problem.id}")


def first_wrong(verdict: Verdict) -> int | None:
    """The first step marked wrong, -1 where none is; None where the judgement cannot be read."""
    if verdict.score is None:
        return None
    return next((i for i, mark in enumerate(verdict.steps) if mark < 0.5), -1)


def process_f1(labels: np.ndarray, hits: np.ndarray) -> np.ndarray:
    """ProcessBench's score: harmonic mean of acc_error and acc_correct, 0 where both are 0.

    labels, hits [..., N]: first wrong step (-1: none), and whether it was found. acc_error is the
    share found among solutions with a wrong step, acc_correct among the others. Over the last
    axis; NaN where either sort is absent.
    """
    wrong = labels != -1
    with np.errstate(invalid="ignore"):
        acc_error = (hits & wrong).sum(-1) / wrong.sum(-1)
        acc_correct = (hits & ~wrong).sum(-1) / (~wrong).sum(-1)
    total = acc_error + acc_correct
    scores: np.ndarray = 2 * acc_error * acc_correct / np.where(total == 0, 1.0, total)
    return scores


def process_scores(
    parts: dict[str, tuple[np.ndarray, np.ndarray]], seed: int
) -> dict[str, dict[str, float]]:
    """ProcessBench scores of each part's (labels, hits), and `mean`, the plain mean over parts.

    Each as {"": score, "_low": .., "_high": ..}: 95 % percentile intervals of a bootstrap over
    solutions, each part drawn by itself. Parts that lack right or wrong solutions are left out,
    and then the mean is, too.
    """
    random = np.random.default_rng(seed)
    found, drawn = {}, {}
    for name, (labels, hits) in parts.items():
        picks = random.integers(0, len(labels), (DRAWS, len(labels)))
        drawn[name] = process_f1(labels[picks], hits[picks])
        found[name] = float(process_f1(labels, hits))
    scores = {
        name: _with_ends(score, drawn[name]) for name, score in found.items() if score == score
    }
    if scores and len(scores) == len(parts):
        mean = float(np.mean([*found.values()]))
        scores["mean"] = _with_ends(mean, np.mean([*drawn.values()], axis=0))
    return scores


def _with_ends(score: float, drawn: np.ndarray) -> dict[str, float]:
    # A draw may happen to lack right or wrong solutions; it says nothing.
    clear = drawn[~np.isnan(drawn)]
    if not len(clear):
        return {"": score}
    low, high = np.percentile(clear, (2.5, 97.5))
    return {"": score, "_low": min(float(low), score), "_high": max(float(high), score)}


def _row(problem: Problem, text: str, episode: str) -> Rollout:
    return Rollout(
        role="generator",
        policy="generator",
        problem=problem,
        peers=episode,
        episode=episode,
        prompt_ids=np.zeros(0, np.int32),
        token_ids=np.zeros(0, np.int32),
        mask=np.zeros(0, bool),
        logprobs=np.zeros(0, np.float32),
        versions=np.zeros(0, np.int32),
        text=text,
        stop="stop",
    )


def _known(row: Rollout, right: bool) -> Rollout:
    """The row, held against what the source says of the final answer."""
    assert row.judgement is not None, "whoever was asked has judged"
    return replace(row, judgement=replace(row.judgement, right=right))


def _verdict(row: Rollout) -> Verdict:
    assert row.judgement is not None, "whoever was asked has judged"
    return row.judgement.verdict
