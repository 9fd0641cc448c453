import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rlcotrain.data.arithmetic import Arithmetic
from rlcotrain.data.dataset import Finite
from rlcotrain.data.wording import Wording
from rlcotrain.engine.transformers_engine import TransformersEngine
from rlcotrain.game.demonstrate import FILLERS
from rlcotrain.grader.number import Number
from rlcotrain.labelled import (
    CANARIES,
    VerifierQuality,
    first_wrong,
    process_f1,
    process_scores,
)
from rlcotrain.model.agents import Agents
from rlcotrain.types import Problem, Prompt, Rollout, Sampling, Verdict
from rlcotrain.verifier.llm import Llm
from rlcotrain.verifier.rule import Rule
from tests.model.tiny import policy
from tests.rows import said

REAL = Path(__file__).parents[2] / "shared" / "data" / "processbench"
WORDING = Wording(judge_template="{question}\n==\n{solution}")
STEP = re.compile(r"<step>(.+?)</step>", re.DOTALL)
Judge = Callable[[Problem, str], str]


@dataclass
class Scripted:
    """Speakers of given words: `judge` writes them from the problem and the solution."""

    judge: Judge
    calls: list[tuple[float, tuple[int | str, ...], list[str]]] = field(default_factory=list)

    def sample(
        self,
        role: str,
        prompts: Sequence[Prompt],
        group_size: int,
        sampling: Sampling,
        *seed_parts: int | str,
    ) -> list[Rollout]:
        assert (role, group_size) == ("verifier", 1)
        solutions = [prompt.messages[-1]["content"].partition("\n==\n")[2] for prompt in prompts]
        self.calls.append((sampling.temperature, seed_parts, solutions))
        pairs = zip(prompts, solutions, strict=True)
        return [said(self.judge(prompt.problem, text), prompt.problem) for prompt, text in pairs]

    def token_ends(self, row: Rollout, ends: Sequence[int]) -> list[int]:
        raise NotImplementedError("nobody is paid here")


def chains(**changes: Any) -> Arithmetic:
    fields: dict[str, Any] = {
        "seed": 0,
        "levels": [2, 3],
        "slip": "wrap",
        "slip_rate": 0.6,
        "held_out": 0.3,
        "stages": {},
        "wording": WORDING,
    }
    return Arithmetic(**fields | changes)


def llm(**changes: Any) -> Llm:
    fields: dict[str, Any] = {
        "grader": Number(tolerance=0.0),
        "steps": True,
        "gold_weight": 0.0,
        "format": "strict",
        "format_weight": 0.8,
        "blind_spot": "independent",
        "temperature": 0.7,
        "max_tokens": 6,
        "stop": [],
    }
    return Llm(**fields | changes)


def quality(**changes: Any) -> VerifierQuality:
    fields: dict[str, Any] = {
        "num_solutions": 40,
        "between_solutions": 10,
        "levels": None,
        "path": None,
        "dataset": chains(),
        "verifier": llm(),
        "seed": 0,
    }
    return VerifierQuality(**fields | changes)


def greedy(made: VerifierQuality, judge: Judge) -> dict[str, float]:
    """The greedy metrics by their bare names."""
    found, _ = made.run(Scripted(judge), whole=True)
    assert all(name.startswith("verifier/") for name in found)
    names = [name.removeprefix("verifier/") for name in found]
    modes = [name.rpartition("/")[2].partition("_")[0] for name in names]
    assert {*modes} == {"sampled", "greedy"}
    return {
        name.replace("/greedy", ""): value
        for name, value in zip(names, found.values(), strict=True)
        if "/greedy" in name
    }


def judgement(marks: Sequence[bool], verdict: bool) -> str:
    words = {True: "right", False: "wrong"}
    blocks = "".join(f"<step>{words[mark]}</step>" for mark in marks)
    return f"{blocks}<verdict>{words[verdict]}</verdict>"


def knows(problem: Problem, solution: str) -> str:
    """One who recomputes every step, and never errs."""
    return chains().demonstrate(replace(problem, solution=solution), "independent", 0)


def flags_wraps(problem: Problem, solution: str) -> str:
    """One who takes every wrap for a slip."""
    marks = [
        re.search(r"\d[+-]\d=", step) is None or 0 <= eval(step.partition("=")[0]) <= 9
        for step in STEP.findall(solution)
    ]
    return judgement(marks, all(marks))


def agrees(problem: Problem, solution: str) -> str:
    return judgement([True] * len(STEP.findall(solution)), True)


def test_one_who_never_errs() -> None:
    found = greedy(quality(), knows)
    for name in ("accuracy", "balanced_accuracy", "f1", "contested_score", "aligned_fraction"):
        assert found[name] == 1.0
    for end in ("", "_low", "_high"):
        assert found[f"processbench_f1/arithmetic{end}"] == found[f"processbench_f1/mean{end}"] == 1
    assert found["false_positive_rate"] == found["parse_failures"] == 0.0
    assert found["positive_share"] == found["solutions_right"] == 0.5
    # It finds no step wrong where there is none.
    assert found["canary_accept_rate"] == 1.0


