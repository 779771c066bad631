"""LSUN's archives: find one, judge it before it is unpacked, read its LMDB."""

import hashlib
import itertools
import re
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import lmdb

from stylegen.data.raw.base import ArchiveMissingError, RawDataset, RawImage
from stylegen.data.source import DataError
from stylegen.io import signals
from stylegen.io.files import replacing_folder
from stylegen.io.image_listing import SUFFIXES
from stylegen.io.progress import Progress, Rate, size
from stylegen.paths import expanded
from stylegen.untrusted import FileError, archives

_SCENE = re.compile(r"(?P<category>.+)_(?P<split>train|val|test)_lmdb")
_SAMPLE_BYTES = 64 * 2**20  # of data.mdb, searched for images to measure
_COPY_BYTES = 16 * 2**20
_IDENTITY_BYTES, _IDENTITY_NAME = 2**20, "hash of the first megabyte"
_LMDB_MAGIC = 0xBEEFC0DE
_OVERFLOW_PAGE = 0x04


class LsunDataset(RawDataset):
    """One category and split: ``<category>_<split>_lmdb`` (a scene) or ``<category>`` (an object), zipped or unpacked.

    Raises:
        DataError: this is no LSUN archive, or it is empty or cut short.
    """

    kind = "lsun"

    def __init__(self, path: Path, max_images: int | None = None) -> None:
        self.path = path = expanded(path)
        self._member = _find_member(path) if path.is_file() else None
        folder = Path(self._member).parent.name if self._member else path.resolve().name
        # The archive's own folder says what it is; the name of the zip may have been changed.
        scene = _SCENE.fullmatch(folder or path.stem)
        category, self.split = scene.group("category", "split") if scene else (folder or path.stem, "train")
        self.name = "lsun_" + re.sub(r"\W+", "_", category.lower())
        with _damage_as_sentence(path), _open_database(path, self._member) as (stream, length):
            header, beginning = _read_header(stream, path, length)
            digest = hashlib.sha256(beginning + stream.read(_IDENTITY_BYTES - len(beginning))).hexdigest()[:16]
        self.num_images = min(header.entries, max_images or header.entries)
        self._page_size = header.page_size
        self._length = length
        self.identity = {
            "category": category,
            "bytes of data.mdb": length,
            "entries": header.entries,
            _IDENTITY_NAME: digest,
        }
        self.unpacked_bytes = length if self._member else 0
        self._database = None if self._member else path
        self._mark: tuple[int, bytes | None] = (0, None)  # a number that was passed already, and its key

    def unpack(self, folder: Path, progress: Progress) -> None:
        """LMDB maps its file into memory, which a zip does not allow: copy data.mdb out of it."""
        if self._member is None:
            return
        target = folder / "lsun"
        self._database = target
        if (target / "data.mdb").is_file():
            return
        with (
            _damage_as_sentence(self.path),
            replacing_folder(target) as partial,
            _open_database(self.path, self._member) as (source, length),
            (partial / "data.mdb").open("wb") as sink,
        ):
            rate = Rate(length, unit="bytes")
            while block := source.read(_COPY_BYTES):
                signals.check()
                sink.write(block)
                progress.update(f"unpacking {rate.line(sink.tell())}")

    def sample(self, count: int) -> list[RawImage]:
        """Images among the first pages of data.mdb, found without LMDB, so also inside a zip.

        A value larger than half a page has pages of its own: a header with their number, then the value.
        """
        with _open_database(self.path, self._member) as (stream, _):
            pages = stream.read(_SAMPLE_BYTES)
        images: list[RawImage] = []
        for start in range(0, len(pages) - self._page_size + 1, self._page_size):
            flags, number = struct.unpack_from("<HI", pages, start + 10)
            stop = start + number * self._page_size
            if flags == _OVERFLOW_PAGE and number and stop <= len(pages) and len(images) < count:
                images.append(RawImage(str(len(images)), pages[start + 16 : stop]))
        return images

    def read(self, start: int, stop: int) -> Iterator[RawImage]:
        """Images in the order of their keys, which are hashes: a random order."""
        try:
            with lmdb.open(str(self._database), readonly=True, lock=False, readahead=False, max_readers=1) as database:
                yield from self._read(database, start, stop)
        except lmdb.Error as error:
            raise DataError(f"{self.path} is damaged ({error}); download it again.") from error

    def _read(self, database: lmdb.Environment, start: int, stop: int) -> Iterator[RawImage]:
        with database.begin() as transaction, transaction.cursor() as cursor:
            passed, key = self._mark if self._mark[0] <= start else (0, None)
            has_record = cursor.set_key(key) if key is not None else cursor.first()
            keys = cursor.iternext(keys=True, values=False) if has_record else iter(())
            key = next(itertools.islice(keys, start - passed, None), None)
            if key is None:
                raise DataError(f"{self.path} is damaged: it has fewer images than its header says.")
            self._mark = (start, key)
            cursor.set_key(key)
            for name, value in itertools.islice(cursor.iternext(), stop - start):
                yield RawImage(bytes(name).decode("latin-1"), bytes(value))

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_mark": (0, None)}


