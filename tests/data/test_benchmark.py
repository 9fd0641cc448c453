import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from rlcotrain.build import _make
from rlcotrain.data.benchmark import Benchmark, bare, level_number, subject_name
from rlcotrain.data.boxed import last_boxed
from tests.runs import ALONE, SMALL, compose

REAL = Path(__file__).parents[3] / "shared" / "data"
COUNTING = {
    "problem": "How many?\n",
    "level": "Level 5",
    "type": "Counting & Probability",
    "solution": r"It is $\boxed{\frac{1}{2}}$.",
    "answer": r"\frac{1}{2}",
}


def write(file: Path, *rows: dict[str, Any]) -> None:
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))


def load(folder: Path, *words: str) -> Benchmark:
    """The data set that conf/data would make of these words."""
    config = compose(folder, *ALONE, *SMALL, *words, f"data.path={folder}")
    data = _make(config.data)
    assert isinstance(data, Benchmark)
    return data


def real(*words: str) -> Benchmark:
    return _make(compose(REAL, *ALONE, *SMALL, *words).data)  # type: ignore[no-any-return]


def test_the_form_of_answers_is_a_regular_expression(tmp_path: Path) -> None:
    write(tmp_path / "train.jsonl", COUNTING)
    write(tmp_path / "test.jsonl", COUNTING | {"problem": "Which?"})
    with pytest.raises(ValueError, match=r"data\.answer_form=\[: is no regular expression"):
        load(tmp_path, "data=math", "data.answer_form='['")


def test_a_row_of_math_word_by_word(tmp_path: Path) -> None:
    bare = {key: value for key, value in COUNTING.items() if key != "answer"}
    write(tmp_path / "train.jsonl", COUNTING, bare | {"problem": "Why?", "level": "Level ?"})
    write(tmp_path / "test.jsonl", COUNTING | {"problem": "Which?"})
    data = load(tmp_path, "data=math")
    first, second = data.train_problems(None)
    assert first.id == "math/train/counting_and_probability/1"
    assert (first.question, first.answer, first.task) == ("How many?", r"\frac{1}{2}", "math")
    assert (first.level, first.subject) == (5, "counting_and_probability")
    assert first.solution == COUNTING["solution"] and first.columns == COUNTING
    # No answer of its own: what the solution boxes. No level that is known.
    assert (second.answer, second.level) == (r"\frac{1}{2}", 0)
    (message,) = data.wording.messages(first)
    assert message["content"] == "Problem:\nHow many?\n\nSolution:"
    assert data.wording.stop == ["Problem:"]


def test_what_is_tested_on_is_not_trained_on(tmp_path: Path) -> None:
    write(tmp_path / "train.jsonl", COUNTING, COUNTING | {"problem": "Why  so?"})
    write(tmp_path / "test.jsonl", COUNTING | {"problem": "Why so? "})
    data = load(tmp_path, "data=math")
    assert [problem.question for problem in data.train_problems(None)] == ["How many?"]
    assert data.report == [
        "1 problems to train on, 1 to be tested on",
        "1 rows left out of training, they are tested on",
    ]


def test_answers_of_another_form_are_left_out_and_counted(tmp_path: Path) -> None:
    rows = [
        {"problem": f"{i}", "answer": answer} for i, answer in enumerate([7, "012", "1000", ""])
    ]
    write(tmp_path / "aime_1983_2023.jsonl", *rows, {"problem": "x", "answer": "1/2"})
    write(tmp_path / "aime24.jsonl", {"problem": "t", "answer": 5.0, "id": 60})
    data = load(tmp_path, "data=aime")
    assert [problem.answer for problem in data.train_problems(None)] == ["7", "012"]
    assert data.report[-1].startswith("3 rows left out, no usable answer: first data.path: ")
    assert data.report[-1].endswith("aime_1983_2023.jsonl line 3")
    (tested,) = data.test_problems(1, None)
    assert (tested.id, tested.answer) == ("aime/test/60", "5")


def test_rows_of_the_hub_go_by_other_names_and_may_be_skipped(tmp_path: Path) -> None:
    """As gneubig/aime-1983-2024 calls its fields; 2024 is what is tested on."""
    rows = [
        {"ID": f"{year}-1", "Year": year, "Question": f"{year}?", "Answer": "3"}
        for year in (2023, 2024)
    ]
    write(tmp_path / "aime_1983_2023.jsonl", *rows)
    write(tmp_path / "aime24.jsonl", {"problem": "t", "answer": "5", "id": 60})
    (problem,) = load(tmp_path, "data=aime").train_problems(None)
    assert (problem.id, problem.question, problem.answer) == ("aime/train/2023-1", "2023?", "3")


def test_mixed_rows_say_their_own_task(tmp_path: Path) -> None:
    """As allenai/RLVR-GSM-MATH-IF-Mixed-Constraints writes them."""
    rows = [
        {
            "messages": [{"role": "user", "content": f"Question: {i}?\nAnswer:"}],
            "ground_truth": "4",
            "dataset": ("gsm8k", "MATH", "ifeval")[i % 3],
        }
        for i in range(90)
    ]
    write(tmp_path / "train.jsonl", *rows)
    data = load(tmp_path, "data=allenai_rlvr")
    assert {problem.task for problem in data.train_problems(None)} == {"gsm8k", "math", "ifeval"}
    problem = data.train_problem(0, None)
    assert data.wording.messages(problem)[0]["content"] == problem.question
    assert problem.question.startswith("Question: ") and problem.answer == "4"
    assert 1 <= data.num_tests(None) <= 12  # about 5 of 100


