"""Files of ``torch.save``, and torch's tensors within other pickles, as numpy arrays, without torch.

Such a file is a pickle, which can name any function to be called. ``pickle_tree`` reads it as inert records, in which
only what tensors are rebuilt from may be named; the tensors are made of them here. Two forms are read. The zip archive
of torch 1.6 and later has ``data.pkl`` and a file for each storage. The older form is a sequence of pickles with the
storages at the end; pickled modules hold such bytes for each of their storages.
"""

import io
import math
import os
import struct
import zipfile
from dataclasses import dataclass
from typing import Any

import numpy as np

from stylegen.formats import WeightsError, pickle_tree
from stylegen.formats.pickle_arrays import MAX_OVERLAP, as_mapping
from stylegen.formats.pickle_tree import Kind, Name, Names, Persistent, Record, describe
from stylegen.paths import expanded
from stylegen.untrusted import FileError, kinds

_LEGACY_MAGIC, _LEGACY_PROTOCOL = 0x1950A86A20F9469CFC6C, 1001
_ZIP_MAGIC = b"PK\x03\x04"
_LEGACY_START = b"\x8a\x0a" + _LEGACY_MAGIC.to_bytes(10, "little")  # after the pickle's protocol
_BFLOAT16: np.dtype = np.dtype([("bfloat16", "<u2")])  # a mark: numpy has no such type
# What zipfile raises of a damaged archive.
_BAD_ZIP = (zipfile.BadZipFile, LookupError, ValueError, OSError, RuntimeError, OverflowError, EOFError, struct.error)
_STORAGES: dict[str, np.dtype] = {
    "FloatStorage": np.dtype("<f4"),
    "DoubleStorage": np.dtype("<f8"),
    "HalfStorage": np.dtype("<f2"),
    "BFloat16Storage": _BFLOAT16,
    "LongStorage": np.dtype("<i8"),
    "IntStorage": np.dtype("<i4"),
    "ShortStorage": np.dtype("<i2"),
    "CharStorage": np.dtype("i1"),
    "ByteStorage": np.dtype("u1"),
    "UntypedStorage": np.dtype("u1"),
    "BoolStorage": np.dtype("?"),
}
_DTYPES = ("float16", "bfloat16", "float32", "float64", "int8", "int16", "int32", "int64", "uint8", "bool")

STORAGE_NAMES: dict[tuple[str, str], Kind] = {
    **{("torch", name): "mark" for name in _STORAGES},
    **{("torch.storage", name): "mark" for name in ("UntypedStorage", "_UntypedStorage")},
}
TENSOR_NAMES: dict[tuple[str, str], Kind] = {
    **STORAGE_NAMES,
    **{("torch", name): "mark" for name in (*_DTYPES, "Tensor")},
    **{("torch.nn.parameter", name): "mark" for name in ("Parameter", "Buffer")},
    ("torch", "Size"): "class",
    ("torch", "device"): "class",
    ("torch._utils", "_rebuild_tensor"): "function",
    ("torch._utils", "_rebuild_tensor_v2"): "function",
    ("torch._utils", "_rebuild_parameter"): "function",
    ("torch._utils", "_rebuild_parameter_with_state"): "function",
    ("torch._tensor", "_rebuild_from_type"): "function",
    ("torch._tensor", "_rebuild_from_type_v2"): "function",
    ("collections", "OrderedDict"): "class",
}
STATE_DICT = Names(TENSOR_NAMES, purpose="a state dict")  # what the file of one may name
_ONE_STORAGE = Names(STORAGE_NAMES, purpose="a storage of torch")


