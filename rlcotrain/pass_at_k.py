"""How often each problem is solved: the pass-rate file that orders read, and pass@k of all."""

import json
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from rlcotrain.data.dataset import Dataset, check_count, epoch_order
from rlcotrain.data.pass_rates import pass_at_k
from rlcotrain.data.sampler import Sampler
from rlcotrain.evaluate import wilson
from rlcotrain.files import CUT, parse
from rlcotrain.model.agents import Agents
from rlcotrain.screen import say
from rlcotrain.seeds import derive_seed
from rlcotrain.types import Grade, Grader, Problem, Prompt, Sampling

FILE = "pass_rates.jsonl"
TOGETHER = 32  # problems that are asked, and written, at once


class PassAtK:
    """`num_samples` answers to every problem, before training; the file is in the run folder.

    split: `train`, what phases of `levels` draw (null: all of it), or `test`. num_problems: so many
    of them, in an order that never changes; null: all. k: of each pass@k, at most num_samples.
    """

    def __init__(
        self,
        split: Literal["train", "test"],
        num_problems: int | None,
        levels: Sequence[int] | None,
        num_samples: int,
        k: Sequence[int],
        temperature: float,
        top_p: float,
        top_k: int,
        dataset: Dataset,
        sampler: Sampler,
        grader: Grader,
        sampling: Sampling,
        seed: int,
    ) -> None:
        if not k or not all(1 <= each <= num_samples for each in k):
            raise ValueError(
                f"pass_at_k.k={list(k)}: each must be in 1..num_samples, here {num_samples}"
            )
        if temperature <= 0:
            raise ValueError(
                f"pass_at_k.temperature={temperature}: must be above 0, greedy answers are alike"
            )
        self.split, self.num_problems = split, num_problems
        self.levels = None if levels is None else tuple(levels)
        self.num_samples, self.k = num_samples, tuple(k)
        self.dataset, self.sampler, self.grader = dataset, sampler, grader
        self.sampling = replace(sampling, temperature=temperature, top_p=top_p, top_k=top_k)
        self.seed = seed
        self.problems()

    def problems(self) -> list[Problem]:
        """Whom it asks, in order: those whose answer is known.

        ValueError where there are too few, or no end of them.
        """
        if self.dataset.endless and (self.split == "train" or self.num_problems is None):
            raise ValueError(
                f"pass_at_k.split={self.split}, num_problems={self.num_problems}: data set "
                f"{self.dataset.name!r} is made as it is drawn; allowed: split=test and a number"
            )
        if self.split == "test":
            whole = self.dataset.num_tests(self.levels)
            count = whole if self.num_problems is None else self.num_problems
            return self.dataset.test_problems(count, self.levels)
        pool = [p for p in self.sampler.problems(self.levels) if p.answer is not None]
        count = len(pool) if self.num_problems is None else self.num_problems
        check_count(self.dataset.name, count, len(pool), "pass_at_k.num_problems")
        order = epoch_order(len(pool), derive_seed(self.dataset.name, "pass rates"), 0)
        return [pool[place] for place in order[:count]]

    def run(self, agents: Agents, role: str, folder: Path) -> dict[str, float]:
        """Write what the file still lacks; `pass_at_k/<k>` over all, with the ends of the
        Wilson interval over problems, which are the sample: more answers to each make no more.

        A file that was begun is gone on with: its bytes are those of one that was written at once.
        An answer whose grade is not known (timeout, crashed) counts as wrong, and in
        `pass_at_k/unknown_fraction`.
        """
        problems, file = self.problems(), folder / FILE
        lines = self._begun(file, problems)
        with file.open("a") as stream:
            for start in range(len(lines), len(problems), TOGETHER):
                more = self._ask(agents, role, problems[start : start + TOGETHER], start)
                stream.writelines(json.dumps(line) + "\n" for line in more)
                stream.flush()
                os.fsync(stream.fileno())
                lines += more
                say(f"pass@k: {len(lines)} of {len(problems)} problems")
        unknown = sum(line["unknown"] for line in lines)
        metrics = {"pass_at_k/unknown_fraction": unknown / (len(lines) * self.num_samples)}
        for k in self.k:
            found = wilson(np.array([line[f"pass@{k}"] for line in lines]))
            ends = {"": found.mean, "_low": found.low, "_high": found.high}
            metrics |= {f"pass_at_k/{k}{end}": value for end, value in ends.items()}
        return metrics

    def _begun(self, file: Path, problems: Sequence[Problem]) -> list[dict[str, Any]]:
        """The lines of a file that was begun, cut behind the last whole part."""
        written = file.read_bytes().splitlines(keepends=True) if file.exists() else []
        whole = [line for line in written if line.endswith(b"\n")]
        if len(whole) < len(problems):
            whole = whole[: len(whole) - len(whole) % TOGETHER]
        lines = [parse(line, f"{file}: line {n}", CUT) for n, line in enumerate(whole, 1)]
        asked = [(problem.id, self.num_samples) for problem in problems[: len(lines)]]
        if [(line.get("id"), line.get("n")) for line in lines] != asked:
            raise ValueError(f"{file}: is of other problems or another pass_at_k.num_samples")
        file.touch()
        os.truncate(file, sum(map(len, whole)))
        return lines

    def _ask(
        self, agents: Agents, role: str, problems: Sequence[Problem], start: int
    ) -> list[dict[str, Any]]:
        prompts = [
            Prompt(
                problem=problem,
                messages=self.dataset.wording.messages(problem),
                peers=problem.id,
                episode=problem.id,
            )
            for problem in problems
        ]
        draw = (self.seed, "pass rates", start)
        rows = agents.sample(role, prompts, self.num_samples, self.sampling, *draw)
        grades = self.grader.grade([row.text for row in rows], [row.problem for row in rows])
        n = self.num_samples
        return [
            self._line(problem, grades[place * n : (place + 1) * n])
            for place, problem in enumerate(problems)
        ]

    def _line(self, problem: Problem, grades: Sequence[Grade]) -> dict[str, Any]:
        """What the file says of a problem: answers, right ones, and those of an unknown score."""
        n, right = self.num_samples, [grade.score == 1.0 for grade in grades].count(True)
        unknown = [grade.score for grade in grades].count(None)
        shares = {f"pass@{k}": pass_at_k(n, right, k) for k in self.k}
        return {"id": problem.id, "n": n, "c": right, "unknown": unknown, **shares}
