"""Files that are whole or not there, and errors that say which file, which line and what to do."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from rlcotrain.files import check_seal, read_json, read_lines, seal, write


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"", "is empty"),
        (b" \n", "is empty"),
        (b"{", "is no JSON"),
        (b"\0" * 40, "is no JSON"),
        (b"\xff\xfe{}", "is no UTF-8 text"),
        (b"[" * 100_000, "is no JSON"),
        (b'{"n": ' + b"9" * 5000 + b"}", "is no JSON"),
        (b"[1]", "is no JSON object"),
        (b"null", "is no JSON object"),
    ],
)
def test_what_is_no_object_is_named(raw: bytes, reason: str, tmp_path: Path) -> None:
    file = tmp_path / "run.json"
    file.write_bytes(raw)
    with pytest.raises(ValueError) as raised:
        read_json(file, "delete it")
    assert str(raised.value).startswith(f"{file}: {reason}")
    assert str(raised.value).endswith("; delete it") and "\n" not in str(raised.value)
    lines = tmp_path / "metrics.jsonl"
    lines.write_bytes(b'{"step": 0}\n{"step": 1}\n' + raw.replace(b"\n", b"") + b"\n{}\n")
    with pytest.raises(ValueError) as raised:
        list(read_lines(lines))
    assert str(raised.value).startswith(f"{lines}: line 3 {reason}")
    assert "cut it before the line" in str(raised.value)
    with pytest.raises(ValueError, match=r"metrics\.jsonl: line 3 "):
        list(read_lines(lines, start=12))  # counted from the file's beginning


def test_a_line_that_lacks_a_key_is_named(tmp_path: Path) -> None:
    file = tmp_path / "metrics.jsonl"
    file.write_text('{"step": 0, "phase": "solve"}\n{"step": 1}\n')
    with pytest.raises(ValueError, match=r"metrics\.jsonl: line 2 has no phase; "):
        list(read_lines(file, keys=("phase", "step")))


def test_no_file_is_nothing(tmp_path: Path) -> None:
    assert read_json(tmp_path / "none") is None and list(read_lines(tmp_path / "none")) == []


def test_a_file_is_on_the_disk_before_it_has_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = list[str]()
    real = os.fsync, os.replace

    def fsync(number: int) -> None:
        told.append(f"sync {Path(os.readlink(f'/proc/self/fd/{number}')).name}")
        real[0](number)

    def replace(old: Path, new: Path) -> None:
        told.append(f"rename {Path(new).name}")
        real[1](old, new)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "replace", replace)
    write(tmp_path / "latest", "000040\n")
    assert told == ["sync .latest", "rename latest", f"sync {tmp_path.name}"]


def test_a_full_disk_leaves_the_old_file_and_nothing_beside_it(tmp_path: Path) -> None:
    if os.system(f"mount -t tmpfs -o size=16k none {tmp_path} 2>/dev/null"):
        pytest.skip("a small disk needs the right to mount one")
    try:
        write(tmp_path / "run.json", "old")
        with pytest.raises(OSError, match="No space left"):
            write(tmp_path / "run.json", "x" * 100_000)
        assert [path.name for path in tmp_path.iterdir()] == ["run.json"]
        assert (tmp_path / "run.json").read_text() == "old"
    finally:
        os.system(f"umount {tmp_path}")


def sealed(folder: Path) -> Path:
    (folder / "state.pt").write_bytes(b"0123456789" * 100)
    (folder / "metrics.jsonl").write_text(json.dumps({"step": 0}) + "\n")
    seal(folder)
    return folder


def test_a_seal_is_what_sha256sum_checks(tmp_path: Path) -> None:
    assert check_seal(sealed(tmp_path)) == ["metrics.jsonl", "state.pt"]
    done = subprocess.run(["sha256sum", "-c", "SHA256SUMS"], cwd=tmp_path, capture_output=True)
    assert done.returncode == 0


@pytest.mark.parametrize("name", ["state.pt", "metrics.jsonl"])
@pytest.mark.parametrize("change", ["flip", "cut", "empty", "grow", "missing"])
def test_a_changed_file_is_named(name: str, change: str, tmp_path: Path) -> None:
    file = sealed(tmp_path) / name
    raw = file.read_bytes()
    half = len(raw) // 2
    changed = {
        "flip": raw[:half] + bytes([raw[half] ^ 1]) + raw[half + 1 :],
        "cut": raw[:-1],
        "empty": b"",
        "grow": raw + b"\0",
    }
    file.unlink() if change == "missing" else file.write_bytes(changed[change])
    reason = "missing" if change == "missing" else "damaged"
    with pytest.raises(ValueError, match=rf"{name}: {reason}"):
        check_seal(tmp_path)


@pytest.mark.parametrize(("text", "reason"), [(None, "missing"), ("half a li", "damaged")])
def test_the_digests_themselves(text: str | None, reason: str, tmp_path: Path) -> None:
    file = sealed(tmp_path) / "SHA256SUMS"
    file.unlink() if text is None else file.write_text(text)
    with pytest.raises(ValueError, match=f"SHA256SUMS: {reason}"):
        check_seal(tmp_path)
