"""CIFAR-10 from its official archives: the binary one, or the one of pickles for Python, which are read, never run."""

import hashlib
import itertools
import tarfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from stylegen.data.raw.base import RawDataset, RawImage
from stylegen.data.source import DataError
from stylegen.formats import WeightsError, pickle_arrays, pickle_tree

CLASS_NAMES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
ARCHIVES = ("cifar-10-binary.tar.gz", "cifar-10-python.tar.gz")
_FILES = {"train": [f"data_batch_{i}" for i in range(1, 6)], "test": ["test_batch"]}
_BINARY = ".bin"  # ends their names in the binary archive
_NAMES = {name + ending for names in _FILES.values() for name in names for ending in ("", _BINARY)}
_FIRST = 16  # files of an archive that are looked at to recognize it
_RECORD_BYTES = 1 + 3 * 32 * 32  # the label, then the red, green and blue planes
_MAX_BYTES = 10_000 * (_RECORD_BYTES + 100)  # of a file; Python's have the names of images, of some 30 letters, too
_BAD_TAR = (tarfile.TarError, OSError, EOFError, zlib.error)


class Cifar10Dataset(RawDataset):
    """One of ``ARCHIVES``: 50,000 images to train on, 10,000 to test, of 32 pixels in 10 classes.

    Raises:
        DataError: this is not that archive.
    """

    kind = "cifar10"
    name = "cifar10"
    class_names = CLASS_NAMES

    def __init__(self, path: Path, split: str = "train", max_images: int | None = None) -> None:
        if split not in _FILES:
            raise DataError(f"CIFAR-10 has the splits train and test, not {split!r}.")
        self.path = path
        self.split = split
        self._records: np.ndarray | None = self._load()
        total = len(self._records)
        self.num_images = min(total, max_images or total)
        digest = hashlib.sha256(np.ascontiguousarray(self._records).data).hexdigest()[:16]
        self.identity = {"split": split, "images": total, "hash of images": digest}

    def read(self, start: int, stop: int) -> Iterator[RawImage]:
        """Images in the order of the files."""
        if self._records is None:
            self._records = self._load()
        for i in range(start, min(stop, self.num_images)):
            planes = self._records[i, 1:].reshape(3, 32, 32)
            yield RawImage(f"{self.split}_{i:05d}", planes.transpose(1, 2, 0), int(self._records[i, 0]))

    def _load(self) -> np.ndarray:
        """uint8 [n, 3073]. Members are read into memory, never written to a path that the archive names."""
        assert self.path is not None
        members = _members(self.path, self.split)
        records = np.concatenate([_records(name, data, self.path) for name, data in members])
        if np.max(records[:, 0]) >= len(CLASS_NAMES):
            raise DataError(f"{self.path} is not CIFAR-10: it has a label {np.max(records[:, 0])}, above 9.")
        return records

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_records": None}


def is_cifar10(path: Path) -> bool:
    """Whether a tar archive begins as CIFAR-10's do; False for what cannot be read."""
    try:
        with tarfile.open(path, "r:*") as archive:
            return any(Path(member.name).name in _NAMES for member in itertools.islice(archive, _FIRST))
    except (*_BAD_TAR, ValueError):
        return False


def _members(path: Path, split: str) -> list[tuple[str, bytes]]:
    """The files of a split by name, in their order, of the binary archive or of Python's."""
    contents: dict[str, bytes] = {}
    try:
        with tarfile.open(path, "r:*") as archive:
            for member in archive:
                name = Path(member.name).name
                if name.removesuffix(_BINARY) not in _FILES[split] or not member.isfile():
                    continue
                if not 0 < member.size <= _MAX_BYTES or (name.endswith(_BINARY) and member.size % _RECORD_BYTES):
                    raise DataError(f"{path} is not CIFAR-10: {name} has {member.size:,} bytes.")
                stream = archive.extractfile(member)
                assert stream is not None  # it is a file
                contents[name] = stream.read()
    except _BAD_TAR as error:
        raise DataError(f"{path} is not CIFAR-10's archive {' or '.join(ARCHIVES)} ({error}).") from error
    form = _BINARY if any(name.endswith(_BINARY) for name in contents) else ""
    names = [name + form for name in _FILES[split]]
    if missing := [name for name in names if name not in contents]:
        raise DataError(f"{path} is not CIFAR-10 in binary form or of Python: {missing[0]} is not in it.")
    return [(name, contents[name]) for name in names]


def _records(name: str, data: bytes, path: Path) -> np.ndarray:
    """The records of a file, uint8 [n, 3073]."""
    if name.endswith(_BINARY):
        return np.frombuffer(data, np.uint8).reshape(-1, _RECORD_BYTES)
    source = f"{path}: {name}"
    try:
        tree = pickle_tree.read(data, pickle_tree.Names(pickle_arrays.NAMES, purpose="images"), source)
        pickle_arrays.check_records(tree.records, len(data), source)
        fields = pickle_arrays.as_mapping(tree.value) or {}
        pixels, labels = pickle_arrays.as_array(fields.get("data"), source), fields.get("labels")
    except WeightsError as error:
        raise DataError(str(error)) from error
    if pixels is None or pixels.dtype != np.uint8 or pixels.ndim != 2 or pixels.shape[1] != _RECORD_BYTES - 1:
        raise DataError(f"{source} is not CIFAR-10's: it has no array `data`, uint8 [n, {_RECORD_BYTES - 1:,}].")
    if not isinstance(labels, list) or len(labels) != len(pixels) or not all(_is_byte(label) for label in labels):
        raise DataError(f"{source} is not CIFAR-10's: it has no list `labels`, a whole number for each image.")
    return np.concatenate([np.array(labels, np.uint8)[:, None], pixels], axis=1)


def _is_byte(value: Any) -> bool:
    return type(value) is int and 0 <= value < 256
