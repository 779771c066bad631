"""Numpy's arrays and scalars, and plain settings, from the records of a pickle (``pickle_tree``).

The arrays are built here, not by the functions that the file names, and every shape, dtype and number of bytes is
checked: an array is a view of bytes that are in the file, so that none is larger than the file.
"""

import math
import os
import re
from pathlib import Path
from typing import Any

import numpy as np

from stylegen.formats import WeightsError, pickle_tree
from stylegen.formats.pickle_tree import Kind, Name, Record, describe, printable

MAX_DIMENSIONS = 8
MAX_SETTINGS = 10_000  # values in the settings of a network; NVIDIA's have some tens
MAX_SETTINGS_DEPTH = 10
MAX_SETTINGS_TEXT = 200  # characters that are kept of a text
MAX_OVERLAP = 16  # times the size of the file that its arrays may have in all, where they share bytes

_MULTIARRAY = ("numpy.core.multiarray", "numpy._core.multiarray")  # before numpy 2 and since
_NUMERIC = ("numpy.core.numeric", "numpy._core.numeric")
_BUILTINS = ("builtins", "__builtin__")  # Python 3 and 2
_DTYPE = re.compile(r"[<>=|]?(b1|[iu][1248]|f[248])")

NAMES: dict[tuple[str, str], Kind] = {
    **{(module, "_reconstruct"): "function" for module in _MULTIARRAY},
    **{(module, "scalar"): "function" for module in _MULTIARRAY},
    **{(module, "_frombuffer"): "function" for module in _NUMERIC},
    ("numpy", "ndarray"): "mark",
    ("numpy", "dtype"): "class",
    # How protocols before 3 write bytes, and Python 3 writes a bytearray.
    ("_codecs", "encode"): "function",
    **{(module, name): "function" for module in _BUILTINS for name in ("bytes", "bytearray", "set", "frozenset")},
    # How protocols before 2 write objects.
    **{(module, "_reconstructor"): "function" for module in ("copyreg", "copy_reg")},
    **{(module, "object"): "mark" for module in _BUILTINS},
    ("collections", "OrderedDict"): "class",
    **{(module, "EasyDict"): "class" for module in ("dnnlib.util", "dnnlib", "config")},
}


def as_bytes(value: Any) -> memoryview | bytes | None:
    """The bytes that a value stands for; None if it is something else."""
    if isinstance(value, memoryview):
        return value
    if isinstance(value, str):  # Python 2 knows no difference
        return _latin1(value)
    if isinstance(value, Record) and value.callee.name in ("encode", "bytes", "bytearray") and not value.kwargs:
        if not value.args:
            return b""
        if len(value.args) == 1 and isinstance(value.args[0], memoryview):
            return value.args[0]
        if len(value.args) == 2 and all(isinstance(part, str) for part in value.args) and len(value.args[1]) < 20:
            encoding = value.args[1].lower().replace("-", "").replace("_", "")
            return _latin1(value.args[0]) if encoding in ("latin1", "iso88591") else None
    return None


def _latin1(text: str) -> bytes | None:
    try:
        return text.encode("latin-1")
    except UnicodeEncodeError:
        return None


def as_array(value: Any, source: str) -> np.ndarray | None:
    """The array (or scalar, of no dimensions) that a record stands for; None if it stands for something else.

    Raises:
        WeightsError: it stands for one, but not for one that its bytes could be.
    """
    if not isinstance(value, Record):
        return None
    if value.callee.module in _MULTIARRAY and value.callee.name == "_reconstruct":
        return _reconstructed(value, source)
    if value.callee.module in _MULTIARRAY and value.callee.name == "scalar":
        dtype, raw = _arguments(value, 2, source)
        return _view(raw, dtype, (), "C", source)
    if value.callee.module in _NUMERIC:
        raw, dtype, shape, order = _arguments(value, 4, source)
        return _view(raw, dtype, shape, order, source)
    return None


def _arguments(record: Record, count: int, source: str) -> tuple[Any, ...]:
    if len(record.args) != count or record.kwargs:
        raise WeightsError(f"{source}: asks for {record.callee}{describe(record.args)}, which makes no array.")
    return record.args


def _reconstructed(record: Record, source: str) -> np.ndarray:
    """numpy.ndarray, made empty and then filled by its state."""
    kind, shape, _ = _arguments(record, 3, source)
    if kind != Name("numpy", "ndarray") or shape != (0,):
        raise WeightsError(
            f"{source}: asks {describe(kind)} for an array of shape {describe(shape)} before it gives its numbers; "
            "pickled arrays are made empty."
        )
    state = record.state
    if not isinstance(state, tuple) or len(state) not in (4, 5):
        raise WeightsError(f"{source}: has an array without its numbers.")
    shape, dtype, fortran, raw = state[-4:]
    return _view(raw, dtype, shape, "F" if fortran is True or fortran == 1 else "C", source)