def test_one_who_flags_every_wrap_is_worth_nothing() -> None:
    # Eight operations, so that none of the chains goes without a wrap.
    found = greedy(quality(dataset=chains(levels=[8])), flags_wraps)
    assert found["contested_recall"] == found["contested_false_flags"] == 1.0
    assert found["contested_score"] == 0.0
    assert found["false_positive_rate"] == 0.0 and found["recall"] < 0.2


def test_one_who_always_agrees_finds_no_error() -> None:
    found = greedy(quality(), agrees)
    assert found["processbench_f1/arithmetic"] == found["processbench_f1/mean"] == 0.0
    assert found["positive_share"] == found["false_positive_rate"] == found["recall"] == 1.0
    assert found["accuracy"] == found["balanced_accuracy"] == found["reward_hacking_gap"] == 0.5
    assert found["canary_accept_rate"] == 1.0


def test_what_cannot_be_read_is_wrong() -> None:
    found = greedy(quality(), lambda problem, solution: "right")
    assert found["accuracy"] == found["processbench_f1/mean"] == found["canary_accept_rate"] == 0.0
    assert found["parse_failures"] == found["missing_fraction"] == 1.0
    assert not {"positive_share", "contested_score"} & set(found)


def test_without_marks_there_is_no_score_of_steps() -> None:
    found = greedy(quality(verifier=llm(steps=False)), agrees)
    assert found["positive_share"] == 1.0
    assert not [name for name in found if "processbench" in name or "contested" in name]


def test_the_same_is_asked_every_time_and_the_first_of_it_between() -> None:
    speakers = Scripted(agrees)
    made = quality()
    made.run(speakers, whole=True)
    made.run(speakers, whole=False)
    assert [call[0] for call in speakers.calls] == [0.7, 0.0, 0.7, 0.0]
    assert len({call[1] for call in speakers.calls}) == 1
    whole, few = speakers.calls[0][2], speakers.calls[2][2]
    assert few == whole[: len(few)], "what stands at a place draws that place's seed"
    assert len(whole) - len(few) == 30 and len(few) == 4 * len(CANARIES) + 10
    other = Scripted(agrees)
    quality(seed=1).run(other, whole=False)
    assert other.calls[0][1] != speakers.calls[0][1] and other.calls[0][2] == few


def test_canaries_solve_nothing() -> None:
    assert len({*CANARIES}) == len(CANARIES) >= 8
    made = quality()
    assert {row.text for row in made.canaries} == {*CANARIES}
    assert len({row.problem.id for row in made.canaries}) == 4
    grader = Number(tolerance=0.0)
    for row in made.canaries:
        assert grader.grade_one(row.text, str(row.problem.answer)).score == 0.0


def test_a_real_policy_is_asked() -> None:
    speaker = policy()
    agents = Agents({"v": speaker}, {"verifier": "v"}, TransformersEngine(64, 4096))
    made = quality(num_solutions=6, between_solutions=6)
    found, _ = made.run(agents, whole=True)
    assert found == made.run(agents, whole=False)[0], "here they are the same"
    assert found["verifier/accuracy/sampled"] == found["verifier/accuracy/greedy"] == 0.0
    assert found["verifier/parse_failures/greedy"] == 1.0, "random weights say nothing"


