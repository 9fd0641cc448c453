"""The run folder: everything a run learns is on its own disk first.

run.json        identity: signature, id, name, tags, where it is mirrored
config.yaml     the resolved configuration
metrics.jsonl   one line a step and one an evaluation, each with its own time
rollouts.jsonl  a sample of whole exchanges: a solution, then what was said of it, a line each
cut.jsonl       lines that a resume cut from metrics.jsonl, until all are replayed
result.json     status, accuracy with intervals, reason of a failure
"""

from __future__ import annotations

import json
import os
import time
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rlcotrain.files import RESTORE, read_json, read_lines, sync, write, write_json
from rlcotrain.types import Rollout

KEYS = ("phase", "step")  # that every line of metrics.jsonl has
NEW_IDENTITY = "restore it, or delete it: the run then goes on under a new id, in MLflow too"
LINE_FILES = ("metrics.jsonl", "rollouts.jsonl")
JUDGEMENTS = 2  # written of an exchange, however many a solution got


class Record:
    """Writes one run's folder.

    A line that a resume cut away gives its time and its `time/` figures to its replay, so that a
    replay equal to the bit is an exact repeat for the tracker.
    """

    def __init__(self, folder: Path, rollouts: int) -> None:
        if rollouts < 0:
            raise ValueError(f"record.rollouts={rollouts}: must be 0 or more")
        self.folder = folder
        self.rollouts = rollouts
        self._cut: dict[tuple[str, int], dict[str, Any]] = {}
        self.replayed = {"steps": 0, "different": 0}

    def open(self, signature: str, name: str, tags: Mapping[str, str], tracking: Any) -> None:
        """Begin or go on in the folder; a finished run stays as it is.

        ValueError if the folder belongs to another configuration.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        known = read_json(self.folder / "run.json", NEW_IDENTITY)
        if known is not None and (lacking := {"signature", "id", "started"} - known.keys()):
            raise ValueError(
                f"{self.folder / 'run.json'}: has no {', '.join(sorted(lacking))}; {NEW_IDENTITY}"
            )
        if known is not None and known["signature"] != signature:
            raise ValueError(
                f"folder={self.folder}: holds a run of another configuration "
                f"({known['signature']}, this one is {signature}); choose another folder"
            )
        if known is not None and (self.result() or {}).get("status") == "finished":
            return
        identity = {
            "id": known["id"] if known else uuid.uuid4().hex,
            "signature": signature,
            "name": name,
            "started": known["started"] if known else time.time(),
            "tracking": tracking,
            "tags": dict(tags),
        }
        write_json(self.folder / "run.json", identity)

    def result(self) -> dict[str, Any] | None:
        """What result.json says, None where there is none."""
        left = read_json(self.folder / "result.json")
        if left is not None and "status" not in left:
            raise ValueError(f"{self.folder / 'result.json'}: has no status; {RESTORE}")
        return left

    def line(self, phase: str, step: int, metrics: Mapping[str, float]) -> None:
        """Append a line to metrics.jsonl."""
        begin = {"step": step, "time": round(time.time(), 3), "phase": phase}
        self._append_metrics([{**begin, **metrics}])

    def sample(self, phase: str, step: int, rows: Sequence[Rollout]) -> None:
        """Append some whole exchanges to rollouts.jsonl, spread over the groups of the step."""
        exchanges = list(_exchanges(rows).values())
        count = min(self.rollouts, len(exchanges))
        chosen = [exchanges[i * len(exchanges) // count] for i in range(count)]
        _append(
            self.folder / "rollouts.jsonl",
            [_row_line(phase, step, row) for exchange in chosen for row in exchange],
        )

    def offsets(self) -> dict[str, int]:
        """Bytes of each line file, for a checkpoint; they are on the disk by then."""
        files = [file for name in LINE_FILES if (file := self.folder / name).exists()]
        for path in (*files, self.folder) if files else ():
            sync(path)
        return dict.fromkeys(LINE_FILES, 0) | {file.name: file.stat().st_size for file in files}

    def check(self, offsets: Mapping[str, int]) -> None:
        """ValueError, naming the file, where the line files do not reach to a checkpoint's offsets:
        lines are lost."""
        for name in LINE_FILES:
            file, offset = self.folder / name, offsets.get(name, 0)
            size = file.stat().st_size if file.exists() else 0
            if size < offset:
                there = f"has {size} bytes" if file.exists() else "is missing"
                raise ValueError(f"{file}: {there}, the checkpoint needs its first {offset}")
            if offset and _byte(file, offset - 1) != b"\n":
                raise ValueError(f"{file}: no line ends at byte {offset}, as the checkpoint's does")

    def cut(self, offsets: Mapping[str, int]) -> None:
        """Take the line files back to a checkpoint's offsets, remembering what was cut.

        On the disk as well: a run that is killed while it replays must still know the old times.
        ValueError, naming file and line, where one cannot be read, or as `check`.
        """
        self.check(offsets)
        metrics, start = self.folder / "metrics.jsonl", offsets.get("metrics.jsonl", 0)
        found = [
            *read_lines(self._cut_file, keys=KEYS),
            *read_lines(metrics, start, keys=KEYS),
        ]
        self._cut = {(line["phase"], line["step"]): line for line in found}
        for line in read_lines(metrics, 0, start, KEYS):
            self._cut.pop((line["phase"], line["step"]), None)
        if found:
            write(self._cut_file, "".join(json.dumps(line) + "\n" for line in self._cut.values()))
        for name in LINE_FILES:
            if (self.folder / name).exists():
                os.truncate(self.folder / name, offsets.get(name, 0))

    def lines(self) -> dict[str, bytes]:
        """The line files as they stand."""
        files = {name: self.folder / name for name in LINE_FILES}
        return {name: file.read_bytes() for name, file in files.items() if file.exists()}

    def append_lines(self, lines: Mapping[str, bytes]) -> None:
        """Append whole lines that another run of the same phases wrote."""
        for name, text in lines.items():
            values = [json.loads(line) for line in text.splitlines()]
            if name == "metrics.jsonl":
                self._append_metrics(values)
            else:
                _append(self.folder / name, values)

    def _append_metrics(self, lines: Sequence[dict[str, Any]]) -> None:
        _append(self.folder / "metrics.jsonl", [self._replayed(line) for line in lines])
        if not self._cut:
            self._cut_file.unlink(missing_ok=True)

    def _replayed(self, line: dict[str, Any]) -> dict[str, Any]:
        """The line with the times of the one it repeats, if there is one."""
        old = self._cut.pop((line["phase"], line["step"]), None)
        if old is None:
            return line
        line |= {key: value for key, value in old.items() if "time" in key.split("/")}
        self.replayed["steps"] += 1
        self.replayed["different"] += line != old
        return line

    @property
    def _cut_file(self) -> Path:
        return self.folder / "cut.jsonl"


def _byte(file: Path, place: int) -> bytes:
    with file.open("rb") as stream:
        stream.seek(place)
        return stream.read(1)


def _append(file: Path, lines: Sequence[Mapping[str, Any]]) -> None:
    with file.open("a") as stream:
        stream.writelines(json.dumps(line) + "\n" for line in lines)


def _exchanges(rows: Sequence[Rollout]) -> dict[str, list[Rollout]]:
    """Rows by episode, each solution before the first judgements of it."""
    found: dict[str, list[Rollout]] = {}
    for row in rows:
        found.setdefault(row.episode, []).append(row)
    return {
        episode: [row for row in said if row.judgement is None]
        + [row for row in said if row.judgement is not None][:JUDGEMENTS]
        for episode, said in found.items()
    }


def _row_line(phase: str, step: int, row: Rollout) -> dict[str, Any]:
    """A row as people want to read it."""
    assert row.advantages is not None, "rows are recorded with their advantages"
    line: dict[str, Any] = {
        "step": step,
        "phase": phase,
        "episode": row.episode,
        "role": row.role,
        "policy": row.policy,
        "problem": row.problem.id,
        "peers": row.peers,
        "question": row.problem.question,
        "answer": row.problem.answer,
        "text": row.text,
        "stop": row.stop,
        "length": len(row.token_ids),
        "advantage": round(float(row.advantages.mean()), 6),
        "rewards": {
            f"{reward.stream}/{reward.part}@{reward.start}-{reward.end}": reward.value
            for reward in row.rewards
        },
    }
    if row.grade is not None:
        line["grade"] = {
            "status": row.grade.status,
            "score": row.grade.score,
            "extracted": row.grade.extracted,
            "rule": row.grade.rule,
        }
    if row.judgement is not None:
        verdict = row.judgement.verdict
        line["verdict"] = {
            "status": verdict.status,
            "score": verdict.score,
            "steps": list(verdict.steps),
        }
        line["judged_right"] = row.judgement.right
    return line
