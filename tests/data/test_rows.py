import gzip
import os
import re
from pathlib import Path

import pytest

from rlcotrain.data.rows import Row, read_rows


def test_rows_keep_their_line_numbers_and_blank_lines_are_skipped(tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    file.write_text('{"x": 1}\n\n{"x": "\u00e9"}\n', encoding="utf-8")
    rows = read_rows(file, "data.path")
    assert [(row.line, row.text("x")) for row in rows] == [(1, "1"), (3, "\u00e9")]


def test_packed_files_read_the_same(tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl.gz"
    file.write_bytes(gzip.compress(b'{"x": 1}\n{"x": 2}'))
    assert [row.number("x") for row in read_rows(file, "data.path")] == [1, 2]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"x": 1}\n{"x": \n', r"data\.path: .*a\.jsonl line 2 is no JSON .*one object a line"),
        (b'{"x": 1}\n\n[1]\n', r"a\.jsonl line 3 holds a list; expected one object a line"),
        (b'{"x": "\xff"}\n', r"a\.jsonl line 1 is no JSON .*utf-8"),
        (b'{"x": ' + b"[" * 100_000, r"a\.jsonl line 1 is no JSON .*recursion"),
        (b'{"x": NaN}\n', r"a\.jsonl line 1 is no JSON \(NaN is no number.*1 of 1 lines"),
        (b'{"x": 1}\n{\n{"x": 2}\n[]\n', r"a\.jsonl line 2 is no JSON .* \(2 of 4 lines\)"),
        (b'{"x": "a \\ud800 b"}', r"a\.jsonl line 1 is no JSON .*surrogates"),
        (b'{"x": 1}\n{"x": {"y": ["\\uDFFF"]}}', r"a\.jsonl line 2 is no JSON .*surrogates"),
        (b'{"\\udc00": 1}', r"a\.jsonl line 1 is no JSON .*surrogates"),
        (b'{"x": "\xed\xa0\x80"}', r"a\.jsonl line 1 is no JSON .*utf-8"),
        (b'{"x": 1, "y": 2, "x": 3}', r"line 1 is no JSON \(key 'x' stands in an object twice\)"),
        (b'{"z": [{"x": 1, "x": 1}]}', r"line 1 is no JSON \(key 'x' stands in an object twice\)"),
        (b'{"x": ' + b"1" * 5000 + b"}", r"a\.jsonl line 1 is no JSON .*5000 digits"),
        (b"\n \n", r"a\.jsonl is empty; expected one JSON object a line"),
    ],
)
def test_broken_files_are_named_with_their_line(
    tmp_path: Path, content: bytes, message: str
) -> None:
    file = tmp_path / "a.jsonl"
    file.write_bytes(content)
    with pytest.raises(ValueError, match=message):
        read_rows(file, "data.path")


def test_halves_of_one_character_are_one(tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    file.write_bytes(b'\xef\xbb\xbf{"x": "\\ud83d\\uDE00 \\\\ud800"}')
    (row,) = read_rows(file, "data.path")
    assert row.text("x") == "\U0001f600 \\ud800"


def test_what_is_no_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    (tmp_path / "gone").symlink_to(tmp_path / "nowhere")
    (tmp_path / "plain").write_text("")
    for name, cause in {
        "folder": "is a folder",
        "pipe": "is no regular file",
        "loop": "cannot be read (Too many levels of symbolic links)",
        "gone": "does not exist",
        "plain/x": "cannot be read (Not a directory)",
        "x" * 300: "cannot be read (File name too long)",
    }.items():
        with pytest.raises(ValueError, match=re.escape(f"{name} {cause}; expected a .jsonl or")):
            read_rows(tmp_path / name, "data.path")


def test_missing_file_is_named() -> None:
    with pytest.raises(ValueError, match=r"data\.path: nowhere\.jsonl does not exist"):
        read_rows(Path("nowhere.jsonl"), "data.path")


@pytest.mark.parametrize("cut", [3, -9])
def test_damaged_packed_file_is_named(tmp_path: Path, cut: int) -> None:
    file = tmp_path / "a.jsonl.gz"
    file.write_bytes(gzip.compress(b'{"x": 1}\n' * 50)[:cut])
    with pytest.raises(ValueError, match=r"a\.jsonl\.gz cannot be read after line \d+"):
        read_rows(file, "data.path")


@pytest.mark.parametrize(
    ("field", "message"),
    [
        ("y", r"here line 7: field 'y' is missing, expected text or a number \(has: 'x', 'z'\)"),
        ("z", r"here line 7: field 'z' holds \[1, 2\], expected text"),
    ],
)
def test_a_field_that_is_no_text_is_named(field: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Row("here", 7, {"x": "a", "z": [1, 2]}).text(field)


def test_whole_numbers_may_be_written_as_text() -> None:
    assert Row("here", 1, {"x": "-3"}).number("x") == -3
    for held in (2.5, "\u0663", "\uff13", "1" * 5000, "", "-", "+3", "1e3"):
        with pytest.raises(ValueError, match=r"line 1: field 'x' holds '.*, expected a whole"):
            Row("here", 1, {"x": held}).number("x")


def test_whole_numbers_lose_their_point() -> None:
    row = Row(
        "here", 1, {"x": 27.0, "y": 4.5, "z": [1, "b"], "m": [{"role": "user", "content": "?"}]}
    )
    assert (row.text("x"), row.text("y"), row.texts("z"), row.texts("x")) == (
        *("27", "4.5", ["1", "b"]),
        ["27"],
    )
    assert (row.question("m"), row.question("x")) == ("?", "27")
    for held in (1e999, -1e999):
        with pytest.raises(ValueError, match=r"line 1: field 'x' holds -?inf, which is no number"):
            Row("here", 1, {"x": held}).text("x")
    with pytest.raises(ValueError, match=r"field 'm' holds \{'role'"):
        row.texts("m")
