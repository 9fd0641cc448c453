"""GSM8K, grade-school word problems (arXiv 2110.14168): 7473 to train on, 1319 to be tested on.

The worked text carries calculator marks, `48/2 = <<48/2=24>>24`, which are taken out, and ends in
`#### 72`, the answer, which may hold a comma.
"""

import re
from pathlib import Path
from typing import Literal

from rlcotrain.data.dataset import Finite, Stages
from rlcotrain.data.rows import Row, hub_rows, read_problems, read_rows
from rlcotrain.data.wording import Wording
from rlcotrain.types import Problem

Split = Literal["train", "test"]
ANSWER = re.compile(r"####\s*(-?[0-9][0-9,]*(?:\.[0-9]+)?)\s*\Z")
MARK = re.compile(r"<<[^<>]*>>")


class Gsm8k(Finite):
    """`path` holds train.jsonl and test.jsonl (or .jsonl.gz); without it they come from the hub."""

    def __init__(self, *, seed: int, path: str | None, stages: Stages, wording: Wording) -> None:
        train, notes = load(path, "train")
        test, more = load(path, "test")
        super().__init__("gsm8k", wording, train, test, seed, stages, [*notes, *more])


def load(path: str | None, split: Split) -> tuple[list[Problem], list[str]]:
    """The problems of one split in the order of the file, and what is to be told of it."""
    if path is None:
        rows = hub_rows("openai/gsm8k", "main", split)
    else:
        rows = read_rows(split_file(Path(path), split), "data.path")
    return read_problems(rows, lambda row: read_problem(row, split))


def split_file(folder: Path, split: Split) -> Path:
    """train.jsonl, or train.jsonl.gz where only that exists."""
    if not folder.is_dir():
        raise ValueError(
            f"data.path={folder} is no folder; expected one that holds train.jsonl and test.jsonl"
        )
    plain = folder / f"{split}.jsonl"
    packed = folder / f"{split}.jsonl.gz"
    return packed if packed.is_file() and not plain.is_file() else plain


def read_problem(row: Row, split: Split) -> Problem:
    """One row as a Problem; its id holds the line of the file, counted from 1."""
    worked = row.text("answer").strip()
    answer = ANSWER.search(worked)
    return Problem(
        id=f"gsm8k/{split}/{row.line}",
        question=row.text("question").strip(),
        answer=answer[1].replace(",", "") if answer else "",  # unusable: left out
        solution=MARK.sub("", worked),
        task="gsm8k",
        columns=row.values,
    )
