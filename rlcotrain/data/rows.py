"""JSON-lines files read row by row; whatever is wrong is reported with its file and line."""

import gzip
import json
import math
import re
import stat
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from rlcotrain.data.dataset import folded
from rlcotrain.types import Problem

Item = TypeVar("Item")
Made = TypeVar("Made")
SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")  # half of a character, unless the other half follows


@dataclass(frozen=True, slots=True)
class Row:
    """One row and where it stands: `source` names the key and the file, `line` counts from 1."""

    source: str
    line: int
    values: dict[str, Any]

    def text(self, field: str) -> str:
        """A field that holds a text or a number, as text. ValueError where it does not."""
        value = self.values.get(field)
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            held = "is missing" if field not in self.values else f"holds {value!r:.60}"
            fields = ", ".join(map(repr, self.values))
            raise self.error(f"field {field!r} {held}, expected text or a number (has: {fields})")
        if isinstance(value, float) and not math.isfinite(value):
            raise self.error(f"field {field!r} holds {value}, which is no number")
        # Tables of the hub hold whole numbers as 27.0, which no answer looks like.
        return str(int(value) if isinstance(value, float) and value.is_integer() else value)

    def texts(self, field: str) -> list[str]:
        """The same of a field that may also hold a list of them."""
        value = self.values.get(field)
        if not isinstance(value, list) or not value:
            return [self.text(field)]
        return [Row(self.source, self.line, {field: part}).text(field) for part in value]

    def question(self, field: str) -> str:
        """A field that holds a text, or messages, the last of which is asked."""
        value = self.values.get(field)
        if isinstance(value, list) and value and isinstance(value[-1], dict):
            return Row(self.source, self.line, value[-1]).text("content")
        return self.text(field)

    def holds(self, field: str) -> bool:
        """Whether the field is there and says something."""
        return self.values.get(field) is not None

    def holds_null(self, field: str) -> bool:
        """Whether the field is there and says that nothing is known."""
        return self.values.get(field, "") is None

    def number(self, field: str) -> int:
        """A field that holds a whole number, as such or as text. ValueError where it does not."""
        text = self.text(field)
        digits = text.removeprefix("-")
        if not (digits.isascii() and digits.isdecimal() and len(digits) <= 18):
            raise self.error(f"field {field!r} holds {text!r:.60}, expected a whole number")
        return int(text)

    def error(self, problem: str) -> ValueError:
        """The error to raise, with the place in front."""
        return ValueError(f"{self.place}: {problem}")

    @property
    def place(self) -> str:
        return f"{self.source} line {self.line}"


def read_rows(path: Path, key: str) -> list[Row]:
    """All rows of a .jsonl or .jsonl.gz file; `key` is the configuration key that named it."""
    source = f"{key}: {path}"
    if (kind := _kind(path)) != "a file":
        raise ValueError(f"{source} {kind}; expected a .jsonl or .jsonl.gz file")
    filled = (numbered for numbered in _lines(path, source) if numbered[1].strip())
    rows = gather(filled, lambda numbered: _parse(source, *numbered))
    if not rows:
        raise ValueError(f"{source} is empty; expected one JSON object a line")
    return rows


def hub_rows(name: str, config: str | None, split: str) -> list[Row]:
    """The rows of a split of a data set on the Hugging Face hub.

    ValueError where neither the hub nor its cache on this machine has them.
    """
    from datasets import load_dataset  # heavy, and needed only without a path

    try:
        rows = load_dataset(name, config, split=split)
    except OSError as error:
        raise ValueError(
            f"data.path=null asks the hub for {name}, which does not answer ({error}); "
            "expected a folder that holds its files"
        ) from error
    return [Row(f"{name} {split}", i, dict(row)) for i, row in enumerate(rows, start=1)]