def _view(raw: Any, dtype: Any, shape: Any, order: Any, source: str) -> np.ndarray:
    """An array of bytes of the file; read-only."""
    kind = as_dtype(dtype, source)
    is_valid = (
        isinstance(shape, tuple) and len(shape) <= MAX_DIMENSIONS and all(type(n) is int and n >= 0 for n in shape)
    )
    if not is_valid or order not in ("C", "F"):
        raise WeightsError(f"{source}: asks numpy.ndarray for the shape {describe(shape)}, which is none.")
    content = as_bytes(raw)
    expected_bytes = math.prod(shape) * kind.itemsize
    if content is None or len(content) != expected_bytes:
        has = describe(raw) if content is None else f"{len(content):,} bytes"
        raise WeightsError(
            f"{source}: asks numpy.ndarray for {kind} {describe(shape, 9)}, {expected_bytes:,} bytes, and has {has}."
        )
    return np.frombuffer(content, kind).reshape(shape, order=order)


def as_dtype(value: Any, source: str) -> np.dtype:
    """The dtype that a record stands for: a number or a truth value, of a stated size and byte order."""
    code = value.args[0] if isinstance(value, Record) and value.callee == ("numpy", "dtype") and value.args else None
    if not isinstance(code, str) or not _DTYPE.fullmatch(code):
        shown = describe(value.args if isinstance(value, Record) else value)
        raise WeightsError(
            f"{source}: asks for an array of dtype {shown}; weights are made of numbers of 1 to 8 bytes."
        )
    assert isinstance(value, Record)
    order: Any = code[0] if code[0] in "<>=|" else "|"
    if value.state is not None:  # (version, byte order, and what numbers do not have)
        if not isinstance(value.state, tuple) or len(value.state) < 2 or value.state[1] not in ("<", ">", "=", "|"):
            raise WeightsError(f"{source}: has a dtype with the state {describe(value.state)}.")
        order = value.state[1]
    return np.dtype(code.lstrip("<>=|")).newbyteorder(order)


def check_records(records: list[Record], size: int, source: str) -> None:
    """Check all that would be arrays, whether anything uses them or not, in a file of so many bytes."""
    remaining = MAX_OVERLAP * size
    for record in records:
        array = as_array(record, source)
        remaining -= 0 if array is None else array.nbytes
        if remaining < 0:
            raise WeightsError(f"{source}: its arrays are more than {MAX_OVERLAP} times as large as the file.")
        if record.callee == ("numpy", "dtype"):
            as_dtype(record, source)
        if record.callee.name in ("bytes", "bytearray", "encode") and as_bytes(record) is None:
            raise WeightsError(
                f"{source}: asks {record.callee} for {describe(record.args)}, which are no bytes of its own."
            )


def as_mapping(value: Any) -> dict[Any, Any] | None:
    """A dict, or one of its subclasses that are known here; None if it is something else."""
    if isinstance(value, dict):
        return value
    if not isinstance(value, Record) or value.callee.name not in ("OrderedDict", "EasyDict"):
        return None
    if len(value.args) == 1 and isinstance(value.args[0], list):  # of Python 2: a list of pairs, moved once
        for pair in value.args[0]:
            if isinstance(pair, list | tuple) and len(pair) == 2 and isinstance(pair[0], str):
                value.pairs.setdefault(pair[0], pair[1])
        value.args = ()
    return value.pairs


class Settings:
    """Turns settings (keyword arguments of a network) into plain values, at most ``MAX_SETTINGS`` of them."""

    def __init__(self, source: str):
        self.source, self.remaining = source, MAX_SETTINGS

    def plain(self, value: Any, depth: int = MAX_SETTINGS_DEPTH) -> Any:
        """Scalars, texts, lists and dicts as they are; anything else as a short description."""
        self.remaining -= 1
        if self.remaining < 0 or depth < 0:
            raise WeightsError(f"{self.source}: the settings of a network go on and on; they are some tens of values.")
        if value is None or isinstance(value, bool | int | float):
            return value
        if isinstance(value, str):
            return value[:MAX_SETTINGS_TEXT]
        if (mapping := as_mapping(value)) is not None:
            return {str(key)[:MAX_SETTINGS_TEXT]: self.plain(item, depth - 1) for key, item in mapping.items()}
        if isinstance(value, list | tuple):
            return [self.plain(item, depth - 1) for item in value]
        array = as_array(value, self.source)
        if array is not None:
            self.remaining -= array.nbytes // 1024
            return array.tolist() if array.size <= 16 else describe(value)
        return describe(value)


def read_tree(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """The arrays of a pickle of nested dicts, as flax wrote checkpoints, by path: ``Conv_0/kernel``.

    Raises:
        WeightsError: the file is damaged, holds something else, or asks for something that arrays do not need.
    """
    source = str(path)
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read: {error.strerror}.") from error
    tree = pickle_tree.read(data, pickle_tree.Names(NAMES), source)
    check_records(tree.records, len(data), source)
    arrays: dict[str, np.ndarray] = {}
    pending = [("", tree.value)]
    while pending:
        prefix, value = pending.pop()
        if (mapping := as_mapping(value)) is not None:
            pending += [(f"{prefix}{printable(str(key))}/", item) for key, item in mapping.items()]
        elif (array := as_array(value, source)) is not None:
            arrays[prefix[:-1]] = array
        else:
            raise WeightsError(f"{source}: {prefix[:-1] or 'the file'} is {describe(value)}, no array of weights.")
    return arrays
