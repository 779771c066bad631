"""Files that are whole or absent, and folders that one process at a time writes to."""

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


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A path to write to that becomes ``path`` at the end, so that a file is there whole or not at all.

    Makes the folder it is in. The extension is kept, because encoders go by it.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.stem}.{os.getpid()}.partial{path.suffix}")
    try:
        yield partial
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
