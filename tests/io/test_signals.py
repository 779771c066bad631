"""Being asked to stop."""

import os
import random
import signal
import subprocess
import sys
import threading
import time

import pytest

from stylegen.io import signals
from stylegen.io.progress import with_progress
from stylegen.io.signals import stop_requested, stopping_at_checks
from tests.support.marks import slow_but
from tests.support.paths import ROOT


def send(number: int) -> None:
    os.kill(os.getpid(), number)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_sets_the_event_and_does_not_interrupt(number, capfd):
    with stop_requested() as event:
        assert not event.is_set()
        send(number)
        assert event.is_set() and event.number == number
        send(signal.SIGTERM)  # a second one of these is no second Ctrl-C
    assert capfd.readouterr().err.count("Stopping after the step at hand") == 1


def test_a_second_ctrl_c_interrupts(capfd):
    with stop_requested(), pytest.raises(KeyboardInterrupt):
        send(signal.SIGINT)
        send(signal.SIGINT)


def test_what_handled_the_signals_before_does_so_again(capfd):
    before = [signal.getsignal(number) for number in signals.SIGNALS]
    with pytest.raises(RuntimeError), stopping_at_checks(), stop_requested():
        assert signal.getsignal(signal.SIGTERM) != before[0]
        raise RuntimeError
    assert [signal.getsignal(number) for number in signals.SIGNALS] == before
    signals.check()


def test_work_stops_at_its_next_check(capfd):
    with pytest.raises(signals.Interrupted) as stopped, stopping_at_checks():
        signals.check()
        send(signal.SIGTERM)
        signals.check()
    assert stopped.value.number == signal.SIGTERM
    signals.check()  # the request ends with its scope


def test_a_progress_line_is_a_check(capfd):
    passed = []
    with pytest.raises(signals.Interrupted), stopping_at_checks():
        for batch in with_progress(([i] for i in range(9)), 9, "images"):
            passed += batch
            if passed == [0, 1, 2]:
                send(signal.SIGINT)
    assert passed == [0, 1, 2]


def test_a_loop_that_looks_for_itself_is_not_stopped_by_checks_and_knows_what_came_before(capfd):
    with stopping_at_checks():
        send(signal.SIGINT)  # while things are imported and opened
        with stop_requested() as event:
            assert event.is_set()
            signals.check()  # of a grid that the loop draws
        with pytest.raises(signals.Interrupted):
            signals.check()


def test_a_signal_while_stderr_is_written_to_does_no_harm():
    """``print`` in a handler raises RuntimeError if it interrupts the writing of the same stream."""
    code = """
import os, signal, sys, threading
from stylegen.io.signals import stop_requested
with stop_requested() as event:
    threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGTERM)).start()
    while not event.is_set():
        print("x" * 5000, file=sys.stderr)
        print("x" * 5000, flush=True)
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and "Error" not in done.stderr


def test_other_threads_get_an_event_that_no_signal_sets():
    events = []

    def run() -> None:
        with stop_requested() as event:
            events.append(event.is_set())

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert events == [False]


@pytest.mark.skipif(not hasattr(signal, "pthread_sigmask"), reason="there are no signal masks")
def test_processes_that_are_started_while_ctrl_c_is_blocked_never_get_it():
    code = "import os, signal; os.kill(os.getpid(), signal.SIGINT); print('here')"
    with signals.blocked():
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout == "here\n"
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, [])


@pytest.mark.parametrize("number", slow_but([signal.SIGINT, signal.SIGTERM], [signal.SIGTERM]))
def test_a_signal_while_a_verb_imports_is_not_lost(tmp_path, number):
    """One that came within an import was swallowed, or ended in a traceback of it."""
    command = [sys.executable, "train.py", "--config", "quickstart", "--run.dir", str(tmp_path / "run")]
    rng = random.Random(int(number))
    for _ in range(3):
        with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
            time.sleep(rng.uniform(0.3, 1.5))  # Python itself has started; JAX takes seconds
            process.send_signal(number)
            _, errors = process.communicate(timeout=60)
        assert process.returncode == 128 + number, errors
        assert "Traceback" not in errors and "Stopping after the step at hand" in errors
        assert errors.endswith("interrupted. The same command goes on from what is saved.\n")
    assert not (tmp_path / "run" / "checkpoints").exists()
