"""Signals that ask a program to stop: recorded first, obeyed where nothing is lost.

A handler that raises loses signals and work: an exception inside an import, a callback or a donated step is swallowed,
or leaves half of something. So the first SIGTERM or Ctrl-C sets an event. Loops that save look at it between steps
(``stop_requested``); all other work calls ``check`` between its parts (``stopping_at_checks``).
"""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType

SIGNALS = (signal.SIGTERM, signal.SIGINT)
_MESSAGE = b"\nStopping after the step at hand; Ctrl-C again interrupts at once.\n"


class Interrupted(KeyboardInterrupt):
    """A signal asked to stop, and the work stopped between two of its parts."""

    def __init__(self, number: int = signal.SIGINT):
        """``number`` is the signal's."""
        super().__init__(signal.Signals(number).name)
        self.number = number


class StopRequest(threading.Event):
    """Set once a signal has asked to stop; ``number`` is the signal's."""

    number: int = signal.SIGINT


_request: StopRequest | None = None  # of the outermost scope, which all scopes within share
_polled = False  # a loop looks at the request, so that ``check`` leaves it alone


@contextmanager
def stop_requested() -> Iterator[StopRequest]:
    """An event that SIGTERM and Ctrl-C set, for a loop that saves and stops; a second Ctrl-C interrupts at once.

    Within, ``check`` does nothing. The event is set from the beginning if a signal has come in a scope around this one.
    Python lets the main thread alone handle signals: in another one the event is never set. The previous handlers are
    restored at the end.
    """
    global _polled
    with _recording() as request:
        before, _polled = _polled, True
        try:
            yield request
        finally:
            _polled = before


@contextmanager
def stopping_at_checks() -> Iterator[None]:
    """Let SIGTERM and Ctrl-C stop the work within at its next ``check``; a second Ctrl-C interrupts at once."""
    with _recording():
        yield


def check() -> None:
    """Raise Interrupted if a signal has asked to stop the work of ``stopping_at_checks``."""
    if _request is not None and _request.is_set() and not _polled and _in_main_thread():
        raise Interrupted(_request.number)


def to_default() -> None:
    """Let SIGTERM and Ctrl-C end the process at once and without a word: its work is done, and Python closes down."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_DFL)


@contextmanager
def blocked(*numbers: int) -> Iterator[None]:
    """Hold signals back until the end, by default Ctrl-C; processes that are started within never get them.

    Ctrl-C on a terminal reaches all processes of a command, those too that have not got as far as to ignore it. On
    Windows, which has no signal masks, nothing is held back.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, numbers or [signal.SIGINT])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def _recording() -> Iterator[StopRequest]:
    global _request
    if not _in_main_thread():
        yield StopRequest()
        return
    outer = _request
    _request = request = outer or StopRequest()
    # Set anew in every scope: jax.distributed takes SIGTERM for itself when it begins.
    before = {number: signal.signal(number, _handle) for number in SIGNALS}
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        _request = outer


def _handle(number: int, frame: FrameType | None) -> None:
    request = _request
    if request is None:
        return
    if request.is_set():
        if number == signal.SIGINT:
            raise KeyboardInterrupt
        return
    request.number = number
    request.set()
    # Not print: a signal that comes while the same stream is written to would raise RuntimeError there.
    with suppress(OSError):  # no console any more
        os.write(2, _MESSAGE)


def _in_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()
