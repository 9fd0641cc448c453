"""Files that are whole or not there, and errors that name the file that cannot be read.

What is written here is on the disk before it gets its name, and its name before the next step: a
kill, a full disk or a power cut leaves the old file or the new one.
"""

import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

SUMS = "SHA256SUMS"  # of a sealed folder, as sha256sum writes and checks them
RESTORE = "restore it, or delete it and start again"
CUT = "restore the file, or cut it before the line"


def sync(path: Path) -> None:
    """Bring a file, or the names in a folder, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def place(aside: Path, target: Path) -> None:
    """Rename a file, whose content is on the disk, or a sealed folder to its name, durably."""
    os.replace(aside, target)
    sync(target.parent)


def write(file: Path, text: str) -> None:
    """Replace a file by a whole new one: written aside, brought to the disk, renamed."""
    aside = file.with_name(f".{file.name}")
    try:
        aside.write_text(text, encoding="utf-8")
        sync(aside)
    except OSError:
        aside.unlink(missing_ok=True)
        raise
    place(aside, file)


def write_json(file: Path, value: Mapping[str, Any]) -> None:
    """As `write`, of an object."""
    write(file, json.dumps(value, indent=2) + "\n")


def read_json(file: Path, cure: str = RESTORE) -> dict[str, Any] | None:
    """The file's object, None where there is no file. ValueError, naming the file, if it is none;
    `cure`: what to do then."""
    return parse(file.read_bytes(), f"{file}", cure) if file.exists() else None


def read_lines(
    file: Path,
    start: int = 0,
    end: int | None = None,
    keys: Sequence[str] = (),
    cure: str = CUT,
) -> Iterator[dict[str, Any]]:
    """Whole lines between two byte offsets; a last one that a kill left half-written is none.

    ValueError, naming file and line, where one is no JSON object or lacks one of the keys.
    """
    if not file.exists():
        return
    with file.open("rb") as stream:
        stream.seek(start)
        for raw in stream:
            at, start = start, start + len(raw)
            if not raw.endswith(b"\n") or (end is not None and start > end):
                return
            try:
                line = parse(raw, "", "")
                if lacking := [key for key in keys if key not in line]:
                    raise ValueError(f"has no {', '.join(lacking)}")
            except ValueError as error:
                number = _count_lines(file, at) + 1
                raise ValueError(f"{file}: line {number} {error}; {cure}") from None
            yield line


def parse(raw: bytes, what: str, cure: str) -> dict[str, Any]:
    """The object of a JSON text; ValueError, naming `what` and the cure, if it is none."""
    try:
        value = json.loads(raw.decode())
    except UnicodeDecodeError:
        reason = "is no UTF-8 text"
    except (ValueError, RecursionError) as error:
        reason = f"is no JSON ({error})" if raw.strip() else "is empty"
    else:
        if isinstance(value, dict):
            return value
        reason = "is no JSON object"
    raise ValueError(": ".join(filter(None, [what, reason])) + (f"; {cure}" if cure else ""))


def _count_lines(file: Path, end: int) -> int:
    with file.open("rb") as stream:
        return stream.read(end).count(b"\n")


def seal(folder: Path) -> None:
    """Write the digests of a folder's files beside them, and bring all of it to the disk."""
    files = sorted(folder.iterdir())
    with ThreadPoolExecutor(1) as disk:  # which takes longer than the digests
        synced = disk.map(sync, files)
        sums = [f"{_digest(file)}  {file.name}\n" for file in files]
        assert len(list(synced)) == len(files), "or the first OSError"
    write(folder / SUMS, "".join(sums))


def check_seal(folder: Path) -> list[str]:
    """Names of the files of a sealed folder; ValueError, naming the one that is not what it was."""
    sums = folder / SUMS
    if not sums.exists():
        raise ValueError(f"{sums}: missing; a version without digests wrote this, or a copy broke")
    names = []
    for line in sums.read_text(encoding="utf-8", errors="replace").splitlines():
        digest, _, name = line.partition("  ")
        names.append(name)
        file = folder / Path(name).name
        if not name or not file.is_file():
            raise ValueError(f"{file}: missing" if name else f"{sums}: damaged")
        if _digest(file) != digest:
            raise ValueError(f"{file}: damaged ({file.stat().st_size} bytes, another SHA-256)")
    return names


def _digest(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
