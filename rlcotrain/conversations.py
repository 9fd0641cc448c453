"""What the models said to each other at last, for people to read."""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rlcotrain.files import read_lines

EXCHANGES = 12  # of the whole run
Line = Mapping[str, Any]
Exchange = list[Line]  # a solution, then the judgements of it
WORDS = {True: "right", False: "wrong"}


def write_conversations(folder: Path, count: int = EXCHANGES) -> Path:
    """Write conversations.md into a run folder: the last exchanges of each phase, newest first."""
    phases = list(reversed(_last(folder / "rollouts.jsonl", count).values()))
    parts = []
    for place, steps in enumerate(phases):
        share = count // len(phases) + (place < count % len(phases))
        parts += [_as_markdown(exchange) for exchange in _chosen(steps, share)]
    file = folder / "conversations.md"
    text = "\n".join(parts) or "No rollouts were recorded.\n"
    # A model may write what no encoding holds.
    file.write_text(f"# Last conversations of the run\n\n{text}", "utf-8", "replace")
    return file


def _last(file: Path, steps: int) -> dict[str, dict[int, list[Exchange]]]:
    """The exchanges of each phase's last steps; the phase that spoke last stands last.

    No more than those is held at a time: the file may be large.
    """
    phases: dict[str, dict[int, dict[str, Exchange]]] = {}
    for line in read_lines(file):
        phase = phases.pop(line["phase"], {})
        phases[line["phase"]] = phase
        exchanges = phase.setdefault(line["step"], {})
        # A kept prelude may be from before episodes were written.
        exchanges.setdefault(line.get("episode", line["peers"]), []).append(line)
        if len(phase) > steps:
            del phase[next(iter(phase))]
    return {
        name: {step: list(exchanges.values()) for step, exchanges in phase.items()}
        for name, phase in phases.items()
    }


def _chosen(steps: Mapping[int, Sequence[Exchange]], count: int) -> list[Exchange]:
    """`count` exchanges, newest first: one of each step in turn, each time another of it."""
    newest = sorted(steps, reverse=True)
    places = [
        (turn, step, (turn + i) % len(steps[step]))
        for turn in range(max(map(len, steps.values()), default=0))
        for i, step in enumerate(newest)
        if turn < len(steps[step])
    ]
    order = sorted(places[:count], key=lambda place: -place[1])
    return [steps[step][which] for _, step, which in order]


def _as_markdown(exchange: Exchange) -> str:
    first = exchange[0]
    answer = "" if first["answer"] is None else f" Its answer is {_code(first['answer'])}."
    return "\n".join(
        [
            f"## {first['phase']}, step {first['step']}: {_code(first['problem'])}\n",
            f"**The problem.**{answer}\n",
            _block(first["question"]),
            *(part for line in exchange for part in _said(line, _known(exchange))),
        ]
    )


def _known(exchange: Exchange) -> bool | None:
    """The grader's word on the solution, as the judgements of it carry it."""
    return next((line["judged_right"] for line in exchange if "verdict" in line), None)


def _said(line: Line, right: bool | None) -> Iterator[str]:
    """Who spoke, the words, and what became of them."""
    cut = ", cut by the length limit" if line["stop"] == "length" else ""
    yield f"**{line['role'].capitalize()}**, {line['length']} tokens{cut}:\n"
    yield _block(line["text"])
    if "verdict" in line:
        truth = "no answer is known" if right is None else f"the grader says {WORDS[right]}"
        yield f"> Verdict: {_verdict(line['verdict'])}; {truth}.  "
    elif right is not None:
        yield f"> Grader: **{WORDS[right]}**.  "
    yield f"> Earned: {_earned(line['rewards'])}. Advantage: {line['advantage']:+.3f}.\n"


def _verdict(verdict: Line) -> str:
    if verdict["score"] is None:
        return f"none, it is {verdict['status']}"
    marks = " ".join("+" if mark >= 0.5 else "-" for mark in verdict["steps"])
    word = WORDS[verdict["score"] >= 0.5]
    return f"**{word}**" + (f", step marks {_code(marks)}" if marks else "")


def _earned(rewards: Mapping[str, float]) -> str:
    """Sums of each stream, and of its parts where it has some: keys are stream/part@start-end."""
    streams: dict[str, dict[str, float]] = {}
    for key, value in rewards.items():
        stream, _, part = key.rpartition("@")[0].partition("/")
        parts = streams.setdefault(stream, {})
        parts[part] = parts.get(part, 0.0) + value
    return ", ".join(_stream(name, parts) for name, parts in streams.items()) or "nothing"


def _stream(name: str, parts: Mapping[str, float]) -> str:
    whole = f"{name} {sum(parts.values()):.3g}"
    if len(parts) == 1:
        return whole
    return f"{whole} ({', '.join(f'{part} {value:.3g}' for part, value in parts.items())})"


def _block(text: str) -> str:
    """A fenced block, whatever backticks the text holds."""
    fence = "`" * max(3, _longest_ticks(text) + 1)
    return f"{fence}text\n{text}\n{fence}\n"


def _code(text: str) -> str:
    """Words as code within a line."""
    line, ticks = " ".join(text.split()), "`" * (_longest_ticks(text) + 1)
    return f"{ticks} {line} {ticks}" if "`" in line else f"{ticks}{line}{ticks}"


def _longest_ticks(text: str) -> int:
    return max(map(len, re.findall("`+", text)), default=0)
