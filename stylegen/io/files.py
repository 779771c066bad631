"""Keeping a second process out of a folder that one writes to."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def exclusive(folder: Path, busy: Exception) -> Iterator[None]:
    """Hold a folder that exists; raise ``busy`` if another process does. Where there are no locks, nothing is held."""
    try:
        import fcntl
    except ImportError:  # not on Windows, where one has to take care oneself
        yield
        return
    # Locked is the folder itself: a file in it would have to be deleted while others wait for it.
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise busy from error
        except OSError:  # a file system without locks
            pass
        yield
    finally:
        os.close(descriptor)
