"""Files and folders that are whole or absent, and folders that one process at a time writes to.

A file is written under a temporary name (``.name.PID.partial``), synced to disk, and renamed to its final name.
A reader sees the old file or the new one, also after a crash or a power cut.
"""

import errno
import hashlib
import json
import os
import re
import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from stylegen import untrusted
from stylegen.paths import expanded

_LONG_STEM = 100  # bytes
ADVICE = {  # where a file cannot be written, by the error's number
    errno.ENOSPC: "free some space on its disk, or give a place on another one",
    errno.EDQUOT: "free some space, or give a place on another disk",
    errno.EROFS: "give a place on a disk that can be written to",
    errno.EACCES: "give another place, or yourself the permission",
    errno.EPERM: "give another place, or yourself the permission",
    errno.ENAMETOOLONG: "give a shorter name",
    errno.EEXIST: "it is no folder; give another place",
    errno.ENOTDIR: "a part of the path is a file; give another place",
    errno.EIO: "its disk does not work; give a place on another one",
}
PARTIAL = ".*.partial*"  # matches incomplete files and folders that a killed process leaves
_STALE_SECONDS = 60  # without a change, after which an incomplete file of a process that is gone is deleted


@contextmanager
def exclusive(folder: Path, busy: Exception) -> Iterator[None]:
    """Hold a folder that exists; raise ``busy`` if another process does. Where there are no locks, nothing is held."""
    try:
        import fcntl
    except ImportError:  # not on Windows, where one has to take care oneself
        yield
        return
    # The folder itself is locked: a lock file in it would have to be deleted while others wait for it.
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
def replacing(path: str | os.PathLike[str], *, durable: bool = True) -> Iterator[Path]:
    """A path to write a file to that becomes ``path`` at the end, so that a file is there whole or not at all.

    Makes the folder it is in. The extension is kept, because encoders go by it. An error leaves what was there; one of
    the file system names ``path``.

    Args:
        path: of the file.
        durable: wait until the disk has it, so that a power cut cannot leave an empty file under the name. That takes
            milliseconds; images, which can be drawn again by the thousand, do without.
    """
    path = expanded(path)
    partial = _partial(path)
    with _naming(path, partial):
        path.parent.mkdir(parents=True, exist_ok=True)
        if durable:  # looking through a folder takes as long as writing a small image
            _remove_stale(path)
        try:
            yield partial
            if durable:
                _sync_file(partial)
            os.replace(partial, path)
            if durable:
                _sync_folder(path.parent)
        finally:
            with suppress(OSError):  # the error before it says more
                partial.unlink(missing_ok=True)


@contextmanager
def replacing_folder(folder: str | os.PathLike[str], *, last: str | None = None) -> Iterator[Path]:
    """An empty folder to fill that becomes ``folder`` at the end; an error leaves what was there, and names ``folder``.

    If ``folder`` is there by then, the parts move into it one by one, and replace files of their names; others stay.

    Args:
        folder: its place.
        last: name of the part that moves last, whose presence says that all others are there.
    """
    folder = expanded(folder)
    partial = _partial(folder)
    shutil.rmtree(partial, ignore_errors=True)  # of a killed process that had this one's number
    _remove_stale(folder)
    with _naming(folder, partial):
        partial.mkdir(parents=True)
        try:
            yield partial
            sync_tree(partial)
            if folder.is_dir():
                for part in sorted(partial.iterdir(), key=lambda path: (path.name == last, path.name)):
                    os.replace(part, folder / part.name)
                _sync_folder(folder)
            else:
                os.replace(partial, folder)
            _sync_folder(folder.parent)
        finally:
            shutil.rmtree(partial, ignore_errors=True)


def check_writable(path: str | os.PathLike[str]) -> None:
    """Make sure, before hours of work, that a file can be written; nothing is left behind.

    Raises:
        OSError: it cannot, because of its folder or its name; the error names ``path``.
    """
    path = expanded(path)
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    missing = [folder for folder in path.parents if not folder.exists()]
    partial = _partial(path)
    with _naming(path, partial):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            partial.touch()
            if not path.exists():  # a name may be too long for the file and not for its temporary name
                path.touch()
                path.unlink()
        finally:
            with suppress(OSError):
                partial.unlink(missing_ok=True)
                for folder in missing:
                    folder.rmdir()


