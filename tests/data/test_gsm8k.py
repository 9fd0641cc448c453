import gzip
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from rlcotrain.data.gsm8k import Gsm8k, load
from rlcotrain.data.wording import Wording

REAL = Path(__file__).parents[3] / "shared" / "data" / "gsm8k"
CLIPS = {
    "question": "How many clips?\n",
    "answer": "She sold 48/2 = <<48/2=24>>24.\nIn all 48+1,000=<<48+1000=1048>>1,048.\n#### 1,048",
}


def folder(path: Path, *train: dict[str, str]) -> str:
    """A folder with these training rows and one row to be tested on."""
    (path / "train.jsonl").write_text("\n".join(map(json.dumps, train)))
    tested = CLIPS | {"question": "How many pins?"}
    (path / "test.jsonl.gz").write_bytes(gzip.compress(json.dumps(tested).encode()))
    return str(path)


def gsm8k(path: str) -> Gsm8k:
    return Gsm8k(
        seed=0, path=path, stages={}, wording=Wording(template="Question: {question}\nAnswer:")
    )


def test_a_row_word_by_word(tmp_path: Path) -> None:
    data = gsm8k(folder(tmp_path, CLIPS))
    problem = data.train_problem(0, None)
    assert problem.id == "gsm8k/train/1"
    assert problem.answer == "1048"
    assert problem.solution == "She sold 48/2 = 24.\nIn all 48+1,000=1,048.\n#### 1,048"
    (message,) = data.wording.messages(problem)
    assert message["content"] == "Question: How many clips?\nAnswer:"
    assert data.test_problems(1, None)[0].id == "gsm8k/test/1"


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"question": "?"}, r"data\.path: .*train\.jsonl line 2: field 'answer' is missing"),
        ({"answer": "#### 1"}, r"train\.jsonl line 2: field 'question' is missing"),
    ],
)
def test_broken_rows_are_named_with_their_line(
    tmp_path: Path, row: dict[str, str], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        gsm8k(folder(tmp_path, CLIPS, row))


def test_rows_without_a_usable_answer_are_left_out_and_counted(tmp_path: Path) -> None:
    rows = [{"question": "?", "answer": text} for text in ("5", "#### x")]
    data = gsm8k(folder(tmp_path, CLIPS, *rows))
    assert [problem.id for problem in data.train_problems(None)] == ["gsm8k/train/1"]
    place = f"data.path: {tmp_path}/train.jsonl line 2"
    assert data.report == [
        "1 problems to train on, 1 to be tested on",
        f"2 rows left out, no usable answer: first {place}",
    ]


def test_missing_folder_and_missing_file_are_named(tmp_path: Path) -> None:
    with pytest.raises(
        ValueError, match=r"data\.path=nowhere is no folder; expected .*train\.jsonl"
    ):
        gsm8k("nowhere")
    with pytest.raises(ValueError, match=r"train\.jsonl does not exist"):
        gsm8k(str(tmp_path))


def test_a_hub_out_of_reach_is_named(tmp_path: Path) -> None:
    # In a process of its own: the hub's library reads its settings once, when it is imported.
    code = "from rlcotrain.data.gsm8k import load; load(None, 'test')"
    settings = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path)}
    run = subprocess.run([sys.executable, "-c", code], env=settings, capture_output=True, text=True)
    assert run.returncode == 1
    assert (
        "ValueError: data.path=null asks the hub for openai/gsm8k, which does not answer"
        in run.stderr
    )


@pytest.mark.skipif(not REAL.is_dir(), reason=f"the real GSM8K is not at {REAL}")
def test_the_real_files() -> None:
    (train, notes), (test, more) = load(str(REAL), "train"), load(str(REAL), "test")
    assert not notes and not more
    assert (len(train), len(test)) == (7473, 1319)
    assert train[0].answer == "72" and train[0].question.startswith("Natalia sold clips")
    assert (test[0].id, test[0].answer) == ("gsm8k/test/1", "18")
    for problem in train + test:
        assert problem.solution is not None and "<<" not in problem.solution
        assert problem.answer is not None and "," not in problem.answer
