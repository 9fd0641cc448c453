"""GSM8K, grade-school word problems (arXiv 2110.14168): 7473 to train on, 1319 to be tested on.

The worked text carries calculator marks, `48/2 = <<48/2=24>>24`, which are taken out, and ends in
`#### 72`, the answer, which may hold a comma.
"""

import re
from pathlib import Path
from typing import Literal

from rlcotrain.data.dataset import Finite, Stages
from rlcotrain.data.rows import Row, read_rows
from rlcotrain.data.wording import Wording
from rlcotrain.types import Problem

Split = Literal["train", "test"]
ANSWER = re.compile(r"####\s*(-?[0-9][0-9,]*(?:\.[0-9]+)?)\s*\Z")
MARK = re.compile(r"<<[^<>]*>>")


class Gsm8k(Finite):
    """`path` holds train.jsonl and test.jsonl (or .jsonl.gz); without it they come from the hub."""

    def __init__(self, *, seed: int, path: str | None, stages: Stages, wording: Wording) -> None:
        super().__init__("gsm8k", wording, load(path, "train"), load(path, "test"), seed, stages)


def load(path: str | None, split: Split) -> list[Problem]:
    """The problems of one split, in the order of the file."""
    rows = (
        hub_rows(split) if path is None else read_rows(split_file(Path(path), split), "data.path")
    )
    return [read_problem(row, split) for row in rows]


def split_file(folder: Path, split: Split) -> Path:
    """train.jsonl, or train.jsonl.gz where only that exists."""
    if not folder.is_dir():
        raise ValueError(
            f"data.path={folder} is no folder; expected one that holds train.jsonl and test.jsonl"
        )
    plain = folder / f"{split}.jsonl"
    packed = folder / f"{split}.jsonl.gz"
    return packed if packed.is_file() and not plain.is_file() else plain


def hub_rows(split: Split) -> list[Row]:
    """The rows of `openai/gsm8k`, configuration `main`, on the Hugging Face hub.

    ValueError where neither the hub nor its cache on this machine has them.
    """
    from datasets import load_dataset  # heavy, and needed only without a path

    try:
        rows = load_dataset("openai/gsm8k", "main", split=split)
    except OSError as error:
        raise ValueError(
            f"data.path=null asks the hub, which does not answer ({error}); "
            "expected a folder that holds train.jsonl and test.jsonl"
        ) from error
    return [Row(f"openai/gsm8k {split}", i, dict(row)) for i, row in enumerate(rows, start=1)]


def read_problem(row: Row, split: Split) -> Problem:
    """One row as a Problem; its id holds the line of the file, counted from 1."""
    worked = row.text("answer").strip()
    answer = ANSWER.search(worked)
    if answer is None:
        raise row.error("field 'answer' does not end in '#### ' and a number")
    return Problem(
        id=f"gsm8k/{split}/{row.line}",
        question=row.text("question").strip(),
        answer=answer[1].replace(",", ""),
        solution=MARK.sub("", worked),
        task="gsm8k",
    )
