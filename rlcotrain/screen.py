"""What a person sees while a run goes: a bar on a terminal, plain lines elsewhere."""

import sys
import time
from collections import deque
from collections.abc import Mapping

from tqdm import tqdm

SHOWN = {  # metric -> (label, format)
    "generator/reward/outcome": ("reward", ".3f"),
    "accuracy/sampled": ("accuracy", ".3f"),
    "generator/mismatch_kl": ("sampler kl", ".1g"),
    "time/tokens_per_second": ("tok/s", ",.0f"),
}
SECONDS_BETWEEN_LINES = 5.0


class Screen:
    """Progress of one run of `total` steps, of which `done` are done."""

    def __init__(self, total: int, done: int) -> None:
        self._terminal = sys.stderr.isatty()
        self._bar = tqdm(
            total=total, initial=done, disable=not self._terminal, unit="step", dynamic_ncols=True
        )
        self._total, self._done = total, done
        self._printed = time.monotonic()
        self._recent: deque[float] = deque([self._printed], maxlen=20)
        self._latest: dict[str, float] = {}

    def step(self, phase: str, metrics: Mapping[str, float]) -> None:
        """One step is done."""
        self._done += 1
        self._latest |= metrics
        words = self._words()
        now = time.monotonic()
        self._recent.append(now)
        if self._terminal:
            self._bar.set_description(phase, refresh=False)
            self._bar.set_postfix_str(words, refresh=False)
            self._bar.update(1)
            return
        last = self._done == self._total
        if last or now - self._printed >= SECONDS_BETWEEN_LINES:
            self._printed = now
            # Phases differ in pace: the newest steps tell most about those to come.
            pace = (now - self._recent[0]) / (len(self._recent) - 1)
            left = pace * (self._total - self._done)
            say(f"{phase} {self._done}/{self._total} {words} left {left:.0f}s")

    def note(self, metrics: Mapping[str, float]) -> None:
        """Remember numbers that belong to no step, like an evaluation's."""
        self._latest |= metrics

    def begin(self, metrics: Mapping[str, float]) -> None:
        """The cycle begins: numbers of the prelude say nothing about it."""
        self._latest = dict(metrics)

    def close(self) -> None:
        self._bar.close()

    def _words(self) -> str:
        return " ".join(
            f"{label} {self._latest[key]:{form}}"
            for key, (label, form) in SHOWN.items()
            if key in self._latest
        )


def say(text: str) -> None:
    """A line for the person, above the bar if there is one."""
    tqdm.write(text, file=sys.stderr)
    sys.stderr.flush()