def test_levels_and_subjects_are_chosen_when_they_are_read(tmp_path: Path) -> None:
    rows = [COUNTING | {"problem": f"{i}", "level": f"Level {i}"} for i in range(1, 6)]
    write(tmp_path / "train.jsonl", *rows, COUNTING | {"type": "Algebra"})
    write(tmp_path / "test.jsonl", COUNTING | {"problem": "t"})
    data = load(
        tmp_path,
        "data=math",
        "data.levels=[3,5]",
        "data.subjects=[counting_and_probability]",
        "data.test=null",
        "data.held_out=0.5",
    )
    kept = data.train_problems(None) + data.test_problems(data.num_tests(None), None)
    assert sorted(problem.level for problem in kept) == [3, 5]
    message = r"data\.subjects=\['geometry'\]: allowed: algebra, counting_and_probability"
    with pytest.raises(ValueError, match=message):
        load(tmp_path, "data=math", "data.subjects=[geometry]")
    with pytest.raises(ValueError, match=r"data\.levels=\[6\]: allowed: 1, 2, 3, 4, 5"):
        load(tmp_path, "data=math", "data.levels=[6]")


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"answer": "1"}, r"train\.jsonl line 2: field 'problem' is missing.*\(1 of 2 lines\)"),
        ({"problem": "?"}, r"train\.jsonl line 2: field 'answer' is missing"),
        ({"problem": "?", "answer": True}, r"train\.jsonl line 2: field 'answer' holds True"),
    ],
)
def test_broken_rows_are_named(tmp_path: Path, row: dict[str, Any], message: str) -> None:
    write(tmp_path / "train.jsonl", COUNTING, row)
    write(tmp_path / "test.jsonl", COUNTING)
    with pytest.raises(ValueError, match=message):
        load(tmp_path, "data=math")


def test_files_that_are_not_there_are_named(tmp_path: Path) -> None:
    write(tmp_path / "train.jsonl", COUNTING)
    write(tmp_path / "dev.jsonl", COUNTING)
    message = r"holds no test\.jsonl .*, but dev\.jsonl, train\.jsonl \(see data\.test\.file\)"
    with pytest.raises(ValueError, match=message):
        load(tmp_path, "data=math")
    with pytest.raises(ValueError, match=r"data\.fields\.typo: needs question, context, answer"):
        load(tmp_path, "data=math", "+data.fields.typo=[x]")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (r"so $\boxed{\frac{1}{2}}$.", r"\frac{1}{2}"),
        (r"\boxed{1} and \boxed{2}", "2"),
        (r"\fbox{3}", "3"),
        (r"it is $\boxed 5$ in all", "5"),
        (r"\boxed{never closed", ""),
        ("nothing", ""),
    ],
)
def test_what_is_boxed(text: str, found: str) -> None:
    assert last_boxed(text) == found


def test_dollars_around_one_formula_are_no_part_of_it() -> None:
    texts = (" $5$ ", "5", "$1$, $2$", "$$x$$")
    assert [bare(text) for text in texts] == ["5", "5", "$1$, $2$", "$$x$$"]


def test_names_of_subjects_and_levels() -> None:
    assert subject_name("Counting & Probability") == "counting_and_probability"
    assert subject_name("Intermediate Algebra") == "intermediate_algebra"
    assert [level_number(text) for text in ("Level 5", "3", "Level ?", "\u0663")] == [5, 3, 0, 0]


@pytest.mark.skipif(not REAL.is_dir(), reason=f"the real data are not at {REAL}")
def test_the_real_math() -> None:
    words = ("data=math", f"data.path={REAL}/math", "data.test.file=test_dev_half.jsonl")
    data = real(*words)
    trained, tested = data.train_problems(None), data.test_problems(2500, None)
    assert (len(trained), len(tested)) == (7497, 2500)
    assert (
        data.report[1].endswith("train.jsonl.gz line 5342") and "2 rows left out" in data.report[1]
    )
    assert data.report[2].endswith("train.jsonl.gz line 960, asked in line 926")
    levels = Counter(problem.level for problem in trained)
    assert sorted(levels) == [0, 1, 2, 3, 4, 5] and sum(levels.values()) == 7497
    assert len({problem.subject for problem in trained}) == 7
    assert len({problem.id for problem in trained + tested}) == 9997


@pytest.mark.skipif(not REAL.is_dir(), reason=f"the real data are not at {REAL}")
@pytest.mark.parametrize(
    ("name", "folder", "trained", "tested"),
    [("aime", "aime", 975, 30), ("amc", "math", 0, 40), ("olympiadbench", "math", 0, 675)],
)
def test_the_other_real_files(name: str, folder: str, trained: int, tested: int) -> None:
    data = real(f"data={name}", f"data.path={REAL}/{folder}")
    problems = data.test_problems(tested, None)
    assert (len(data.train_problems(None)), data.num_tests(None)) == (trained, tested)
    assert all(problem.answer for problem in problems)
    assert len({problem.id for problem in problems}) == tested
