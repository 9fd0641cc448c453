"""How a sweep stands: a live table on a terminal, plain lines elsewhere."""

import shutil
import sys
from collections import Counter
from collections.abc import Sequence

from rlcotrain.sweep.rows import label, varying
from rlcotrain.sweep.standing import Standing

URGENCY = ("failed", "running", "queued", "unfinished", "done")  # shown first where room is scarce


def lines(standings: Sequence[Standing]) -> list[str]:
    """The table, head first, one line a point."""
    keys = varying(standings)
    rows = [["point", *keys, "state", "reward", "requeued", "reason"]]
    for one in standings:
        reward = "" if one.reward is None else f"{one.reward:.3f}"
        requeued = f"{one.restarts} times" if one.restarts else ""
        overrides = [one.overrides.get(key, "") for key in keys]
        end = [doing(one), reward, requeued, one.reason or ""]
        rows.append([one.signature, *overrides, *end])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    padded = (zip(row, widths, strict=True) for row in rows)
    return ["  ".join(cell.ljust(width) for cell, width in row).rstrip() for row in padded]


def doing(one: Standing) -> str:
    """`running, step 3 of 10`."""
    if one.state in ("queued", "unfinished") and not one.steps:
        return one.state
    of = f" of {one.total}" if one.total is not None else ""
    return one.state if one.state == "done" else f"{one.state}, step {one.steps}{of}"


def summary(standings: Sequence[Standing]) -> str:
    """`4 points: 1 failed, 3 done`."""
    counts = Counter[str](one.state for one in standings)
    found = [f"{counts[state]} {state}" for state in URGENCY if counts[state]]
    return f"{len(standings)} points: {', '.join(found)}"


def agreed(question: str) -> bool:
    """Ask once; no answer, and nobody there to give one, is a no."""
    if not sys.stdin.isatty():
        return False
    try:
        return input(f"\n{question} [y/N] ").strip().lower() in ("y", "yes")
    except (KeyboardInterrupt, EOFError):
        return False


class Screen:
    """Shows standings as they change."""

    def __init__(self) -> None:
        self._terminal = sys.stdout.isatty()
        self._height = 0  # lines of the table that stand on the terminal
        self._shown: dict[str, tuple[str, int]] = {}
        self._note = ""

    def show(self, standings: Sequence[Standing], note: str = "") -> None:
        """The table anew, or a line for each point that started or was requeued."""
        if self._terminal:
            self._redraw(standings, note)
            return
        keys = varying(standings)
        for one in standings:
            state, restarts = self._shown.get(one.signature, ("", 0))
            self._shown[one.signature] = one.state, one.restarts
            if one.restarts > restarts:
                self.say(f"{label(one, keys)} requeued, {one.restarts} times by now")
            elif one.state == "running" != state:
                self.say(f"{label(one, keys)} {doing(one)}")
        if note != self._note:
            self._note = note
            self.say(note or "SLURM answers again")

    def say(self, line: str) -> None:
        """A line that stays, above the table."""
        self._wipe()
        print(line, flush=True)

    def _redraw(self, standings: Sequence[Standing], note: str) -> None:
        size = shutil.get_terminal_size()
        head, *body = lines(standings)
        room = size.lines - 4
        order = sorted(range(len(body)), key=lambda i: URGENCY.index(standings[i].state))
        shown = [body[i] for i in sorted(order[:room])]
        hidden = len(body) - len(shown)
        more = f", {hidden} not shown" if hidden else ""
        text = [head, *shown, f"{summary(standings)}{more}", *([note] if note else [])]
        self._wipe()
        print("\n".join(line[: size.columns - 1] for line in text), flush=True)
        self._height = len(text)

    def _wipe(self) -> None:
        """Back to where the table began, and clear from there on."""
        if self._height:
            print(f"\033[{self._height}F\033[J", end="")
            self._height = 0
