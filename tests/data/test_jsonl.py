import json
from pathlib import Path
from typing import Any

import pytest

from rlcotrain.data.jsonl import Jsonl
from rlcotrain.data.wording import Wording


def write(path: Path, rows: list[dict[str, Any]]) -> str:
    path.write_text("\n".join(map(json.dumps, rows)))
    return str(path)


def jsonl(path: str, **changes: Any) -> Jsonl:
    keys: dict[str, Any] = {
        "seed": 0,
        "path": path,
        "test_path": None,
        "held_out": 0.2,
        "question_field": "q",
        "answer_field": "a",
        "solution_field": None,
        "level_field": None,
        "id_field": None,
        "stages": {},
        "wording": Wording(),
    }
    return Jsonl(**(keys | changes))


def test_every_field_of_a_row(tmp_path: Path) -> None:
    path = write(tmp_path / "sums.jsonl", [{"q": "1+1", "a": 2, "s": "one more", "l": "3"}] * 2)
    other = write(tmp_path / "test.jsonl", [{"q": "2+2", "a": 4.5, "s": "two", "l": 1}])
    data = jsonl(path, test_path=other, solution_field="s", level_field="l")
    problem = data.train_problem(0, (3,))
    assert (problem.question, problem.answer, problem.solution) == ("1+1", "2", "one more")
    assert problem.id in ("sums/1", "sums/2") and problem.task == data.name == "sums"
    (tested,) = data.test_problems(1, (1,))
    assert (tested.id, tested.answer) == ("sums/test/1", "4.5")


def test_rows_without_a_known_answer_are_for_training_only(tmp_path: Path) -> None:
    rows = [{"q": f"{i}", "a": None if i % 2 else i} for i in range(80)]
    data = jsonl(write(tmp_path / "a.jsonl", rows))
    assert any(problem.answer is None for problem in data.train_problems(None))
    assert all(problem.answer is not None for problem in data.test_problems(4, None))


def test_a_missing_answer_is_no_null(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", [{"q": f"{i}"} for i in range(40)])
    with pytest.raises(ValueError, match="line 1: field 'a' is missing"):
        jsonl(path)


def test_held_out_and_training_questions_never_meet(tmp_path: Path) -> None:
    rows = [{"q": f"{i % 60}", "a": i} for i in range(120)]  # every question twice
    data = jsonl(write(tmp_path / "a.jsonl", rows))
    trained = {data.train_problem(i, None).question for i in range(120)}
    with pytest.raises(ValueError, match=r"evaluation\.num_problems=999: .* has 1\.\.(\d+)") as hit:
        data.test_problems(999, None)
    count = int(str(hit.value).rpartition("..")[2].split()[0])
    tested = {problem.question for problem in data.test_problems(count, None)}
    assert not trained & tested
    assert trained | tested == {f"{i}" for i in range(60)}


def test_a_test_question_in_the_training_file_is_not_trained_on(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", [{"q": "x", "a": 1}, {"q": "y", "a": 2}])
    other = write(tmp_path / "b.jsonl", [{"q": "y", "a": 2}])
    data = jsonl(path, test_path=other)
    assert {data.train_problem(i, None).question for i in range(4)} == {"x"}


def test_ids_of_the_files_own(tmp_path: Path) -> None:
    rows = [{"q": f"{i}", "a": i, "key": f"k{i}"} for i in range(40)]
    data = jsonl(write(tmp_path / "a.jsonl", rows), id_field="key")
    assert data.train_problem(0, None).id.startswith("a/k")
    again = write(tmp_path / "b.jsonl", [*rows, rows[3], rows[5]])
    message = r"b\.jsonl line 41: id 'b/k3' is that of line 4; 2 of 42 lines repeat an id"
    with pytest.raises(ValueError, match=message):
        jsonl(again, id_field="key")


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([{"q": "1"}], r"data\.path: .*a\.jsonl line 1: field 'a' is missing, .*\(has: 'q'\)"),
        ([{"q": "1", "a": 1}], r"both need one or more \(see data\.held_out and data\.test_path\)"),
    ],
)
def test_files_that_do_not_fit(tmp_path: Path, rows: list[dict[str, Any]], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        jsonl(write(tmp_path / "a.jsonl", rows))


def test_a_broken_test_file_is_named_by_its_own_key(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", [{"q": "1", "a": 1}])
    with pytest.raises(ValueError, match=r"data\.test_path: nowhere\.jsonl does not exist"):
        jsonl(path, test_path="nowhere.jsonl")
