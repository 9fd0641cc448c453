import json
from pathlib import Path
from typing import Any

import pytest

from rlcotrain.data.processbench import SPLITS, ProcessBench
from rlcotrain.data.wording import Wording

REAL = Path(__file__).parents[3] / "shared" / "data" / "processbench"
LINES = Wording(step_style="line", judge_template="{question}|{solution}|{count}")


def item(number: int, **changes: Any) -> dict[str, Any]:
    good = {"id": f"g-{number}", "problem": "1+1?", "steps": ["one\nmore", "two"], "label": -1}
    return {**good, "final_answer_correct": True, **changes}


def write(folder: Path, name: str, *rows: dict[str, Any]) -> str:
    (folder / name).write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(folder)


def test_every_field_of_a_row(tmp_path: Path) -> None:
    path = write(tmp_path, "math.jsonl", item(3, label=1, final_answer_correct=False))
    (found,) = ProcessBench(path, Wording()).labelled(1, None)
    assert found.text == "<step>one\nmore</step><step>two</step>" and found.label == 1
    assert (found.problem.id, found.problem.task) == ("processbench/math/g-3", "math")
    assert (found.problem.question, found.problem.answer) == ("1+1?", None)


def test_what_says_nothing_is_no_step(tmp_path: Path) -> None:
    steps = ["one", " ", "", "two", "\n", "three <step>"]
    for label, place in ((-1, -1), (0, 0), (3, 1), (5, 2)):
        path = write(tmp_path, "math.jsonl", item(1, steps=steps, label=label))
        data = ProcessBench(path, Wording())
        (found,) = data.labelled(1, None)
        assert found.text == "<step>one</step><step>two</step><step>three &lt;step></step>"
        assert found.label == place and len(data.wording.steps(found.text, True)) == 3


def test_steps_are_those_of_the_file_whatever_the_wording_goes_by(tmp_path: Path) -> None:
    data = ProcessBench(write(tmp_path, "math.jsonl", item(1)), LINES)
    (found,) = data.labelled(1, None)
    assert len(data.wording.steps(found.text, True)) == 2
    (message,) = data.wording.judge_messages(found.problem, found.text, True)
    assert message["content"] == "1+1?|<step>one\nmore</step><step>two</step>|2"
    assert data.truth(found.problem, ["one\nmore", "two"]) is None


def test_splits_take_turns_and_the_longer_ones_go_on(tmp_path: Path) -> None:
    write(tmp_path, "gsm8k.jsonl", *map(item, range(5)))
    path = write(tmp_path, "omnimath_sample.jsonl", *map(item, range(2)))
    data = ProcessBench(path, Wording())
    found = [solution.problem.task for solution in data.labelled(7, (8,))]
    assert found == ["gsm8k", "omnimath", "gsm8k", "omnimath", "gsm8k", "gsm8k", "gsm8k"]
    assert data.labelled(3, None) == data.labelled(7, None)[:3]
    assert len({solution.problem.id for solution in data.labelled(7, None)}) == 7
    with pytest.raises(ValueError, match=r"num_solutions=8: data set 'processbench' has 1\.\.7"):
        data.labelled(8, None)


def test_the_whole_split_goes_before_a_sample(tmp_path: Path) -> None:
    write(tmp_path, "math_sample.jsonl", item(1))
    path = write(tmp_path, "math.jsonl", item(1), item(2))
    assert len(ProcessBench(path, Wording()).splits["math"]) == 2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"steps": "one"}, "field 'steps' holds 'one', expected a list of texts"),
        ({"steps": []}, r"field 'steps' holds \[\]"),
        ({"steps": ["one", 2]}, r"field 'steps' holds \['one', 2\]"),
        ({"steps": ["</step>"]}, "field 'steps' holds '</step>', which ends a step"),
        ({"steps": [" ", "\n"]}, r"field 'steps' holds \[' ', '"),
        ({"steps": ["a", " "], "label": 1}, "field 'label' holds 1, a step that says nothing"),
        ({"label": 2}, r"field 'label' holds 2, expected -1\.\.1"),
        ({"label": -2}, "field 'label' holds -2"),
        ({"label": None}, "field 'label' holds None"),
        ({"label": True}, "field 'label' holds True"),
        ({"problem": None}, "field 'problem' holds None"),
    ],
)
def test_a_row_that_cannot_be_used_is_named(
    tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    path = write(tmp_path, "gsm8k.jsonl", item(1), item(2, **change))
    where = r"quality\.path: .*gsm8k\.jsonl line 2: "
    with pytest.raises(ValueError, match=where + message):
        ProcessBench(path, Wording())


@pytest.mark.parametrize("folder", ["", "nowhere"])
def test_a_folder_without_its_files_is_named(tmp_path: Path, folder: str) -> None:
    with pytest.raises(ValueError, match=r"quality\.path=.*: .* gsm8k\.jsonl, math\.jsonl"):
        ProcessBench(str(tmp_path / folder), Wording())


def test_it_demonstrates_nothing(tmp_path: Path) -> None:
    data = ProcessBench(write(tmp_path, "math.jsonl", item(1)), Wording())
    with pytest.raises(ValueError, match="ProcessBench has no demonstrations of judging"):
        data.demonstrate(data.splits["math"][0].problem, "shared", 0)


@pytest.mark.skipif(not REAL.is_dir(), reason=f"the real ProcessBench is not at {REAL}")
def test_the_real_files() -> None:
    data = ProcessBench(str(REAL), LINES)
    sizes = {split: len(solutions) for split, solutions in data.splits.items()}
    assert sizes == dict(zip(SPLITS, (214, 212, 214, 114), strict=True))
    right = [sum(s.label == -1 for s in solutions) for solutions in data.splits.values()]
    assert right == [108, 91, 71, 23]
    found = data.labelled(754, None)
    assert len({solution.problem.id for solution in found}) == 754
    for solution in found:
        assert solution.label < len(data.wording.steps(solution.text, True))
