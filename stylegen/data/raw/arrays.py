"""Arrays of measured values as raw data: .npy and .npz files of 1 to 16 channels, any kind of number, any range.

A file holds N fields, [N, h, w] of one channel or [N, h, w, C]; or a folder holds files of one field each, [h, w] or
[h, w, C]. Values are stored as float32 in units of their channel's standard deviation, and samples come back in the
units of the data.
"""

import abc
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from stylegen.config import MAX_ARRAY_CHANNELS
from stylegen.data.raw.base import RawDataset, RawImage
from stylegen.data.source import DataError
from stylegen.io import signals
from stylegen.io.files import natural_order, printable
from stylegen.io.image_listing import find_files
from stylegen.io.progress import counted
from stylegen.untrusted import FileError, npz, shown

SUFFIXES = (".npy", ".npz")
_KINDS = "biuf"  # of numbers, by numpy's letters
_LARGEST = 1e30  # of a value: sums of squares stay far from the end of float64
_PROBLEM = "it has values that are not finite"


class _Fields(abc.ABC):
    """Fields by number; sent to worker processes without what is open."""

    count: int

    @abc.abstractmethod
    def read(self, number: int) -> np.ndarray:
        """A field [h, w, C], of any kind of number."""

    @abc.abstractmethod
    def key(self, number: int) -> str:
        """Its name."""


class _OneFile(_Fields):
    """All fields in one array [N, h, w] or [N, h, w, C]."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._array: np.ndarray | None = None
        array = self._open()
        if array.ndim not in (3, 4) or not len(array):
            raise DataError(f"{path} holds an array of shape {array.shape}; wanted [N, h, w] or [N, h, w, C].")
        self.count = len(array)

    def _open(self) -> np.ndarray:
        if self._array is None:
            self._array = _load(self._path)
        return self._array

    def read(self, number: int) -> np.ndarray:
        field = np.asarray(self._open()[number])
        return field[..., None] if field.ndim == 2 else field

    def key(self, number: int) -> str:
        return f"{number:08d}"

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_array": None}


class _ManyFiles(_Fields):
    """A field in each file of a folder, [h, w] or [h, w, C]."""

    def __init__(self, path: Path, names: list[str]) -> None:
        self._path, self._names, self.count = path, names, len(names)

    def read(self, number: int) -> np.ndarray:
        field = np.asarray(_load(self._path / self._names[number]))
        if field.ndim not in (2, 3):
            raise DataError(f"{self._path / self._names[number]} has the shape {field.shape}; wanted [h, w, C].")
        return field[..., None] if field.ndim == 2 else field

    def key(self, number: int) -> str:
        return printable(self._names[number])


def _load(path: Path) -> np.ndarray:
    """The array of a .npy file, mapped, or the only one of an .npz file."""
    try:
        if path.suffix.lower() == ".npy":
            kind = npz.read_npy_header(path).dtype.kind
            array: np.ndarray = np.load(path, mmap_mode="r", allow_pickle=False)
        else:
            with npz.Npz(path) as file:
                names = sorted(file.names)
                if len(names) != 1:
                    raise DataError(f"{path} holds {counted(len(names), 'array')}; wanted one: {shown(names)}.")
                array = file.read(names[0])
                kind = array.dtype.kind
    except (FileError, OSError, ValueError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(str(error)) from error
    if kind not in _KINDS:
        raise DataError(f"{path} holds {array.dtype}; wanted whole or floating-point numbers.")
    return array


class ArraysDataset(RawDataset):
    """Fields of arrays, with the mean and the standard deviation of each channel over all of them.

    Raises:
        DataError: no arrays, or they are no fields of 1 to 16 channels.
    """

    kind = "arrays"
    name = "arrays"

    def __init__(self, path: Path, max_images: int | None = None) -> None:
        self.path = path
        self._fields, self.note = _open(path)
        self.num_images = min(self._fields.count, max_images or self._fields.count)
        self.channels = self._fields.read(0).shape[-1]
        if not 1 <= self.channels <= MAX_ARRAY_CHANNELS:
            raise DataError(f"{path} has {self.channels} channels; at most {MAX_ARRAY_CHANNELS} are read.")
        self.channel_stats, digest = self._measure()
        self.identity = {"images": self.num_images, "channels": self.channels, "hash of values": digest}

    def _measure(self) -> tuple[tuple[tuple[float, float], ...], str]:
        """Mean and standard deviation of each channel, and a hash of all values; one pass over them.

        Sums are shifted by the first field's means, which keeps large offsets from swallowing small deviations.
        """
        digest = hashlib.sha256()
        shift: np.ndarray | None = None
        count, total, squares = 0, np.zeros(self.channels), np.zeros(self.channels)
        for image in self.read(0, self.num_images):
            signals.check()
            digest.update(image.key.encode())
            if image.problem:
                continue
            assert isinstance(image.data, np.ndarray)
            digest.update(np.ascontiguousarray(image.data).tobytes())
            values = image.data.reshape(-1, self.channels)
            shift = values.mean(axis=0) if shift is None else shift
            count += len(values)
            total += (values - shift).sum(axis=0)
            squares += np.square(values - shift).sum(axis=0)
        if shift is None:
            raise DataError(f"{self.path}: none of {counted(self.num_images, 'array')} can be used; {_PROBLEM}.")
        means = shift + total / count
        deviations = np.sqrt(np.maximum(squares / count - np.square(total / count), 0))
        # A channel that does not vary stays zero whatever it is divided by.
        deviations[deviations <= 1e-12 * np.maximum(np.abs(means), 1e-300)] = 1
        return tuple(zip(means.tolist(), deviations.tolist(), strict=True)), digest.hexdigest()[:16]

    def read(self, start: int, stop: int) -> Iterator[RawImage]:
        """Fields float64 [h, w, C]; what cannot be used, such as values that are not finite, has that as its problem.

        In float64, because a channel may vary by little around a large mean.
        """
        for i in range(start, min(stop, self.num_images)):
            key, problem = self._fields.key(i), ""
            field = np.zeros((0, 0, self.channels))
            try:
                values = self._fields.read(i).astype(np.float64)
                if values.shape[-1] != self.channels or not values.size:
                    problem = f"its shape is {values.shape}; others have {counted(self.channels, 'channel')}"
                elif not np.isfinite(values).all():
                    problem = _PROBLEM
                elif np.abs(values).max() > _LARGEST:
                    problem = f"it has values beyond {_LARGEST:g}"
                else:
                    field = values
            except Exception as error:  # damage of all kinds: to be counted, like a damaged image
                problem = str(error) or type(error).__name__
            yield RawImage(key, field, None, problem)


def _open(path: Path) -> tuple[_Fields, str]:
    """The fields at a path, and a sentence on what is left out."""
    if path.is_file():
        if path.suffix.lower() not in SUFFIXES:
            raise DataError(f"{path} is no array; wanted a .npy or .npz file, or a folder of them.")
        return _OneFile(path), ""
    names, note = find_files(path, recursive=True)
    hidden = [name for name in names if not any(part.startswith(".") for part in name.split("/"))]
    chosen = sorted((name for name in hidden if os.path.splitext(name)[1].lower() in SUFFIXES), key=natural_order)
    if not chosen:
        raise DataError(f"{path} holds no arrays (files named {', '.join(SUFFIXES)} are looked for).")
    if others := len(hidden) - len(chosen):
        first = next(name for name in sorted(hidden) if name not in set(chosen))
        left_out = f"{path}: {counted(others, 'file')} left out, no arrays, such as {printable(first)}."
        note = f"{left_out} {note}".strip()
    return _ManyFiles(path, chosen), note