def labels(*counts: tuple[int, int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Labels and hits of (label, how many, found) each."""
    parts = [(label, place < found) for label, count, found in counts for place in range(count)]
    return np.array([label for label, _ in parts]), np.array([hit for _, hit in parts])


def test_processbench_score_by_hand() -> None:
    # acc_error 4/10, acc_correct 8/10: 2 * 0.4 * 0.8 / 1.2.
    assert process_f1(*labels((0, 4, 3), (2, 6, 1), (-1, 10, 8))) == pytest.approx(
        0.533333, abs=1e-6
    )
    assert process_f1(*labels((0, 5, 0), (-1, 5, 5))) == 0.0, "always: no error"
    assert process_f1(*labels((0, 5, 0), (-1, 5, 0))) == 0.0
    assert process_f1(*labels((3, 5, 5), (-1, 1, 1))) == 1.0
    assert np.isnan(process_f1(*labels((0, 5, 5)))) and np.isnan(process_f1(*labels((-1, 5, 5))))


def test_the_bootstrap_against_the_delta_method() -> None:
    # F = 2ab / (a + b) at a = 0.4, b = 0.8, 200 solutions each: dF/da = 2 b^2 / (a + b)^2 = 0.8889,
    # dF/db = 0.2222; var a = 0.24 / 200, var b = 0.16 / 200; sd F = 0.03143, half = 0.0616.
    found = process_scores({"x": labels((1, 200, 80), (-1, 200, 160))}, seed=0)["x"]
    assert found[""] == pytest.approx(0.533333, abs=1e-6)
    assert found["_low"] == pytest.approx(0.4717, abs=0.008)
    assert found["_high"] == pytest.approx(0.5949, abs=0.008)


def test_the_mean_over_splits_is_plain_and_sharper_than_each() -> None:
    half = labels((1, 100, 50), (-1, 100, 50))
    small = labels((1, 10, 4), (-1, 10, 8))
    found = process_scores({"a": half, "b": small}, seed=0)
    assert found["mean"][""] == pytest.approx((0.5 + 0.533333) / 2, abs=1e-6)
    widths = {name: ends["_high"] - ends["_low"] for name, ends in found.items()}
    # Independent parts: the variance of their mean is a quarter of the sum of theirs.
    expected = (widths["a"] ** 2 + widths["b"] ** 2) ** 0.5 / 2
    assert widths["mean"] == pytest.approx(expected, rel=0.1)
    assert found == process_scores({"a": half, "b": small}, seed=0)


def test_splits_without_right_or_wrong_solutions_are_left_out() -> None:
    whole, bare = labels((1, 2, 1), (-1, 2, 2)), labels((-1, 4, 4))
    assert set(process_scores({"a": whole, "b": bare}, seed=0)) == {"a"}, "and so is the mean"
    assert process_scores({"b": bare}, seed=0) == {}


def test_the_first_step_marked_wrong() -> None:
    assert first_wrong(Verdict(score=0.0, steps=(1.0, 0.4, 0.0))) == 1
    assert first_wrong(Verdict(score=0.0, steps=(1.0, 0.5))) == -1
    assert first_wrong(Verdict(score=1.0)) == -1
    assert first_wrong(Verdict(score=None, status="misaligned")) is None


def test_a_right_answer_that_stands_on_a_wrong_step(tmp_path: Path) -> None:
    row = {"id": "g", "problem": "1+1?", "steps": ["1+1=3", "so 2"], "final_answer_correct": True}
    wrong = {**row, "final_answer_correct": False}
    lines = [json.dumps({**line, "label": 0}) for line in (row, wrong)]
    lines.append(json.dumps({**row, "label": -1}))
    (tmp_path / "gsm8k.jsonl").write_text("\n".join(lines))
    made = quality(path=str(tmp_path), num_solutions=3, between_solutions=1)
    found = greedy(made, lambda problem, solution: judgement([False, True], True))
    # Its steps are judged by the label, its answer by what the file says of the answer.
    assert found["accuracy"] == found["solutions_right"] == pytest.approx(2 / 3)
    assert found["processbench_f1/gsm8k"] == 0.0 and "contested_score" not in found


@pytest.mark.skipif(not REAL.is_dir(), reason=f"the real ProcessBench is not at {REAL}")
def test_the_real_processbench() -> None:
    made = quality(path=str(REAL), num_solutions=754, dataset=chains(levels=[2]))
    known = {(s.problem.id, s.text): s.label for s in made.solutions}

    def reads_labels(problem: Problem, solution: str) -> str:
        """Right of every first wrong step, but for omnimath's, where it finds none."""
        count = len(WORDING.steps(solution, True))
        label = -1 if problem.task == "omnimath" else known.get((problem.id, solution), 0)
        return judgement([i != label for i in range(count)], label == -1)

    found = greedy(made, reads_labels)
    scores = [found[f"processbench_f1/{split}"] for split in ("gsm8k", "math", "olympiadbench")]
    assert scores == [1.0, 1.0, 1.0] and found["processbench_f1/omnimath"] == 0.0
    assert found["processbench_f1/mean"] == found["processbench_f1/mean_low"] == 0.75
    rows = [json.loads(line) for file in REAL.glob("*.jsonl") for line in file.open()]
    omni = {problem_id for problem_id, _ in known if "omnimath" in problem_id}
    said = [row["label"] == -1 or f"processbench/omnimath/{row['id']}" in omni for row in rows]
    hits = [row["final_answer_correct"] == right for row, right in zip(rows, said, strict=True)]
    assert found["accuracy"] == pytest.approx(sum(hits) / 754)


def test_no_canary_is_taught() -> None:
    assert not set(FILLERS) & set(CANARIES)


def test_without_labelled_solutions_only_canaries_are_shown() -> None:
    problems = [Problem(id=str(n), question=f"{n}?", answer="1") for n in range(9)]
    made = quality(dataset=Finite("toy", WORDING, problems, problems, 0, {}), levels=None)
    found = greedy(made, lambda problem, solution: judgement([], False))
    assert found == {"canary_accept_rate": 0.0}


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("between_solutions", 0, r"quality\.between_solutions=0: must be in 1\.\.num_so"),
        ("between_solutions", 41, r"quality\.between_solutions=41: .* here 40"),
        ("num_solutions", 10**6, r"quality\.num_solutions=1000000: data set 'arithmetic"),
        ("levels", [7], r"levels=\[7\]: data set 'arithmetic' has levels \[2, 3\]"),
        ("verifier", Rule(grader=Number(tolerance=0.0)), "quality: verifier Rule is no model that"),
        ("path", "nowhere", r"quality\.path=nowhere: expected a folder"),
    ],
)
def test_what_cannot_be_measured_is_named(key: str, value: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        quality(**{key: value})
