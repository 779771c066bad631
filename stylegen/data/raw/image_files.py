"""A folder or zip of image files, with the names of the top folders as classes if wanted."""

import hashlib
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from stylegen.data.imaging import MAX_BYTES
from stylegen.data.raw.base import RawDataset, RawImage
from stylegen.data.source import DataError
from stylegen.io.images import NoImagesError, choose_images, list_images
from stylegen.paths import expanded
from stylegen.untrusted import FileError, archives, kinds, shown


class ImageFilesDataset(RawDataset):
    """All image files below a folder or in a zip, in the natural order of their paths; hidden files are left out.

    Raises:
        DataError: nothing there, no images, or, with ``labels_from_folders``, images outside of folders.
    """

    kind = "images"
    name = "images"

    def __init__(self, path: Path, labels_from_folders: bool = False, max_images: int | None = None) -> None:
        self.path = path = expanded(path)
        self._zipped = path.is_file()
        try:
            sizes, self.note = _list_zip(path) if self._zipped else _list_folder(path)
        except NoImagesError as error:
            raise DataError(str(error)) from error
        self._keys = list(sizes)[:max_images]
        self.num_images = len(self._keys)
        self._labels: list[int] | None = None
        if labels_from_folders:
            self.class_names, self._labels = _classes(path, self._keys)
        digest = hashlib.sha256("\n".join(f"{key} {sizes[key]}" for key in self._keys).encode()).hexdigest()
        self.identity = {"images": self.num_images, "hash of names and sizes": digest[:16]}
        self._archive: zipfile.ZipFile | None = None
        self._members: dict[str, zipfile.ZipInfo] = {}

    def read(self, start: int, stop: int) -> Iterator[RawImage]:
        """A file that cannot be read comes as empty bytes, which no decoder takes for an image."""
        for i in range(start, min(stop, self.num_images)):
            yield RawImage(self._keys[i], self._read_file(self._keys[i]), self._labels[i] if self._labels else None)

    def _read_file(self, key: str) -> bytes:
        assert self.path is not None
        try:
            if not self._zipped:
                file = self.path / key
                return file.read_bytes() if file.stat().st_size <= MAX_BYTES else b""
            if self._archive is None:
                self._archive = zipfile.ZipFile(self.path)
                self._members = archives.member_names(self._archive)
            member = self._members[key]
            return self._archive.read(member) if member.file_size <= MAX_BYTES else b""
        except Exception:  # a bad checksum, a password, no permission: to be counted, like an image that is damaged
            return b""

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_archive": None, "_members": {}}


def _list_folder(path: Path) -> tuple[dict[str, int], str]:
    """Relative path and size of every image file, in order, and what to say of others."""
    listing = list_images(path, recursive=True)
    return {file.relative_to(path).as_posix(): file.stat().st_size for file in listing.files}, listing.note


def _list_zip(path: Path) -> tuple[dict[str, int], str]:
    try:
        kinds.refuse_others(kinds.read_head(path), str(path), "a zip archive", "a zip archive")
        with archives.reading(str(path)), zipfile.ZipFile(path) as archive:
            members = archives.member_names(archive)
    except FileError as error:
        raise DataError(str(error)) from error
    except OSError as error:
        raise DataError(f"{path} is neither a folder nor a readable zip file ({error}).") from error
    chosen, note = choose_images(members, str(path))
    unreadable = [(name, why) for name in chosen if (why := archives.why_unreadable(members[name]))]
    if len(unreadable) == len(chosen):
        name, why = unreadable[0]
        raise DataError(f"{path}: {shown(name)} in it {why}.")
    return {name: members[name].file_size for name in chosen}, note


def _classes(path: Path, keys: list[str]) -> tuple[tuple[str, ...], list[int]]:
    """Class names, sorted, and the class of each key.

    Where everything lies in one folder that itself has nothing but folders, as in the zip of a folder, that one is
    passed over.
    """
    parts = [PurePosixPath(key).parts for key in keys]
    depth = 0
    while len({p[depth] for p in parts}) == 1 and all(len(p) > depth + 2 for p in parts):
        depth += 1
    outside = next((key for key, p in zip(keys, parts, strict=True) if len(p) < depth + 2), None)
    if outside is not None:
        raise DataError(f"{path} has images outside of folders, such as {outside}, so folders cannot be their labels.")
    names = sorted({p[depth] for p in parts})
    number = {name: i for i, name in enumerate(names)}
    return tuple(names), [number[p[depth]] for p in parts]
