"""Being asked to stop."""

import os
import signal
import threading

import pytest

from stylegen.runtime.signals import stop_requested


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_sets_the_event_and_does_not_interrupt(number, capsys):
    with stop_requested() as event:
        assert not event.is_set()
        os.kill(os.getpid(), number)
        assert event.is_set()
        os.kill(os.getpid(), signal.SIGTERM)  # a second one of these is no second Ctrl-C
    assert capsys.readouterr().out.count("Stopping after this step") == 1


def test_a_second_ctrl_c_interrupts():
    with stop_requested(), pytest.raises(KeyboardInterrupt):
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)


def test_what_handled_the_signals_before_does_so_again():
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
    with pytest.raises(RuntimeError), stop_requested():
        assert signal.getsignal(signal.SIGTERM) != before[0]
        raise RuntimeError
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)] == before


def test_other_threads_get_an_event_that_no_signal_sets():
    events = []

    def run() -> None:
        with stop_requested() as event:
            events.append(event.is_set())

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert events == [False]
