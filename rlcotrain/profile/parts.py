"""Seconds, tokens and floating-point operations of the parts of a program, by where they lie."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from time import perf_counter

import torch

Path = tuple[str, ...]  # a part's name, behind those of all parts around it


@dataclass(slots=True)
class Part:
    """Sums over all calls. flops: of the part itself and of all within."""

    calls: int = 0
    seconds: float = 0.0
    tokens: int = 0
    flops: float = 0.0


class Parts:
    """Parts that were entered, by path, in the order in which they were first left.

    synchronize: waits for work that was handed to a device, so that it counts where it belongs.
    """

    def __init__(self, synchronize: Callable[[], None]) -> None:
        self.found: dict[Path, Part] = {}
        self._synchronize = synchronize
        self._open: list[str] = []

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """What happens inside is part `name` of what is around; of a part of its name it is one."""
        if name in self._open[-1:]:
            yield
            return
        self._open.append(name)
        self._synchronize()
        began = perf_counter()
        try:
            with torch.profiler.record_function(name):
                yield
                self._synchronize()
        finally:
            part = self._part(len(self._open))
            part.calls += 1
            part.seconds += perf_counter() - began
            self._open.pop()

    def add(self, tokens: int = 0, flops: float = 0.0) -> None:
        """Work that the innermost part has done."""
        if self._open:
            self._part(len(self._open)).tokens += tokens
        for depth in range(1, len(self._open) + 1):
            self._part(depth).flops += flops

    def _part(self, depth: int) -> Part:
        return self.found.setdefault(tuple(self._open[:depth]), Part())
