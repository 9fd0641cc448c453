import os
import signal
from collections.abc import Iterator
from types import FrameType

import pytest

from rlcotrain.signals import WATCHED, Signals


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in WATCHED}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", WATCHED)
def test_a_signal_waits_until_it_is_obeyed(number: signal.Signals) -> None:
    called = list[int]()

    def former(number: int, frame: FrameType | None) -> None:
        called.append(number)

    signal.signal(number, former)
    signals = Signals()
    with signals.watched():
        assert signals.pending is None
        os.kill(os.getpid(), number)
        assert signals.pending == number and called == []
        signals.obey()
        assert called == [number] and signals.pending is None
        os.kill(os.getpid(), number)  # the former handler let us live: still watched
        assert signals.pending == number and called == [number]
    assert signal.getsignal(number) is former


def test_the_former_handlers_come_back_after_a_failure() -> None:
    before = [signal.getsignal(number) for number in WATCHED]
    with pytest.raises(RuntimeError), Signals().watched():
        raise RuntimeError
    assert [signal.getsignal(number) for number in WATCHED] == before


def test_an_ignored_signal_stays_ignored() -> None:
    signal.signal(signal.SIGUSR2, signal.SIG_IGN)
    signals = Signals()
    with signals.watched():
        os.kill(os.getpid(), signal.SIGUSR2)
        signals.obey()
    assert signals.pending is None


def test_ctrl_c_again_stops_at_once(capfd: pytest.CaptureFixture[str]) -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signals = Signals()
    with signals.watched():
        os.kill(os.getpid(), signal.SIGINT)
        assert signals.pending == signal.SIGINT
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert (
        capfd.readouterr().err.strip() == "Ctrl-C: stopping once the state is saved; again: at once"
    )


def test_the_default_ends_the_process() -> None:
    child = os.fork()
    if child == 0:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signals = Signals()
        with signals.watched():
            os.kill(os.getpid(), signal.SIGTERM)
            signals.obey()
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGTERM
