"""State dicts that ``torch.save`` wrote, as numpy arrays, without torch.

Such a file is a pickle, which can name any function to be called. Here only what rebuilds tensors can be named; every
other name ends the reading before anything is called. Both forms are read: the zip archive of torch 1.6 and later
(``data.pkl`` and a file for each storage), and the sequence of pickles before that, with the storages at the end.
"""

import io
import math
import os
import pickle
import struct
import zipfile
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

from stylegen.pretrained import WeightsError

_LEGACY_MAGIC, _LEGACY_PROTOCOL = 0x1950A86A20F9469CFC6C, 1001
_DTYPES = {
    "FloatStorage": np.float32,
    "DoubleStorage": np.float64,
    "HalfStorage": np.float16,
    "LongStorage": np.int64,
    "IntStorage": np.int32,
    "ShortStorage": np.int16,
    "CharStorage": np.int8,
    "ByteStorage": np.uint8,
    "BoolStorage": np.bool_,
}


def read_state_dict(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """All tensors of a state dict by name.

    Raises:
        WeightsError: the file is no state dict, is damaged, or names anything but tensors.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            tree = _read_zip(file, path) if zipfile.is_zipfile(file) else _read_legacy(file, path)
    except (OSError, WeightsError):
        raise
    except Exception as error:  # a damaged pickle or archive raises nearly anything
        raise WeightsError(f"{path}: no state dict that can be read ({type(error).__name__}: {error}).") from error
    if isinstance(tree, dict) and isinstance(tree.get("state_dict"), dict):
        tree = tree["state_dict"]
    if not isinstance(tree, dict) or not all(isinstance(k, str) and isinstance(v, _Tensor) for k, v in tree.items()):
        raise WeightsError(f"{path}: holds something else than a state dict, which is a table of tensors by name.")
    return {name: tensor.array(path) for name, tensor in tree.items()}


@dataclass
class _Storage:
    """A flat run of numbers; those of the old form are filled in after the tensors that use them."""

    dtype: np.dtype
    numel: int
    data: np.ndarray | None = None


@dataclass
class _Tensor:
    """A strided view of a storage."""

    storage: _Storage
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]

    def array(self, path: Path) -> np.ndarray:
        """A copy of the numbers; the view must lie within its storage and not be larger than it."""
        data = self.storage.data
        numbers = [self.offset, *self.size, *self.stride]
        honest = all(type(n) is int and n >= 0 for n in numbers) and len(self.size) == len(self.stride) <= 8
        count = math.prod(self.size) if honest else 0
        last = self.offset + sum((n - 1) * s for n, s in zip(self.size, self.stride, strict=False)) if honest else 0
        if data is None or not honest or count > data.size or (count and last >= data.size):
            raise WeightsError(f"{path}: damaged: a tensor of {self.size} does not fit its storage.")
        strides = tuple(step * data.itemsize for step in self.stride)
        return np.lib.stride_tricks.as_strided(data[self.offset :], self.size, strides).copy()


def _rebuild_tensor(storage: Any, offset: int, size: Any, stride: Any, *_: Any) -> _Tensor:
    if not isinstance(storage, _Storage):
        raise WeightsError("a tensor without a storage.")
    return _Tensor(storage, offset, tuple(size), tuple(stride))


def _rebuild_parameter(tensor: Any, *_: Any) -> Any:
    return tensor


_ALLOWED: dict[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): OrderedDict,
    ("torch._utils", "_rebuild_tensor_v2"): _rebuild_tensor,
    ("torch._utils", "_rebuild_parameter"): _rebuild_parameter,
    ("torch", "Size"): tuple,
    # A storage's type is only a mark: a string, which cannot be called.
    **{("torch", name): name for name in _DTYPES},
}


class _Unpickler(pickle.Unpickler):
    """An unpickler that knows the names in ``_ALLOWED`` and no others."""

    def __init__(self, file: IO[bytes], path: Path, storages: "_Storages") -> None:
        super().__init__(file, encoding="utf-8")
        self._path, self._storages = path, storages

    def find_class(self, module: str, name: str) -> Any:
        """Called for every name that the pickle holds."""
        try:
            return _ALLOWED[module, name]
        except KeyError:
            raise WeightsError(
                f"{self._path}: names {module}.{name}, which is no part of a state dict and might run code; it was not "
                "read any further."
            ) from None

    def persistent_load(self, pid: Any) -> _Storage:
        """Called for every storage."""
        return self._storages.get(pid)


class _Storages:
    """The storages of a file by their keys."""

    def __init__(self, path: Path, archive: zipfile.ZipFile | None = None, prefix: str = "") -> None:
        self.by_key: dict[str, _Storage] = {}
        self._path, self._archive, self._prefix = path, archive, prefix
        self._left = path.stat().st_size  # bytes; no honest file has storages larger than itself

    def get(self, pid: Any) -> _Storage:
        """The storage that a pickle's persistent id means."""
        kind, dtype_name, key, _, numel = pid[:5]
        if kind != "storage" or dtype_name not in _DTYPES or type(numel) is not int or numel < 0:
            raise WeightsError(f"{self._path}: a storage of an unknown kind.")
        if len(pid) > 5 and pid[5] is not None:
            raise WeightsError(f"{self._path}: a storage that is a part of another; save it again with a newer torch.")
        key = str(key)
        if key not in self.by_key:
            storage = _Storage(np.dtype(_DTYPES[dtype_name]), numel)
            self._left -= numel * storage.dtype.itemsize
            if self._left < 0:
                raise WeightsError(f"{self._path}: damaged: its storages are larger than the file.")
            if self._archive is not None:
                storage.data = self._from_zip(self._archive, key, storage)
            self.by_key[key] = storage
        return self.by_key[key]

    def _from_zip(self, archive: zipfile.ZipFile, key: str, storage: _Storage) -> np.ndarray:
        info = archive.getinfo(f"{self._prefix}data/{key}")
        if info.file_size != storage.numel * storage.dtype.itemsize or info.compress_type != zipfile.ZIP_STORED:
            raise WeightsError(f"{self._path}: damaged: storage {key} has not the size that is stated.")
        return np.frombuffer(archive.read(info), storage.dtype)  # zipfile checks the CRC


def _read_zip(file: IO[bytes], path: Path) -> Any:
    with zipfile.ZipFile(file) as archive:
        names = archive.namelist()
        pickles = [name for name in names if name.endswith("/data.pkl") and name.count("/") == 1]
        if any(name.endswith("/constants.pkl") for name in names):
            raise WeightsError(f"{path}: a TorchScript program, which is code; give a state dict of the same weights.")
        if len(pickles) != 1:
            raise WeightsError(f"{path}: a zip file, but not one that torch.save wrote (it has no data.pkl).")
        prefix = pickles[0].removesuffix("data.pkl")
        order = archive.read(f"{prefix}byteorder") if f"{prefix}byteorder" in names else b"little"
        if order != b"little":
            raise WeightsError(f"{path}: written on a big-endian machine; save it again on another.")
        return _Unpickler(io.BytesIO(archive.read(pickles[0])), path, _Storages(path, archive, prefix)).load()


def _read_legacy(file: IO[bytes], path: Path) -> Any:
    storages = _Storages(path)

    def load() -> Any:
        return _Unpickler(file, path, storages).load()

    file.seek(0)
    if load() != _LEGACY_MAGIC or load() != _LEGACY_PROTOCOL:
        raise WeightsError(f"{path}: not a file that torch.save wrote.")
    if load().get("little_endian") is not True:
        raise WeightsError(f"{path}: written on a big-endian machine; save it again on another.")
    tree = load()
    for key in load():
        storage = storages.by_key[str(key)]
        (numel,) = struct.unpack("<q", file.read(8))
        if numel != storage.numel:
            raise WeightsError(f"{path}: damaged: storage {key} has not the size that is stated.")
        content = file.read(numel * storage.dtype.itemsize)
        storage.data = np.frombuffer(content, storage.dtype)
        if storage.data.size != numel:
            raise WeightsError(f"{path}: damaged: it ends too early.")
    return tree
