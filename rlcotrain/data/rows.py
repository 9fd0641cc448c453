"""JSON-lines files read row by row; whatever is wrong is reported with its file and line."""

import gzip
import json
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any


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
        return str(value)

    def holds_null(self, field: str) -> bool:
        """Whether the field is there and says that nothing is known."""
        return self.values.get(field, "") is None

    def number(self, field: str) -> int:
        """A field that holds a whole number, as such or as text. ValueError where it does not."""
        text = self.text(field)
        if not text.removeprefix("-").isdecimal():
            raise self.error(f"field {field!r} holds {text!r:.60}, expected a whole number")
        return int(text)

    def error(self, problem: str) -> ValueError:
        """The error to raise, with the place in front."""
        return ValueError(f"{self.source} line {self.line}: {problem}")


def read_rows(path: Path, key: str) -> list[Row]:
    """All rows of a .jsonl or .jsonl.gz file; `key` is the configuration key that named it."""
    source = f"{key}: {path}"
    if not path.is_file():
        raise ValueError(f"{source} does not exist; expected a .jsonl or .jsonl.gz file")
    rows = [_parse(source, number, line) for number, line in _lines(path, source) if line.strip()]
    if not rows:
        raise ValueError(f"{source} is empty; expected one JSON object a line")
    return rows


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
        values = json.loads(line)
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(f"{place} is no JSON ({error}); expected one object a line") from error
    if not isinstance(values, dict):
        raise ValueError(f"{place} holds a {type(values).__name__}; expected one object a line")
    return Row(source, number, values)
