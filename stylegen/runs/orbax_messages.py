"""Orbax's own messages, kept off the screen while this package works with it.

It logs pages of traceback for errors that it also raises, and that ``checkpoint`` reports in a sentence. And when it
gives up, reads and writes under way find its event loop closed, and nobody asks how its other tasks ended. Python
prints both, whenever they come to light: after a failure all this stays off the screen until the process ends.
"""

import logging
import os
import sys
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

# Parts of the paths of orbax, and of what it writes.
CODE, UNFINISHED = f"{os.sep}orbax{os.sep}", ".orbax-checkpoint-tmp"

_lock = threading.Lock()
_users = 0  # blocks of ``hushed`` that are entered, in all threads
_stays = False  # after a failure, which counts as a user that does not leave
_before: Any = None  # what Python did with errors that nobody can catch, before the first of them


@contextmanager
def hushed() -> Iterator[None]:
    """A block in which orbax neither logs, through absl or asyncio, nor leaves traces of its closed event loop.

    Blocks may overlap, in one thread or several: the first to be entered changes loggers and hook, the last to be left
    puts them back, unless one was left by an error (see ``stay_hushed``).
    """
    _enter()
    try:
        yield
    except BaseException:
        stay_hushed()
        raise
    finally:
        _leave()


def stay_hushed() -> None:
    """Keep orbax's messages off the screen until the process ends. For after a failure of orbax."""
    global _stays
    with _lock:
        is_first, _stays = not _stays, True
    if is_first:
        _enter()


def _enter() -> None:
    global _users, _before
    with _lock:
        _users += 1
        if _users == 1:
            logging.getLogger("absl").addFilter(_is_not_by_orbax)
            logging.getLogger("asyncio").addFilter(_is_not_about_orbax)
            _before, sys.unraisablehook = sys.unraisablehook, _hook


def _leave() -> None:
    global _users
    with _lock:
        _users -= 1
        if _users == 0:
            logging.getLogger("absl").removeFilter(_is_not_by_orbax)
            logging.getLogger("asyncio").removeFilter(_is_not_about_orbax)
            if sys.unraisablehook is _hook:  # else another program's, which may call this one: it passes all on
                sys.unraisablehook = _before


def _is_not_by_orbax(record: logging.LogRecord) -> bool:
    return CODE not in record.pathname


def _is_not_about_orbax(record: logging.LogRecord) -> bool:
    """Whether a message of asyncio is about others' tasks: messages and tracebacks name the files."""
    text = record.getMessage()
    if record.exc_info:
        text += "".join(traceback.format_exception(record.exc_info[1]))
    return CODE not in text and UNFINISHED not in text


def _hook(unraisable: Any) -> None:
    closed = isinstance(unraisable.exc_value, RuntimeError) and str(unraisable.exc_value) == "Event loop is closed"
    if not (_users and closed):
        _before(unraisable)
