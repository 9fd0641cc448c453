"""A polite end: a handler only sets a flag, the loop saves, then the former handler is called."""

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

WATCHED = (signal.SIGTERM, signal.SIGUSR2, signal.SIGINT)


class Signals:
    """Which signal has come, if any; `obey` hands it on."""

    def __init__(self) -> None:
        self.pending: int | None = None
        self._former: dict[int, Any] = {}

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Set the flag where one comes; the former handlers are put back at the end."""
        self._former = {number: signal.signal(number, self._note) for number in WATCHED}
        try:
            yield
        finally:
            for number, handler in self._former.items():
                signal.signal(number, handler)

    def obey(self) -> None:
        """Call the handler that was there before: submitit's, which requeues, or the default."""
        assert self.pending is not None
        number, self.pending = self.pending, None
        former: Callable[[int, FrameType | None], Any] | int | None = self._former[number]
        if callable(former):
            former(number, None)
        elif former == signal.SIG_DFL:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if number == signal.SIGINT == self.pending:
            self.obey()  # the person cannot wait for the end of the step
            return
        if number == signal.SIGINT:  # no print: the signal may have come in the middle of one
            os.write(2, b"\nCtrl-C: stopping once the state is saved; again: at once\n")
        self.pending = number


def hear_interrupts() -> None:
    """Have Ctrl-C raise KeyboardInterrupt again, where launch.py has it end the process.

    launch.py does so until Hydra has composed: a library that is interrupted within may raise
    anything in its place. Ctrl-C that is ignored, as under nohup, stays so.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_DFL:
        signal.signal(signal.SIGINT, signal.default_int_handler)
