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
    assert problem.id == "sums/1" and problem.task == data.name == "sums"
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


def test_doubles_are_left_out_and_counted(tmp_path: Path) -> None:
    rows = [{"q": f"what is {i}?", "a": i} for i in range(40)]
    again = [{**row, "q": f" {row['q'].replace(' ', chr(10))} "} for row in rows]
    once = jsonl(write(tmp_path / "a.jsonl", rows))
    twice = jsonl(write(tmp_path / "a.jsonl", [*rows, *rows]))
    spaced = jsonl(write(tmp_path / "a.jsonl", [*rows, *again]))
    for data in (twice, spaced):
        assert data.train_problems(None) == once.train_problems(None)
        assert data.num_tests(None) == once.num_tests(None)
        assert data.report[:1] == once.report[:1]
        first = f"data.path: {tmp_path}/a.jsonl line 41, asked in line 1"
        assert data.report[1:] == [f"40 rows left out, their question stands before: first {first}"]


def test_a_question_with_two_answers_is_named(tmp_path: Path) -> None:
    """The first is kept: which is right, nothing says."""
    rows = [{"q": f"{i}?", "a": i} for i in range(40)]
    rows += [{"q": "3?", "a": 3}, {"q": "4?", "a": 5}, {"q": "5?", "a": 7}, {"q": "6?", "a": None}]
    data = jsonl(write(tmp_path / "a.jsonl", rows))
    where = f"data.path: {tmp_path}/a.jsonl line"
    assert data.report[1:] == [
        f"4 rows left out, their question stands before: first {where} 41, asked in line 4",
        f"2 of them have another answer: first {where} 42 says '5', line 5 '4'",
    ]


def test_doubles_of_a_test_file_count_once(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", [{"q": "x", "a": 1}])
    other = write(tmp_path / "b.jsonl", [{"q": "y", "a": 2}, {"q": "y ", "a": 2}])
    data = jsonl(path, test_path=other)
    assert data.num_tests(None) == 1
    assert "data.test_path" in data.report[1]


def test_rows_that_ask_or_answer_nothing_are_left_out_and_counted(tmp_path: Path) -> None:
    rows = [{"q": f"{i}?", "a": i} for i in range(40)]
    rows += [{"q": "", "a": 1}, {"q": " \n", "a": 1}, {"q": "z", "a": " "}]
    data = jsonl(write(tmp_path / "a.jsonl", rows))
    assert len(data.train_problems(None)) + data.num_tests(None) == 40
    where = f"data.path: {tmp_path}/a.jsonl line"
    assert data.report[1:] == [
        f"1 rows left out, no usable answer: first {where} 43",
        f"2 rows left out, no question: first {where} 41",
    ]


@pytest.mark.parametrize("level", ["\u0663", 2.5, "", None, True, "9" * 5000])
def test_a_level_that_is_no_number_is_named(tmp_path: Path, level: Any) -> None:
    rows = [{"q": f"{i}?", "a": i, "l": 1 if i < 39 else level} for i in range(40)]
    with pytest.raises(ValueError, match=r"a\.jsonl line 40: field 'l' holds") as found:
        jsonl(write(tmp_path / "a.jsonl", rows), level_field="l")
    assert len(str(found.value)) < 400
