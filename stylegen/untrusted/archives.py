"""Zip archives: what Python cannot unpack is said before it is tried, and nothing unpacks to more than it may."""

import os
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO, Self, cast

from stylegen.paths import expanded
from stylegen.untrusted import FileError, kinds, shown
from stylegen.untrusted.limits import MAX_MEMBERS, unpacked_bound

# What zipfile raises of a damaged archive, by what it meets first.
BAD_ZIP = (
    *(zipfile.BadZipFile, zipfile.LargeZipFile, zlib.error, EOFError, OSError, struct.error),
    *(RuntimeError, LookupError, ValueError, OverflowError),
)
_METHODS = {6: "Implode", 9: "Deflate64", 12: "bzip2", 14: "LZMA", 93: "Zstandard", 95: "XZ", 98: "PPMd"}


def why_unreadable(member: zipfile.ZipInfo, methods: tuple[int, ...] | None = None) -> str:
    """Why a file of an archive cannot be unpacked, a clause with the way out; empty if it can.

    Args:
        member: the file.
        methods: of compression that are accepted; None: all that this Python has.
    """
    if member.flag_bits & 0x1:
        return "is protected by a password: unpack the archive with it, and give the folder"
    known = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)
    if member.compress_type not in (known if methods is None else methods):
        method = _METHODS.get(member.compress_type, f"method {member.compress_type}")
        by = " (as Windows does with large files)" if member.compress_type == 9 else ""
        return f"is compressed with {method}{by}, which is not read: unpack the archive, and give the folder"
    return ""


def member_names(archive: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    """The files of an archive by path, with ``/`` between folders.

    Some programs of Windows write backslashes, against the standard: where no path has a ``/``, they are meant so.
    """
    members = [member for member in archive.infolist() if not member.filename.endswith(("/", "\\"))]
    backslashes = not any("/" in member.filename for member in archive.infolist())
    return {member.filename.replace("\\", "/") if backslashes else member.filename: member for member in members}


@contextmanager
def reading(source: str, what: str = "a zip archive") -> Iterator[None]:
    """A block in which whatever zipfile raises of a damaged archive is a FileError that names ``source``."""
    try:
        yield
    except FileError:
        raise
    except FileNotFoundError:
        raise
    except BAD_ZIP as error:
        reason = shown(str(error) or type(error).__name__, 120).rstrip(".")
        raise FileError(f"{source}: cannot be read as {what}: {reason}.") from error


class Archive:
    """A zip archive of few files, each of them read whole; a context manager.

    Raises:
        FileError: it is something else or damaged, has too many files, or they unpack to too much.
        OSError: there is no such file.
    """

    METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # one buffer of the others may unpack to 100 MB

    def __init__(self, path: str | os.PathLike[str], what: str = "a zip archive"):
        path = expanded(path)
        self.source, self._what = str(path), what
        kinds.refuse_others(kinds.read_head(path), self.source, what, "a zip archive")
        with reading(self.source, what):
            self._zip = zipfile.ZipFile(path)
        try:
            self.members = self._checked(os.path.getsize(path))
        except BaseException:
            self._zip.close()
            raise

    def _checked(self, file_size: int) -> dict[str, zipfile.ZipInfo]:
        entries = self._zip.infolist()
        if len(entries) > MAX_MEMBERS:
            raise FileError(f"{self.source}: has {len(entries):,} files in it; at most {MAX_MEMBERS:,} are read.")
        members = {entry.filename: entry for entry in entries}
        if len(members) != len(entries):
            raise FileError(f"{self.source}: damaged: it has two files of one name in it.")
        unpacked, most = sum(entry.file_size for entry in entries), unpacked_bound(file_size)
        if unpacked > most:
            raise FileError(
                f"{self.source}: would unpack from {file_size:,} to {unpacked:,} bytes; at most {most:,} are read."
            )
        for name, member in members.items():
            if why := why_unreadable(member, self.METHODS):
                raise FileError(f"{self.source}: {shown(name)} in it {why}.")
        return members

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._zip.close()

    @contextmanager
    def open(self, name: str) -> Iterator[BinaryIO]:
        """A file of the archive as a stream of bytes; damage that shows while it is read is a FileError too."""
        with reading(self.source, self._what), self._zip.open(self.members[name]) as stream:
            yield cast(BinaryIO, stream)
