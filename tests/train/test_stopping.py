"""How a run is asked to end."""

import os
import signal

import pytest

from train import stopping
from train.stopping import SIGNALS, Stop, Stopped


@pytest.fixture(autouse=True)
def handlers():
    """As a process in the foreground begins: one in the background, as these tests may be, ignores some."""
    before = {number: signal.signal(number, signal.SIG_DFL) for number in SIGNALS}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_sets_a_flag_and_nothing_more(number):
    stop = Stop()
    assert not stop.asked
    os.kill(os.getpid(), number)
    assert stop.asked


def test_a_second_interrupt_ends_at_once(monkeypatch):
    stop = Stop()
    os.kill(os.getpid(), signal.SIGINT)
    try:
        os.kill(os.getpid(), signal.SIGINT)  # one key: the terminal's own, and what the launcher passes on
    except KeyboardInterrupt:
        pytest.fail("one press of a key ends at once")
    assert stop.asked
    monkeypatch.setattr(stopping, "ONE_KEY", 0.0)
    with pytest.raises(KeyboardInterrupt):
        os.kill(os.getpid(), signal.SIGINT)


def test_what_can_be_done_again_is_broken_off_once():
    stop = Stop()
    with pytest.raises(Stopped), stop.interruptible():
        os.kill(os.getpid(), signal.SIGTERM)
    os.kill(os.getpid(), signal.SIGTERM)  # torchrun sends it twice
    with pytest.raises(Stopped), stop.interruptible():
        pytest.fail("a run that was asked to end begins nothing long")


def test_signals_that_nohup_ignores_stay_ignored():
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    stop = Stop()
    os.kill(os.getpid(), signal.SIGHUP)
    assert not stop.asked
