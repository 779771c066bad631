"""A folder or zip of image files, with the names of the top folders as classes if wanted."""

import hashlib
import zipfile
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from stylegen.data.imaging import MAX_BYTES, UnreadableImageError
from stylegen.data.prepared.manifest import MANIFEST_NAME, WORK_FOLDER
from stylegen.data.raw.base import RawDataset, RawImage
from stylegen.data.source import DataError
from stylegen.io.files import natural_order, printable
from stylegen.io.images import NoImagesError, choose_images, list_images
from stylegen.io.progress import size
from stylegen.paths import expanded
from stylegen.untrusted import FileError, archives, json_text, kinds, shown
from stylegen.untrusted.limits import BOMB_BYTES, BOMB_RATIO, MAX_JSON

_OTHER_ARCHIVES = (".tar", ".tgz", ".gz", ".bz2", ".xz", ".7z", ".rar")
_NVIDIA_LABELS = "dataset.json"
_SPLITS = {"train", "training", "val", "valid", "validation", "test", "testing", "dev", "eval"}


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
            versions, self.note = _list_zip(path) if self._zipped else _list_folder(path)
        except NoImagesError as error:
            raise DataError(str(error)) from error
        self._keys = list(versions)
        self._labels: list[int] | None = None
        if labels_from_folders:
            _refuse_other_labels(path)
            self.class_names, self._labels = _classes(path, self._keys)
            self.note = f"{self.note} {_splits_note(path, self.class_names)}".strip()
        chosen = _spread(self._labels or [0] * len(self._keys), max_images)
        self._keys = [self._keys[i] for i in chosen]
        self._labels = self._labels and [self._labels[i] for i in chosen]
        self.num_images = len(self._keys)
        self.identity = {
            "images": self.num_images,
            "hash of names and sizes": _hash(f"{key} {versions[key][0]}" for key in self._keys),
            "hash of times or checksums": _hash(str(versions[key][1]) for key in self._keys),
        }
        self._archive: zipfile.ZipFile | None = None
        self._members: dict[str, zipfile.ZipInfo] = {}

    def read(self, start: int, stop: int) -> Iterator[RawImage]:
        """A file that cannot be read comes without bytes and with the problem."""
        for i in range(start, min(stop, self.num_images)):
            data, problem = b"", ""
            try:
                data = self._read_file(self._keys[i])
            except Exception as error:  # a bad checksum, a password, no permission: to be counted, like a damaged image
                problem = str(error) or type(error).__name__
            yield RawImage(printable(self._keys[i]), data, self._labels[i] if self._labels else None, problem)

    def _read_file(self, key: str) -> bytes:
        assert self.path is not None
        if not self._zipped:
            file = self.path / key
            _check_bytes(file.stat().st_size)
            return file.read_bytes()
        if self._archive is None:
            self._archive = zipfile.ZipFile(self.path)
            self._members = archives.member_names(self._archive)
        member = self._members[key]
        _check_bytes(member.file_size)
        if member.file_size > BOMB_BYTES and member.file_size > BOMB_RATIO * member.compress_size:
            raise UnreadableImageError(
                f"{size(member.compress_size)} of the zip that unpack to {size(member.file_size)}: a decompression bomb"
            )
        return self._archive.read(member)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_archive": None, "_members": {}}


def _check_bytes(count: int) -> None:
    if count > MAX_BYTES:
        raise UnreadableImageError(f"{size(count)} are too many for an image; the most is {size(MAX_BYTES)}")


def _hash(lines: Iterable[str]) -> str:
    # Names that are not UTF-8 come with surrogates in place of their odd bytes.
    return hashlib.sha256("\n".join(lines).encode("utf-8", "surrogateescape")).hexdigest()[:16]


def _list_folder(path: Path) -> tuple[dict[str, tuple[int, int]], str]:
    """Relative path, with size and time of change, of every image file, in order; and what to say of others."""
    listing = list_images(path, recursive=True, skip=is_written_by_us)
    status = {file.relative_to(path).as_posix(): file.stat() for file in listing.files}
    return {name: (item.st_size, item.st_mtime_ns) for name, item in status.items()}, listing.note


def is_written_by_us(folder: Path) -> bool:
    """Whether a folder is prepared data, whole or begun, or the directory of a run: none holds images to train on."""
    prepared = any((folder / name).exists() for name in (MANIFEST_NAME, WORK_FOLDER))
    return prepared or ((folder / "config.json").is_file() and (folder / "checkpoints").is_dir())


def _list_zip(path: Path) -> tuple[dict[str, tuple[int, int]], str]:
    """Name, with size and checksum, of every image file; see ``_list_folder``."""
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
    return {name: (members[name].file_size, members[name].CRC) for name in chosen}, note


def _spread(labels: list[int], count: int | None) -> list[int]:
    """Numbers of at most ``count`` images, the first ones of each class and as many of each as there are, in order."""
    if count is None or count >= len(labels):
        return list(range(len(labels)))
    nth: Counter[int] = Counter()  # of each class, so far
    ranks = []
    for i, label in enumerate(labels):
        ranks.append((nth[label], label, i))
        nth[label] += 1
    return sorted(i for _, _, i in sorted(ranks)[:count])


def _splits_note(path: Path, class_names: tuple[str, ...]) -> str:
    if not {name.lower() for name in class_names} <= _SPLITS:
        return ""
    return (
        f"{path}: its classes are {', '.join(class_names)}, which look like splits; to train on the classes within one,"
        " give its folder."
    )


def _refuse_other_labels(path: Path) -> None:
    """NVIDIA's dataset_tool sorts images into folders of a thousand, and writes their labels into a file."""
    if _has_other_labels(path):
        raise DataError(
            f"{path} has its labels in {_NVIDIA_LABELS}, as NVIDIA's dataset_tool writes them, and its folders are no"
            " classes. That file is not read yet: train without labels (num_classes 0, no --labels-from-folders), or"
            f" sort the images into one folder for each class and remove {_NVIDIA_LABELS}."
        )


def _has_other_labels(path: Path) -> bool:
    """Whether there is a file of labels; one that is too large to be read is taken for one, of many images."""
    try:
        if path.is_dir():
            file = path / _NVIDIA_LABELS
            text = file.read_bytes() if file.stat().st_size <= MAX_JSON else None
        else:
            with archives.reading(str(path)), zipfile.ZipFile(path) as archive:
                member = archive.getinfo(_NVIDIA_LABELS)
                text = archive.read(member) if member.file_size <= MAX_JSON else None
        return text is None or bool(json_text.parse_object(text, str(path)).get("labels"))
    except (FileError, OSError):
        return False  # there is none, or it is something else


def _classes(path: Path, keys: list[str]) -> tuple[tuple[str, ...], list[int]]:
    """Class names in natural order, and the class of each key.

    Where everything lies in one folder that itself has nothing but folders, as in the zip of a folder, that one is
    passed over.
    """
    parts = [PurePosixPath(key).parts for key in keys]
    depth = 0
    while len({p[depth] for p in parts}) == 1 and all(len(p) > depth + 2 for p in parts):
        depth += 1
    outside = next((key for key, p in zip(keys, parts, strict=True) if len(p) < depth + 2), None)
    if outside is not None:
        raise DataError(
            f"{path} has images outside of folders, such as {printable(outside)}, so folders cannot be their labels."
        )
    names = sorted({p[depth] for p in parts}, key=natural_order)
    number = {name: i for i, name in enumerate(names)}
    return tuple(map(printable, names)), [number[p[depth]] for p in parts]
