"""The containers that images come in: a folder, a zip, a tar. Each lists its files and reads one by name.

Nothing is ever written to a path that an archive names. A tar is read at offsets; a compressed one, which has no random
access, is decompressed into one file first.
"""

import abc
import bz2
import gzip
import lzma
import os
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, cast

from stylegen.data.imaging import MAX_BYTES, UnreadableImageError
from stylegen.data.prepared.manifest import MANIFEST_NAME, WORK_FOLDER
from stylegen.data.source import DataError
from stylegen.io import signals
from stylegen.io.files import printable, replacing
from stylegen.io.image_listing import find_files
from stylegen.io.progress import Progress, Rate, size
from stylegen.untrusted import FileError, archives, kinds, shown
from stylegen.untrusted.limits import BOMB_BYTES, BOMB_RATIO

UNPACKED_NAME = "images.tar"  # of a decompressed tar, in the folder of the preparation
_COPY_BYTES = 2**22
_OPENERS: dict[str, Any] = {"gzip": gzip.open, "bzip2": bz2.open, "xz": lzma.open}  # by ``kinds.Kind.name``
_TAR = "a tar archive"
_BAD_TAR = (
    *(tarfile.TarError, OSError, EOFError, zlib.error, lzma.LZMAError, struct.error),
    *(ValueError, OverflowError, LookupError, RecursionError),
)
Version = tuple[int, int]  # of a file: its size in bytes, and its checksum or time of change


class Container(abc.ABC):
    """Files by name. Instances are sent to worker processes, so they hold paths and offsets, not open files."""

    path: Path
    versions: dict[str, Version]  # of all files, by relative path
    note: str = ""  # sentences about what could not be listed
    unpacked_bytes: int = 0  # disk that ``unpack`` takes
    sequential = False  # whether files can only be read in order before ``unpack``

    def unpack(self, folder: Path, progress: Progress) -> None:
        """Make files readable by name, by unpacking into ``folder`` if need be; a second call does nothing."""
        del folder, progress

    def keep(self, names: list[str]) -> None:
        """Forget what is not needed to read these files; ``versions`` is empty then."""
        del names
        self.versions = {}

    def check(self, names: list[str]) -> None:
        """Raise DataError if none of these files can be read, saying why."""
        del names

    @abc.abstractmethod
    def read(self, name: str, most: int = MAX_BYTES) -> bytes:
        """The bytes of a file.

        Args:
            name: as in ``versions``.
            most: bytes that it may have.

        Raises:
            UnreadableImageError: it has more, or is a decompression bomb.
            OSError, ValueError, ...: whatever damage raises.
        """


class Folder(Container):
    """A folder with all folders in it; links are followed, those in a circle refused."""

    def __init__(self, path: Path) -> None:
        self.path = path
        names, self.note = find_files(path, recursive=True, skip=is_written_by_us)
        status = {name: (path / name).stat() for name in names}
        self.versions = {name: (item.st_size, item.st_mtime_ns) for name, item in status.items()}

    def read(self, name: str, most: int = MAX_BYTES) -> bytes:
        file = self.path / name
        _check_bytes(file.stat().st_size, most)
        return file.read_bytes()


def is_written_by_us(folder: Path) -> bool:
    """Whether a folder is prepared data, whole or begun, or the directory of a run: none holds images to train on."""
    prepared = any((folder / name).exists() for name in (MANIFEST_NAME, WORK_FOLDER))
    return prepared or ((folder / "config.json").is_file() and (folder / "checkpoints").is_dir())


