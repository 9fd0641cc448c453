"""How good a policy is on held-out problems, with intervals."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from rlcotrain.data.dataset import Dataset
from rlcotrain.grades import grade_metrics
from rlcotrain.model.agents import Agents
from rlcotrain.types import Grade, Grader, Problem, Prompt, Rollout, Sampling

Z95 = 1.959964  # two-sided 95 % quantile of the normal distribution
Mode = Literal["sampled", "greedy"]


@dataclass(frozen=True, kw_only=True)
class Interval:
    """A mean with its 95 % interval."""

    mean: float
    low: float
    high: float
    count: int

    def as_dict(self) -> dict[str, float]:
        return {"mean": self.mean, "low": self.low, "high": self.high, "count": self.count}


@dataclass(frozen=True, kw_only=True)
class Answers:
    """One mode's answers: scores in the order of the problems, and the rows behind them.

    What the grader could not find out (timeout, crashed) scores 0, so that every evaluation is of
    the same problems; its share is a metric of its own.
    """

    scores: np.ndarray  # [N] float64 in 0..1
    grades: list[Grade]
    rows: list[Rollout]


class Evaluation:
    """Accuracy of a role, greedy and sampled at `temperature`, on the same held-out problems.

    num_problems are asked at the start and the end of training, the first between_problems every
    `every` steps between. levels: null means all. Judged by the grader, whoever judges in training.
    """

    def __init__(
        self,
        num_problems: int,
        every: int,
        between_problems: int,
        levels: Sequence[int] | None,
        temperature: float,
        top_p: float,
        top_k: int,
        dataset: Dataset,
        grader: Grader,
        sampling: Sampling,
        seed: int,
    ) -> None:
        if every < 1:
            raise ValueError(f"evaluation.every={every}: must be 1 or more")
        if not 1 <= between_problems <= num_problems:
            raise ValueError(
                f"evaluation.between_problems={between_problems}: must be in 1..num_problems, "
                f"here {num_problems}"
            )
        if temperature < 0:
            raise ValueError(f"evaluation.temperature={temperature}: must be 0 (greedy) or more")
        chosen = None if levels is None else tuple(levels)
        self.problems = dataset.test_problems(num_problems, chosen)
        unknown = [problem.id for problem in self.problems if problem.answer is None]
        if unknown:
            raise ValueError(f"evaluation: held-out problem {unknown[0]} has no known answer")
        self.every = every
        self.between_problems = between_problems
        self.messages = dataset.wording.messages
        self.grader = grader
        self.sampling = {
            "sampled": replace(sampling, temperature=temperature, top_p=top_p, top_k=top_k),
            "greedy": replace(sampling, temperature=0.0),
        }
        self.seed = seed

    @property
    def accuracies(self) -> list[str]:
        """The accuracies that every evaluation gives, of the first problems as of all."""
        ends = ["", *(f"/{name}" for name in _groups(self.problems[: self.between_problems]))]
        return [f"accuracy/{mode}{end}" for mode in self.sampling for end in ends]

    def run(self, agents: Agents, role: str, num_problems: int) -> dict[str, Answers]:
        """Answers by mode. Draws the same seeds every time: steps are compared on equal terms."""
        prompts = [
            Prompt(
                problem=problem,
                messages=self.messages(problem),
                peers=problem.id,
                episode=problem.id,
            )
            for problem in self.problems[:num_problems]
        ]
        return {
            mode: self._grade(agents.sample(role, prompts, 1, sampling, self.seed, "evaluate"))
            for mode, sampling in self.sampling.items()
        }

    def _grade(self, rows: list[Rollout]) -> Answers:
        grades = self.grader.grade([row.text for row in rows], [row.problem for row in rows])
        scores = np.array([grade.score or 0.0 for grade in grades], np.float64)
        return Answers(scores=scores, grades=grades, rows=rows)


def wilson(scores: np.ndarray) -> Interval:
    """Mean of scores in 0..1 with the 95 % Wilson interval (right also near 0 and 1).

    Of graded scores it is wide rather than narrow: none varies more than right and wrong do.
    """
    count, mean = len(scores), float(scores.mean())
    shrink = 1 + Z95**2 / count
    centre = (mean + Z95**2 / (2 * count)) / shrink
    half = Z95 / shrink * math.sqrt(mean * (1 - mean) / count + Z95**2 / (4 * count**2))
    # At 0 and 1 an end of the interval is the mean itself, up to rounding.
    return Interval(
        mean=mean,
        low=min(max(centre - half, 0.0), mean),
        high=max(min(centre + half, 1.0), mean),
        count=count,
    )


def paired_change(before: np.ndarray, after: np.ndarray) -> Interval:
    """Mean change of scores in 0..1 over the same problems, with its 95 % interval.

    Newcombe's (Stat. Med. 17, 1998, 2635-2650, method 10): the half-widths of two Wilson intervals,
    squared and added, less what the scores have in common. Its width is never 0.
    Of graded scores it is wide rather than narrow: none varies more than right and wrong do.
    """
    assert len(before) == len(after), "paired scores are of the same problems"
    one, other, count = wilson(before), wilson(after), len(before)
    spread = math.sqrt(one.mean * (1 - one.mean) * other.mean * (1 - other.mean))
    shared = float((before * after).mean()) - one.mean * other.mean
    if shared > 0:  # the correction for continuity
        shared = max(shared - 1 / (2 * count), 0.0)
    phi = shared / spread if spread else 0.0

    def half(x: float, y: float) -> float:
        return math.sqrt(x**2 - 2 * phi * x * y + y**2)

    mean = float((after - before).mean())
    return Interval(
        mean=mean,
        low=mean - half(other.mean - other.low, one.high - one.mean),
        high=mean + half(other.high - other.mean, one.mean - one.low),
        count=count,
    )


def accuracy_metrics(answers: dict[str, Answers]) -> dict[str, float]:
    """`accuracy/<mode>` with interval ends, by level where there are several, and what is odd."""
    metrics: dict[str, float] = {}
    for mode, answer in answers.items():
        interval = wilson(answer.scores)
        metrics |= {
            f"accuracy/{mode}": interval.mean,
            f"accuracy/{mode}_low": interval.low,
            f"accuracy/{mode}_high": interval.high,
            f"evaluation/no_answer_fraction/{mode}": _share(
                answer, lambda row, grade: grade.status != "ok"
            ),
            f"evaluation/stop_length_fraction/{mode}": _share(
                answer, lambda row, grade: row.stop == "length"
            ),
        }
        shares = grade_metrics(answer.grades, [row.problem.task for row in answer.rows])
        metrics |= {f"evaluation/{name}/{mode}": share for name, share in shares.items()}
        if any(_marks(row.problem.solution) for row in answer.rows):
            metrics[f"evaluation/right_answer_wrong_step/{mode}"] = _share(answer, _is_lucky)
        for name, places in _groups([row.problem for row in answer.rows]).items():
            metrics[f"accuracy/{mode}/{name}"] = float(answer.scores[places].mean())
    return metrics


def _groups(problems: Sequence[Problem]) -> dict[str, list[int]]:
    """Where the problems of each level and of each data set stand, where there are several."""
    groups: dict[str, list[int]] = {}
    for names in (
        [f"level_{problem.level}" for problem in problems],
        [problem.task for problem in problems],
    ):
        for place, name in enumerate(names) if len(set(names)) > 1 else ():
            groups.setdefault(name, []).append(place)
    return dict(sorted(groups.items()))


def summary(
    start: dict[str, np.ndarray], final: dict[str, np.ndarray]
) -> dict[str, dict[str, dict[str, float]]]:
    """What result.json says of accuracy: start, final and paired change, by mode."""
    return {
        "start": {mode: wilson(scores).as_dict() for mode, scores in start.items()},
        "final": {mode: wilson(scores).as_dict() for mode, scores in final.items()},
        "change": {
            mode: paired_change(start[mode], scores).as_dict() for mode, scores in final.items()
        },
    }


def _share(answer: Answers, holds: Callable[[Rollout, Grade], Any]) -> float:
    pairs = zip(answer.rows, answer.grades, strict=True)
    return sum(bool(holds(row, grade)) for row, grade in pairs) / len(answer.rows)


def _is_lucky(row: Rollout, grade: Grade) -> bool:
    """Right, though the steps are not those of the worked solution."""
    return grade.score == 1.0 and _marks(row.text) != _marks(row.problem.solution)


def _marks(text: str | None) -> list[str]:
    """What stands in `<step>` marks, in order."""
    return [part.split("</step>")[0] for part in (text or "").split("<step>")[1:]]