def read_problems(
    rows: Sequence[Row], read: Callable[[Row], Problem]
) -> tuple[list[Problem], list[str]]:
    """Every row as `read` gives it, and what is to be told of rows that were left out.

    That are those whose question or answer says nothing, and those whose question an earlier row
    has asked. ValueError for rows that cannot be read and for ids that come twice, with the first
    of them and their number.
    """
    pairs = list(zip(rows, gather(rows, read), strict=True))
    _check_ids(pairs)
    kept = list[Problem]()
    left = (
        LeftOut("no usable answer"),
        LeftOut("no question"),
        LeftOut("their question stands before"),
    )
    answers, others = dict[str, tuple[int, str | None]](), LeftOut("")
    for row, problem in pairs:
        question = folded(problem)
        line, answer = answers.get(question, (row.line, problem.answer))
        if problem.answer == "":
            left[0].add(row)
        elif not question:
            left[1].add(row)
        elif question in answers:
            left[2].add(row, f", asked in line {line}")
            if None not in (answer, problem.answer) and answer != problem.answer:
                others.add(row, f" says {problem.answer!r:.40}, line {line} {answer!r:.40}")
        else:
            answers[question] = line, answer
            kept.append(problem)
    notes = [
        f"{one.count} rows left out, {one.why}: first {one.first}" for one in left if one.count
    ]
    if others.count:
        notes.append(f"{others.count} of them have another answer: first {others.first}")
    return kept, notes


@dataclass(slots=True)
class LeftOut:
    """Rows left out for one reason: how many, and the place of the first."""

    why: str
    count: int = 0
    first: str = ""

    def add(self, row: Row, words: str = "") -> None:
        """One more."""
        self.first = self.first or row.place + words
        self.count += 1


def _check_ids(pairs: Sequence[tuple[Row, Problem]]) -> None:
    lines = dict[str, int]()
    doubles = [
        (row, problem)
        for row, problem in pairs
        if lines.setdefault(problem.id, row.line) != row.line
    ]
    if doubles:
        row, problem = doubles[0]
        raise row.error(
            f"id {problem.id!r} is that of line {lines[problem.id]}; "
            f"{len(doubles)} of {len(pairs)} lines repeat an id"
        )


def gather(items: Iterable[Item], make: Callable[[Item], Made]) -> list[Made]:
    """`make` of every item. ValueError with the first error and the number of all."""
    made, wrong = list[Made](), list[ValueError]()
    for item in items:
        try:  # a border: what others wrote
            made.append(make(item))
        except ValueError as error:
            wrong.append(error)
    if wrong:
        raise ValueError(f"{wrong[0]} ({len(wrong)} of {len(made) + len(wrong)} lines)") from wrong[
            0
        ]
    return made


def _lines(path: Path, source: str) -> Iterator[tuple[int, bytes]]:
    number = 0
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                yield number, line
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(f"{source} cannot be read after line {number}: {error}") from error


def _parse(source: str, number: int, line: bytes) -> Row:
    place = f"{source} line {number}"
    try:
        text = line.decode(json.detect_encoding(line))
        values = DECODER.decode(text)
        if SURROGATE.search(text):
            json.dumps(values, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{place} is no JSON ({error}); expected one object a line") from error
    if not isinstance(values, dict):
        raise ValueError(f"{place} holds a {type(values).__name__}; expected one object a line")
    return Row(source, number, values)


def _kind(path: Path) -> str:
    """What stands at a path: "a file", or what to say of it."""
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return "does not exist"
    except (OSError, ValueError) as error:
        return f"cannot be read ({getattr(error, 'strerror', None) or error})"
    if stat.S_ISREG(mode):
        return "a file"
    return "is a folder" if stat.S_ISDIR(mode) else "is no regular file"


def _refuse(word: str) -> None:
    raise json.JSONDecodeError(f"{word} is no number", word, 0)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"key {twice!r} stands in an object twice")
    return values


DECODER = json.JSONDecoder(object_pairs_hook=_object, parse_constant=_refuse)
