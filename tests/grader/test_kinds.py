"""Kinds of answers that graders have taken for what they are not, each with its neighbours.

kinds.jsonl holds a case a line: kind, grader, gold (the known answer), text, right.
"""

import json
from pathlib import Path
from typing import Any

import pytest

from rlcotrain.grader.allenai import AllenaiMath
from rlcotrain.grader.choice import Choice
from rlcotrain.grader.gsm8k import Gsm8k
from rlcotrain.grader.math import Math
from rlcotrain.grader.minerva import Minerva
from rlcotrain.types import Grader
from tests.grader.graded import POOL, graded

TRIALS = Path(__file__).parents[3] / "shared" / "cases" / "graders.jsonl"
GRADERS: dict[str, Grader] = {
    "math": Math(**POOL),
    "minerva": Minerva(**POOL),
    "allenai_math": AllenaiMath(**POOL),
    "gsm8k": Gsm8k(mode="any"),
    "gsm8k_hash": Gsm8k(mode="hash"),
    "choice": Choice(letters="ABCDE"),
}


def cases(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text("utf-8").splitlines()]


def misjudged(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [
        row
        for row in rows
        if graded(GRADERS[row["grader"]], row["text"], row["gold"]).score != row["right"]
    ]


CASES = cases(Path(__file__).with_name("kinds.jsonl"))


@pytest.mark.parametrize("kind", sorted({row["kind"] for row in CASES}))
def test_answers_of_a_kind(kind: str) -> None:
    assert not misjudged([row for row in CASES if row["kind"] == kind])


@pytest.mark.skipif(not TRIALS.is_file(), reason=f"the cases of the trials are not at {TRIALS}")
def test_the_cases_that_trials_found() -> None:
    rows = cases(TRIALS)
    assert len(rows) == 108 and not misjudged(rows)