def find_archive(folder: Path, category: str, split: str) -> Path:
    """The archive of a category and split in a folder, zipped or unpacked, or the folder itself if it is one.

    Raises:
        ArchiveMissingError: there is none.
    """
    if (folder / "data.mdb").is_file():
        return folder
    names = [f"{category}_{split}_lmdb", f"{category}_{split}_lmdb.zip"]
    names += [category, f"{category}.zip"] if split == "train" else []
    for name in names:
        if (folder / name / "data.mdb").is_file() or (folder / name).is_file():
            return folder / name
    raise ArchiveMissingError(
        f"{folder} holds none of {', '.join(names)}; give the archive's own path, or its category and split."
    )


@contextmanager
def _damage_as_sentence(path: Path | None) -> Iterator[None]:
    try:
        yield
    except (zipfile.BadZipFile, EOFError, zlib.error) as error:
        raise DataError(f"{path} is damaged ({error}); download it again.") from error


def _find_member(path: Path) -> str:
    """Name of data.mdb inside the zip."""
    try:
        with archives.reading(str(path)), zipfile.ZipFile(path) as archive:
            everything = archive.infolist()
            members = [member for member in everything if Path(member.filename).name == "data.mdb"]
    except (FileError, OSError) as error:
        raise DataError(f"{path} is not an LSUN archive: it is no zip file, or it is cut short ({error}).") from error
    if len(members) != 1:
        # NVIDIA's dataset_tool.py, for one, makes such a zip of LSUN's images.
        images = any(Path(member.filename).suffix.lower() in SUFFIXES for member in everything)
        hint = " Its images are read by `prepare images`, and by `train` with --data.source images." if images else ""
        raise DataError(
            f"{path} is not an LSUN archive: it has {len(members) or 'no'} data.mdb in it, where one is wanted.{hint}"
        )
    if why := archives.why_unreadable(members[0]):
        raise DataError(f"{path} cannot be unpacked: data.mdb in it {why}.")
    return members[0].filename


@contextmanager
def _open_database(path: Path | None, member: str | None) -> Iterator[tuple[IO[bytes], int]]:
    """data.mdb as a stream, and its length in bytes."""
    assert path is not None
    if member is not None:
        try:
            with zipfile.ZipFile(path) as archive, archive.open(member) as stream:
                yield stream, archive.getinfo(member).file_size
        except (RuntimeError, NotImplementedError) as error:  # encrypted, or a compression that Python cannot read
            raise DataError(f"{path} cannot be unpacked: {error}.") from error
        return
    file = path / "data.mdb"
    if not file.is_file():
        raise DataError(f"{path} is not an LSUN data set: there is no data.mdb in it.")
    with file.open("rb") as stream:
        yield stream, file.stat().st_size


@dataclass(frozen=True)
class _Header:
    entries: int
    page_size: int


def _read_header(stream: IO[bytes], path: Path, length: int) -> tuple[_Header, bytes]:
    """Number of entries from LMDB's first pages, checking that the file is as long as they say; and what was read.

    Reading a data.mdb that is cut short would kill the process (SIGBUS), so it must be found out beforehand.
    """
    page = stream.read(256)
    if len(page) < 152 or struct.unpack_from("<I", page, 16)[0] != _LMDB_MAGIC:
        raise DataError(f"{path} is not an LSUN archive: its data.mdb is no LMDB database.")
    page_size = struct.unpack_from("<I", page, 40)[0]
    # Two such pages take turns; the one with the higher transaction number counts.
    page += stream.read(page_size + 256 - len(page))
    metas = [struct.unpack_from("<Q8xQQ", page, start + 120) for start in (0, page_size) if start + 152 <= len(page)]
    entries, last_page, _ = max(metas, key=lambda meta: meta[2])
    if length < (last_page + 1) * page_size:
        raise DataError(
            f"{path} is cut short: its data.mdb has {size(length)} of {size((last_page + 1) * page_size)};"
            " download it again."
        )
    if entries == 0:
        raise DataError(f"{path} is empty: its data.mdb has no images.")
    return _Header(entries, page_size), page