def read_state_dict(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """All tensors of a state dict by name.

    Raises:
        WeightsError: the file is no state dict, is damaged, or names anything but tensors.
    """
    path = expanded(path)
    value, storages = load(path.read_bytes(), STATE_DICT, str(path))
    tree = as_mapping(value) or {}
    if (inner := as_mapping(tree.get("state_dict"))) is not None:
        tree = inner
    tensors = Tensors(storages, str(path))
    arrays = {name: tensors.array(item) for name, item in tree.items() if isinstance(name, str)}
    if len(arrays) != len(tree) or not tree or any(array is None for array in arrays.values()):
        raise WeightsError(f"{path}: holds something else than a state dict, which is a table of tensors by name.")
    return {name: array.copy() for name, array in arrays.items() if array is not None}


@dataclass
class _Storage:
    """A flat run of numbers; those of the old form are filled in after the tensors that use them."""

    dtype: np.dtype
    numel: int
    data: np.ndarray | None = None


class Storages:
    """The storages of a file by their keys."""

    def __init__(self, size: int, source: str, archive: zipfile.ZipFile | None = None, prefix: str = "") -> None:
        self.by_key: dict[str, _Storage] = {}
        self.size, self.source = size, source
        self._archive, self._prefix = archive, prefix
        self._remaining = size  # bytes; no valid file has storages larger than itself

    def get(self, pid: Any) -> _Storage:
        """The storage that a pickle's persistent id means."""
        if not isinstance(pid, tuple) or len(pid) not in (5, 6) or pid[0] != "storage" or type(pid[4]) is not int:
            raise WeightsError(f"{self.source}: asks for a storage by {describe(pid)}; torch writes other ids.")
        _, kind, key, _, numel, *view = pid
        dtype = _STORAGES.get(kind.name.removeprefix("_")) if isinstance(kind, Name) else None
        if dtype is None or numel < 0:
            raise WeightsError(f"{self.source}: asks for a storage of {describe(kind)} with {describe(numel)} numbers.")
        if view and view[0] is not None:
            raise WeightsError(f"{self.source}: a storage that is a part of another; save it again with a newer torch.")
        key = str(key) if isinstance(key, int | str) else ""
        if key not in self.by_key:
            self._remaining -= numel * dtype.itemsize
            if self._remaining < 0:
                raise WeightsError(f"{self.source}: damaged: its storages are larger than the file.")
            storage = _Storage(dtype, numel)
            if self._archive is not None:
                storage.data = self._from_zip(self._archive, key, storage)
            self.by_key[key] = storage
        return self.by_key[key]

    def _from_zip(self, archive: zipfile.ZipFile, key: str, storage: _Storage) -> np.ndarray:
        content = _stored(archive, f"{self._prefix}data/{key}", self.size, self.source)
        if len(content) != storage.numel * storage.dtype.itemsize:
            raise WeightsError(
                f"{self.source}: damaged: storage {pickle_tree.printable(key)} has not the size that is stated."
            )
        return np.frombuffer(content, storage.dtype)


class Tensors:
    """Makes arrays of the tensors in a pickle: read-only views of its storages, which they lie within."""

    def __init__(self, storages: Storages, source: str) -> None:
        self.storages, self.source = storages, source
        self._remaining = MAX_OVERLAP * storages.size
        # By identity of the record, which is kept so that its identity stays its own.
        self._arrays: dict[int, tuple[Record, np.ndarray]] = {}
        self._nested: dict[int, tuple[Record, _Storage]] = {}

    def array(self, value: Any) -> np.ndarray | None:
        """The array of a tensor's record; None if it is something else."""
        if not isinstance(value, Record):
            return None
        if id(value) not in self._arrays:
            array = self._rebuild(value.callee.name, value.args)
            if array is None:
                return None
            self._spend(array.nbytes)
            self._arrays[id(value)] = value, array
        return self._arrays[id(value)][1]

    def _spend(self, count: int) -> None:
        self._remaining -= count
        if self._remaining < 0:
            raise WeightsError(f"{self.source}: its tensors are more than {MAX_OVERLAP} times as large as the file.")

    def check(self, records: list[Record]) -> None:
        """Check all tensors that a pickle has, whether anything uses them or not."""
        for record in records:
            self.array(record)
            if record.callee.name == "_load_from_bytes":
                self._storage(record)

    def _rebuild(self, function: str, args: tuple[Any, ...]) -> np.ndarray | None:
        if function in ("_rebuild_tensor", "_rebuild_tensor_v2") and len(args) >= 4:
            return self._strided(self._storage(args[0]), *args[1:4])
        if function in ("_rebuild_parameter", "_rebuild_parameter_with_state") and args:
            return self.array(args[0])
        if function in ("_rebuild_from_type", "_rebuild_from_type_v2") and len(args) >= 3:
            inner, _, inner_args = args[:3]
            plain = (
                isinstance(inner, Name) and inner.name.startswith("_rebuild_tensor") and isinstance(inner_args, tuple)
            )
            if not plain:
                raise WeightsError(f"{self.source}: asks for a tensor made by {describe(inner)}.")
            return self._rebuild(inner.name, inner_args)
        return None

    def _storage(self, value: Any) -> _Storage:
        if isinstance(value, Persistent):
            return self.storages.get(value.pid)
        if isinstance(value, Record) and value.callee.name == "_load_from_bytes":
            if id(value) not in self._nested:
                self._nested[id(value)] = value, self._load(value.args)
            return self._nested[id(value)][1]
        raise WeightsError(f"{self.source}: a tensor without a storage; it has {describe(value)}.")

    def _load(self, args: tuple[Any, ...]) -> _Storage:
        """The result of torch.storage._load_from_bytes: the one storage in a torch file within the file."""
        content = args[0] if len(args) == 1 else None
        if not isinstance(content, memoryview):
            raise WeightsError(f"{self.source}: asks torch.storage._load_from_bytes for {describe(args)}.")
        self._spend(len(content))
        value, storages = load(content, _ONE_STORAGE, f"{self.source} (a storage within)")
        if not isinstance(value, Persistent):
            raise WeightsError(f"{self.source}: a storage within it is {describe(value)} instead.")
        return storages.get(value.pid)

    def _strided(self, storage: _Storage, offset: Any, size: Any, stride: Any) -> np.ndarray:
        """A view of the storage; it must lie within it and not be larger than it."""
        data, shape, steps = storage.data, _numbers(size), _numbers(stride)
        is_valid = shape is not None and steps is not None and len(shape) == len(steps) <= 8 and _numbers((offset,))
        if data is None or not is_valid:
            raise WeightsError(f"{self.source}: damaged: a tensor of {describe(size)} does not fit its storage.")
        assert shape is not None and steps is not None
        count = math.prod(shape)
        last = offset + sum((n - 1) * s for n, s in zip(shape, steps, strict=True))
        if count > data.size or (count and last >= data.size):
            raise WeightsError(f"{self.source}: damaged: a tensor of {describe(size, 9)} does not fit its storage.")
        strides = tuple(step * data.itemsize for step in steps)
        view = np.lib.stride_tricks.as_strided(data[offset:], shape, strides, writeable=False)
        return _widened(view) if data.dtype == _BFLOAT16 else view


def _widened(array: np.ndarray) -> np.ndarray:
    """Bfloat16 as float32, which begins with the same bits."""
    return (array["bfloat16"].astype(np.uint32) << 16).view(np.float32)


def _numbers(value: Any) -> tuple[int, ...] | None:
    """A tuple of whole numbers from 0; torch.Size is one too."""
    if isinstance(value, Record) and value.callee == ("torch", "Size") and len(value.args) == 1:
        value = value.args[0]
    plain = isinstance(value, tuple | list) and all(type(n) is int and n >= 0 for n in value)
    return tuple(value) if plain else None


def is_torch(data: bytes | memoryview) -> bool:
    """Whether a file begins as one of ``torch.save`` does, and not as another pickle."""
    return bytes(data[:4]) == _ZIP_MAGIC or bytes(data[2 : 2 + len(_LEGACY_START)]) == _LEGACY_START


def load(data: bytes | memoryview, names: Names, source: str) -> tuple[Any, Storages]:
    """The value that torch.save wrote, inert, and its storages.

    Raises:
        WeightsError: it is no such file, is damaged, or uses a name that is not in ``names``.
    """
    refuse_other_kinds(data, source)
    if data[:4] == _ZIP_MAGIC:
        try:
            return _load_zip(data, names, source)
        except _BAD_ZIP as error:
            if isinstance(error, WeightsError):
                raise
            reason = pickle_tree.printable(str(error), 120)
            raise WeightsError(
                f"{source}: no state dict that can be read ({type(error).__name__}: {reason})."
            ) from error
    return _load_legacy(memoryview(data), names, source)


def refuse_other_kinds(data: bytes | memoryview, source: str) -> None:
    """Raise WeightsError if a file is known to be neither a pickle nor a zip archive; the oldest pickles are text."""
    head = bytes(data[: kinds.HEAD])
    try:
        kinds.refuse_others(head, source, "a pickle", "a pickle", "a zip archive", "text", "JSON")
    except FileError as error:
        raise WeightsError(str(error)) from error


def _stored(archive: zipfile.ZipFile, name: str, limit: int, source: str) -> bytes:
    """A file of an archive. Torch compresses nothing, and a compressed file may unpack to any size: it is refused."""
    info = archive.getinfo(name)
    if info.compress_type != zipfile.ZIP_STORED or info.file_size > limit:
        size = f"{info.file_size:,} bytes where the archive has {limit:,}"
        raise WeightsError(f"{source}: {pickle_tree.printable(name)} is compressed, or asks for {size}; torch stores.")
    return archive.read(info)  # zipfile checks the CRC


def _load_zip(data: bytes | memoryview, names: Names, source: str) -> tuple[Any, Storages]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = archive.namelist()
        pickles = [name for name in members if name.endswith("/data.pkl") and name.count("/") == 1]
        if any(name.endswith("/constants.pkl") for name in members):
            raise WeightsError(
                f"{source}: a TorchScript program, which is code; give a state dict of the same weights."
            )
        if len(pickles) != 1:
            raise WeightsError(f"{source}: a zip file, but not one that torch.save wrote (it has no data.pkl).")
        prefix = pickles[0].removesuffix("data.pkl")
        has_order = f"{prefix}byteorder" in members
        order = _stored(archive, f"{prefix}byteorder", 16, source) if has_order else b"little"
        if order != b"little":
            raise WeightsError(f"{source}: written on a big-endian machine; save it again on another.")
        storages = Storages(len(data), source, archive, prefix)
        pickle = pickle_tree.read(_stored(archive, pickles[0], len(data), source), names, source)
        for persistent in pickle.persistents:
            storages.get(persistent.pid)
        return pickle.value, storages


def _load_legacy(data: memoryview, names: Names, source: str) -> tuple[Any, Storages]:
    no_names = Names({}, purpose=names.purpose)
    position = 0

    def header() -> Any:
        nonlocal position
        pickle = pickle_tree.read(data[position:], no_names, source)
        position += pickle.end
        return pickle.value

    if header() != _LEGACY_MAGIC or header() != _LEGACY_PROTOCOL:
        raise WeightsError(f"{source}: not a file that torch.save wrote.")
    system = header()
    if not isinstance(system, dict) or system.get("little_endian") is not True:
        raise WeightsError(f"{source}: written on a big-endian machine; save it again on another.")
    tree = pickle_tree.read(data[position:], names, source)
    position += tree.end
    storages = Storages(len(data), source)
    for persistent in tree.persistents:
        storages.get(persistent.pid)
    keys = header()
    for key in keys if isinstance(keys, list) else [None]:
        position = _fill(storages, key, data, position, source)
    return tree.value, storages


def _fill(storages: Storages, key: Any, data: memoryview, position: int, source: str) -> int:
    """Give a storage its numbers, which follow their count in the file; the position after them."""
    storage = storages.by_key.get(key) if isinstance(key, str) else None
    if storage is None:
        raise WeightsError(f"{source}: damaged: it has numbers for the storage {describe(key)}, which nothing uses.")
    start, size = position + 8, storage.numel * storage.dtype.itemsize
    if int.from_bytes(data[position:start], "little", signed=True) != storage.numel:
        raise WeightsError(f"{source}: damaged: storage {describe(key)} has not the size that is stated.")
    if start + size > len(data):
        raise WeightsError(f"{source}: damaged: it ends too early.")
    storage.data = np.frombuffer(data[start : start + size], storage.dtype)
    return start + size