class BestEffort:
    """Writes of what only informs: one that fails, on a full disk above all, is said once and ends nothing."""

    def __init__(self, folder: Path, say: Callable[[str], None]):
        """``say`` is told, once for each file or kind of file in ``folder``."""
        self._folder, self._say = folder, say
        self._failed: set[str] = set()

    @contextmanager
    def writing(self, name: str) -> Iterator[None]:
        """A block that writes ``name``."""
        try:
            yield
        except OSError as error:
            if name not in self._failed:
                self._failed.add(name)  # first: the line may fail, too
                why = error.strerror or error
                self._say(f"{self._folder / name} could not be written ({why}); training goes on without it.")


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write a text file in UTF-8, whole or not at all."""
    with replacing(path) as partial:
        partial.write_text(text, encoding="utf-8")


def write_json(path: str | os.PathLike[str], tree: Any, *, indent: int = 2) -> None:
    """Write a JSON file, whole or not at all."""
    write_text(path, json.dumps(tree, indent=indent) + "\n")


def sha256(path: str | os.PathLike[str]) -> str:
    """The file's SHA-256, in hexadecimal digits."""
    with expanded(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def printable(name: str | os.PathLike[str]) -> str:
    """A path to show or to store as text: bytes that are no UTF-8, and control characters, come escaped."""
    return untrusted.printable(os.fspath(name))


def split_paths(text: str) -> list[str]:
    """The paths of a list with commas between them, without spaces around; commas in the name of a file stay.

    At every place the longest stretch that is a file or folder is taken, so that ``one, two.png`` is that file if it is
    there, and two paths if not.
    """
    parts, paths = text.split(","), []
    first = 0
    while first < len(parts):
        stretches = {last: ",".join(parts[first:last]).strip() for last in range(len(parts), first, -1)}
        last = next((last for last, path in stretches.items() if path and os.path.exists(path)), first + 1)
        paths.append(stretches[last])
        first = last
    return paths


def natural_order(path: str) -> tuple[str, str]:
    """A key to sort paths by, folder by folder, in which ``a.png``, ``a2.png`` and ``a10.png`` come in this order.

    A string, because a folder may have a million files.
    """
    folders, slash, name = path.rpartition("/")
    stem, dot, suffix = name.rpartition(".")
    ended = f"{stem}\1{suffix}" if stem else dot + suffix  # a name before what goes on after it
    # A number with more digits is larger. The path itself tells 01 from 1.
    numbers = re.sub("[0-9]+", _with_length, folders.replace("/", "\0") + slash.replace("/", "\0") + ended)
    return numbers, path


def _with_length(digits: re.Match[str]) -> str:
    significant = digits[0].lstrip("0")
    return f"{len(significant):03d}{significant}"


def why(error: OSError) -> str:
    """An error of the file system as a part of a sentence: which path, what is wrong with it, and what to do."""
    if error.errno is None or error.strerror is None:
        return str(error)
    path = "" if error.filename is None else f"{os.fsdecode(error.filename)}: "
    advice = f"; {ADVICE[error.errno]}" if error.errno in ADVICE else ""
    return f"{path}{error.strerror[0].lower()}{error.strerror[1:]}{advice}"


def unique_names(names: Iterable[str], taken: Iterable[str] = ()) -> list[str]:
    """Names for files, without their endings, that all differ: of two ``room``, the second is ``room-2``.

    They differ on disks that do not tell upper from lower case, too. A name that is given once stays as it is, but for
    slashes, which become ``_``.

    Args:
        names: as given.
        taken: names that other files have.
    """
    cleaned = [re.sub(r"[/\\\0]", "_", name) or "_" for name in names]
    given = {name.casefold() for name in cleaned}
    used = {name.casefold() for name in taken}
    unique: list[str] = []
    for name in cleaned:
        candidate, number = name, 1
        while candidate.casefold() in used or (number > 1 and candidate.casefold() in given):
            number += 1
            candidate = f"{name}-{number}"
        used.add(candidate.casefold())
        unique.append(candidate)
    return unique


def remove_partial(folder: Path) -> None:
    """Delete the incomplete files of killed processes in a folder that this process holds (see ``exclusive``)."""
    for path in folder.glob(PARTIAL):
        _delete(path)


def remove_partial_of_killed(folder: Path) -> None:
    """As ``remove_partial``, where other processes of this machine may write too: what is theirs stays.

    Call it before this process writes there. One that has the number of a killed process, as the first of a container
    has, deletes what that left.
    """
    for path in folder.glob(PARTIAL):
        number = re.search(r"\.([0-9]+)\.partial", path.name)
        if number is None or int(number[1]) == os.getpid() or not _is_running(int(number[1])):
            _delete(path)


def _delete(path: Path) -> None:
    shutil.rmtree(path) if path.is_dir() else path.unlink()


def _partial(path: Path) -> Path:
    return path.with_name(f".{_short_stem(path)}.{os.getpid()}.partial{path.suffix}")


def _short_stem(path: Path) -> str:
    """A name has 255 bytes at most, and a temporary one is longer than the final one."""
    stem = path.stem
    return stem if len(os.fsencode(stem)) <= _LONG_STEM else hashlib.sha256(os.fsencode(stem)).hexdigest()[:16]


def _remove_stale(path: Path) -> None:
    """Delete incomplete files of ``path`` that killed processes left.

    A process that is not on this machine may be on another one, and the folder be shared. It writes all the time,
    so what has not changed for a while is nobody's.
    """
    name = re.compile(re.escape(f".{_short_stem(path)}.") + r"([0-9]+)\.partial" + re.escape(path.suffix))
    with suppress(OSError), os.scandir(path.parent) as entries:
        for entry in entries:
            if (found := name.fullmatch(entry.name)) is None or _is_running(int(found[1])):
                continue
            if time.time() - _last_change(Path(entry.path)) > _STALE_SECONDS:
                shutil.rmtree(entry.path) if entry.is_dir(follow_symlinks=False) else os.unlink(entry.path)


def _is_running(number: int) -> bool:
    try:
        os.kill(number, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):  # somebody else's; or no number of a process
        return True
    return True


def _last_change(path: Path) -> float:
    return max(part.lstat().st_mtime for part in (path, *path.rglob("*")))


@contextmanager
def _naming(path: Path, partial: Path) -> Iterator[None]:
    """Name ``path`` in errors of the file system that name the temporary file, or none, as those of ``write`` do."""
    try:
        yield
    except OSError as error:
        named = error.filename
        about = Path(os.fsdecode(named)) if isinstance(named, str | bytes) else None
        if error.errno is None or not (about is None or about == partial or partial in about.parents):
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error


def sync_tree(folder: Path) -> None:
    """Put a folder on disk, with all that is in it.

    Raises:
        OSError: the disk refuses a file.
    """
    for path in [*folder.rglob("*"), folder]:
        _sync_folder(path) if path.is_dir() else _sync_file(path)


def _sync_file(path: Path) -> None:
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def _sync_folder(path: Path) -> None:
    """Put the names in a folder on disk, where the system can: Windows and some network file systems cannot."""
    with suppress(OSError):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
