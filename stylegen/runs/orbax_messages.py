"""Orbax's own messages, kept off the screen while this package works with it, and no longer.

It logs pages of traceback for errors that it also raises, and that ``checkpoint`` reports in a sentence. And when it
gives up, reads and writes under way find its event loop closed, which Python prints.
"""

import logging
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_lock = threading.Lock()
_users = 0  # blocks of ``hushed`` that are entered, in all threads
_before: Any = None  # what Python did with errors that nobody can catch, before the first of them


@contextmanager
def hushed() -> Iterator[None]:
    """A block in which orbax neither logs through absl nor leaves traces of its closed event loop.

    Blocks may overlap, in one thread or several: the first to be entered changes logger and hook, the last to be left
    puts them back.
    """
    global _users, _before
    with _lock:
        _users += 1
        if _users == 1:
            logging.getLogger("absl").addFilter(_is_not_orbax)
            _before, sys.unraisablehook = sys.unraisablehook, _hook
    try:
        yield
    finally:
        with _lock:
            _users -= 1
            if _users == 0:
                logging.getLogger("absl").removeFilter(_is_not_orbax)
                if sys.unraisablehook is _hook:  # else another program's, which may call this one: it passes all on
                    sys.unraisablehook = _before


def _is_not_orbax(record: logging.LogRecord) -> bool:
    return f"{os.sep}orbax{os.sep}" not in record.pathname


def _hook(unraisable: Any) -> None:
    closed = isinstance(unraisable.exc_value, RuntimeError) and str(unraisable.exc_value) == "Event loop is closed"
    if not (_users and closed):
        _before(unraisable)
