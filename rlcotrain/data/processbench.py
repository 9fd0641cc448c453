"""ProcessBench (arXiv 2412.06559): real solutions, the first wrong step of each marked by people.

A solution may reach the right answer by a wrong step: that tells a verifier of steps from one who
compares answers.
"""

from collections.abc import Sequence
from itertools import chain, zip_longest
from pathlib import Path

from rlcotrain.data.dataset import LabelledSolution, Levels, check_count, epoch_order
from rlcotrain.data.rows import Row, read_rows
from rlcotrain.data.wording import CLOSE, OPEN, TAG, says_something
from rlcotrain.seeds import derive_seed
from rlcotrain.types import Problem, StepTruth, Wording

SPLITS = ("gsm8k", "math", "olympiadbench", "omnimath")
KEY = "quality.path"


class ProcessBench:
    """`path` holds gsm8k.jsonl, math.jsonl ... or gsm8k_sample.jsonl ..., one of them or more.

    `wording` is that of the data set a run trains on; the steps are tagged, whatever it says.
    """

    name = "processbench"

    def __init__(self, path: str, wording: Wording) -> None:
        self.wording = wording.tagged()
        self.path = path
        files = {split: split_file(Path(path), split) for split in SPLITS}
        self.splits = {
            split: [read_solution(row, split) for row in read_rows(file, KEY)]
            for split, file in files.items()
            if file is not None
        }
        if not self.splits:
            raise ValueError(
                f"{KEY}={path}: expected a folder that holds one or more of "
                f"{', '.join(f'{split}.jsonl' for split in SPLITS)} (or {SPLITS[0]}_sample.jsonl)"
            )

    def labelled(self, count: int, levels: Levels) -> list[LabelledSolution]:
        """As many of each split while they last, in an order that never changes; of no levels."""
        mixed = [
            [solutions[i] for i in epoch_order(len(solutions), derive_seed(split, "labelled"), 0)]
            for split, solutions in self.splits.items()
        ]
        turns = chain.from_iterable(zip_longest(*mixed))
        pool = [solution for solution in turns if solution is not None]
        check_count(self.name, count, len(pool), "quality.num_solutions")
        return pool[:count]

    def truth(self, problem: Problem, steps: Sequence[str]) -> tuple[StepTruth, ...] | None:
        """None: what comes after the first wrong step is not labelled."""
        return None

    def demonstrate(self, problem: Problem, blind_spot: str, seed: int) -> str:
        """ValueError: it is for testing only."""
        raise ValueError("ProcessBench has no demonstrations of judging; data=arithmetic has them")


def split_file(folder: Path, split: str) -> Path | None:
    """The whole split, or a sample where only that exists, or None."""
    files = (folder / f"{split}.jsonl", folder / f"{split}_sample.jsonl")
    return next((file for file in files if file.is_file()), None)


def read_solution(row: Row, split: str) -> LabelledSolution:
    """One row; its task is the split. No answer comes with it: `label` alone says what is right."""
    steps = row.values.get("steps")
    if not isinstance(steps, list) or not all(isinstance(step, str) for step in steps):
        raise row.error(f"field 'steps' holds {steps!r:.60}, expected a list of texts")
    if not says_something("".join(steps)):
        raise row.error(f"field 'steps' holds {steps!r:.60}, which says nothing")
    label = row.number("label")
    if not -1 <= label < len(steps):
        raise row.error(f"field 'label' holds {label}, expected -1..{len(steps) - 1}")
    if any(CLOSE in step for step in steps):
        raise row.error(f"field 'steps' holds {CLOSE!r}, which ends a step")
    # What says nothing is no step (rlcotrain.data.wording).
    if label >= 0 and not says_something(steps[label]):
        raise row.error(f"field 'label' holds {label}, a step that says nothing")
    label -= sum(not says_something(step) for step in steps[: max(label, 0)])
    steps = list(filter(says_something, steps))
    problem = Problem(
        id=f"processbench/{split}/{row.text('id')}", question=row.text("problem"), task=split
    )
    text = "".join(f"{OPEN}{TAG.sub('&lt;', step)}{CLOSE}" for step in steps)
    right = row.values.get("final_answer_correct")
    if not isinstance(right, bool):
        raise row.error(f"field 'final_answer_correct' holds {right!r:.60}, expected true or false")
    return LabelledSolution(problem=problem, text=text, label=label, right=right)