class Zip(Container):
    """A zip archive, compressed or, as NVIDIA's dataset_tool writes it, not."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            kinds.refuse_others(kinds.read_head(path), str(path), "a zip archive", "a zip archive")
            with archives.reading(str(path)), zipfile.ZipFile(path) as archive:
                members = archives.member_names(archive)
        except FileError as error:
            raise DataError(str(error)) from error
        except OSError as error:
            raise DataError(f"{path} is neither a folder nor a readable archive ({error}).") from error
        self.versions = {name: (member.file_size, member.CRC) for name, member in members.items()}
        self._archive: zipfile.ZipFile | None = None
        self._members = members

    def check(self, names: list[str]) -> None:
        reasons = [(name, why) for name in names if (why := archives.why_unreadable(self._members[name]))]
        if reasons and len(reasons) == len(names):
            name, why = reasons[0]
            raise DataError(f"{self.path}: {shown(name)} in it {why}.")

    def read(self, name: str, most: int = MAX_BYTES) -> bytes:
        if self._archive is None:
            self._archive = zipfile.ZipFile(self.path)
            self._members = archives.member_names(self._archive)
        member = self._members[name]
        _check_bytes(member.file_size, most)
        if member.file_size > BOMB_BYTES and member.file_size > BOMB_RATIO * member.compress_size:
            raise UnreadableImageError(
                f"{size(member.compress_size)} of the zip that unpack to {size(member.file_size)}: a decompression bomb"
            )
        return self._archive.read(member)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_archive": None, "_members": {}}


class Tar(Container):
    """A tar archive, plain or compressed by gzip, bzip2 or xz."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._opener = _OPENERS.get(_kind_name(path))
        self.sequential = self._opener is not None
        self._plain: Path | None = None if self.sequential else path
        self._places: dict[str, tuple[int, int]] = {}  # first byte and size of each file
        self._count = 0  # bytes, decompressed
        self.versions = {}
        links = 0
        with self._members() as members:
            for member, _ in members:
                links += member.issym() or member.islnk()
                if member.isreg() and not member.issparse():
                    name = member.name.removeprefix("./")
                    # The last of several files of one name is the one that unpacking would leave.
                    self.versions[name] = (member.size, _hash_of_time(member))
                    self._places[name] = member.offset_data, member.size
        if self.sequential:
            self.unpacked_bytes = self._count
        if links:
            what = "links in it were" if links > 1 else "link in it was"
            self.note = f"{printable(path)}: {links:,} {what} not followed; unpack the archive to have them followed."

    def keep(self, names: list[str]) -> None:
        super().keep(names)
        self._places = {name: self._places[name] for name in names}

    def unpack(self, folder: Path, progress: Progress) -> None:
        if self._opener is None:
            return
        self._plain = folder / UNPACKED_NAME
        if self._plain.is_file():
            return
        with _as_data_error(self.path), replacing(self._plain) as partial, self._opener(self.path) as source:
            rate, bounded = Rate(self.unpacked_bytes, unit="bytes"), _Bounded(source, self.path)
            with partial.open("wb") as sink:
                while block := bounded.read(_COPY_BYTES):
                    signals.check()
                    sink.write(block)
                    progress.update(f"unpacking {rate.line(sink.tell())}")

    def read(self, name: str, most: int = MAX_BYTES) -> bytes:
        start, count = self._places[name]
        _check_bytes(count, most)
        if self._plain is None:
            return next(data for _, data in self.stream({name}, most))
        with self._plain.open("rb") as file:
            file.seek(start)
            data = file.read(count)
        if len(data) != count:
            raise UnreadableImageError("the archive is cut short")
        return data

    def small(self, names: Iterable[str], most: int = MAX_BYTES) -> set[str]:
        """Those of these files that have at most so many bytes."""
        return {name for name in names if self._places[name][1] <= most}

    def stream(self, names: set[str], most: int = MAX_BYTES) -> Iterator[tuple[str, bytes]]:
        """Files in the order of the archive, which for a compressed one needs no unpacking."""
        with self._members() as members:
            for member, archive in members:
                name = member.name.removeprefix("./")
                if name in names and self._places[name][0] == member.offset_data:
                    _check_bytes(member.size, most)
                    file = archive.extractfile(member)
                    assert file is not None  # it is a file
                    yield name, file.read()

    @contextmanager
    def _members(self) -> Iterator[Iterator[tuple[tarfile.TarInfo, tarfile.TarFile]]]:
        """All members, with the archive, none of which is kept."""
        opener = self._opener or open
        with _as_data_error(self.path), opener(self.path, "rb") as raw:
            source = _Bounded(raw, self.path) if self.sequential else raw
            mode = "r|" if self.sequential else "r:"
            with tarfile.open(fileobj=cast(IO[bytes], source), mode=mode) as archive:  # type: ignore[call-overload]
                yield _forgetting(archive)
            if isinstance(source, _Bounded):
                while source.read(_COPY_BYTES):  # the padding, and the checksum behind it
                    signals.check()
                self._count = source.count


def _forgetting(archive: tarfile.TarFile) -> Iterator[tuple[tarfile.TarInfo, tarfile.TarFile]]:
    while (member := archive.next()) is not None:
        signals.check()
        yield member, archive
        archive.members = []  # type: ignore[attr-defined]  # or a million of them stay in memory


class _Bounded:
    """A decompressed stream that ends with an error where it would be a decompression bomb."""

    def __init__(self, stream: Any, path: Path) -> None:
        self._stream, self._path = stream, path
        self._most = max(BOMB_BYTES, BOMB_RATIO * path.stat().st_size)
        self.count = 0

    def read(self, size_: int) -> bytes:
        data: bytes = self._stream.read(size_)
        self.count += len(data)
        if self.count > self._most:
            raise DataError(f"{self._path} unpacks to more than {size(self._most)}: a decompression bomb.")
        return data


@contextmanager
def _as_data_error(path: Path) -> Iterator[None]:
    try:
        yield
    except (DataError, UnreadableImageError):
        raise
    except _BAD_TAR as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # of the disk that is written to, above all
        reason = shown(str(error) or type(error).__name__, 120).rstrip(".")
        raise DataError(f"{path}: cannot be read as a tar archive: {reason}.") from error


def _hash_of_time(member: tarfile.TarInfo) -> int:
    """What changes with a file of a tar, which has no checksums of its files."""
    return zlib.crc32(f"{member.mtime} {member.offset_data}".encode())


def _check_bytes(count: int, most: int) -> None:
    if count > most:
        raise UnreadableImageError(f"{size(count)} are too many; the most is {size(most)}")


def _kind_name(path: Path) -> str:
    kind = kinds.kind_of(kinds.read_head(path))
    return kind.name if kind else ""


def open_container(path: Path) -> Container:
    """The container that lies at a path.

    Raises:
        DataError: it is none, or is damaged.
        OSError: it cannot be read.
    """
    if path.is_dir():
        return Folder(path)
    if _kind_name(path) in (*_OPENERS, _TAR) or (path.suffix.lower() == ".tar" and os.path.getsize(path) > 0):
        return Tar(path)
    return Zip(path)
