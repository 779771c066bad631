"""CIFAR-10 from its official binary archive."""

import hashlib
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from stylegen.data.raw.base import RawDataset, RawImage
from stylegen.data.source import DataError

CLASS_NAMES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
_FILES = {"train": [f"data_batch_{i}.bin" for i in range(1, 6)], "test": ["test_batch.bin"]}
_RECORD_BYTES = 1 + 3 * 32 * 32  # the label, then the red, green and blue planes
_FILE_BYTES = 10_000 * _RECORD_BYTES  # of a file in the official archive


class Cifar10Dataset(RawDataset):
    """``cifar-10-binary.tar.gz``: 50,000 images to train on, 10,000 to test, of 32 pixels in 10 classes.

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
        file_names = _FILES[self.split]
        contents: dict[str, bytes] = {}
        try:
            with tarfile.open(self.path, "r:*") as archive:
                for member in archive:
                    name = Path(member.name).name
                    if not (name in file_names and member.isfile()):
                        continue
                    if member.size % _RECORD_BYTES or not 0 < member.size <= _FILE_BYTES:
                        raise DataError(
                            f"{self.path} is not CIFAR-10 in binary form: {name} has {member.size:,} bytes."
                        )
                    stream = archive.extractfile(member)
                    assert stream is not None  # it is a file
                    contents[name] = stream.read()
        except (tarfile.TarError, OSError, EOFError) as error:
            raise DataError(f"{self.path} is not CIFAR-10's archive cifar-10-binary.tar.gz ({error}).") from error
        missing = [name for name in file_names if name not in contents]
        if missing:
            raise DataError(f"{self.path} is not CIFAR-10 in binary form: {missing[0]} is not in it.")
        records = np.frombuffer(b"".join(contents[name] for name in file_names), np.uint8).reshape(-1, _RECORD_BYTES)
        if np.max(records[:, 0]) >= len(CLASS_NAMES):
            raise DataError(f"{self.path} is not CIFAR-10: it has a label {np.max(records[:, 0])}, above 9.")
        return records

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_records": None}
