"""Files of safetensors: header first, then the tensors that are wanted."""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open

from stylegen.paths import expanded
from stylegen.untrusted import FileError, kinds, shown
from stylegen.untrusted.limits import MAX_HEADER, MAX_JSON, MAX_MEMBERS

_BITS = (8, 16, 32, 64)
_DTYPES = {"F16": "float16", "F32": "float32", "F64": "float64", "BOOL": "bool"}
_DTYPES |= {f"{kind}{bits}": f"{name}{bits}" for kind, name in (("I", "int"), ("U", "uint")) for bits in _BITS}


class Tensors:
    """An open file of safetensors; see ``open_tensors``."""

    def __init__(self, source: str, file: Any):
        self.source, self._file = source, file
        self.metadata: dict[str, str] = file.metadata() or {}
        self.names = set(file.keys())

    def header(self, name: str) -> tuple[tuple[int, ...], str]:
        """Shape and dtype of a tensor, by numpy's name; a dtype that numpy does not have is as the file calls it."""
        part = self._file.get_slice(name)
        kind = str(part.get_dtype())
        return tuple(part.get_shape()), _DTYPES.get(kind, kind)

    def read(self, name: str) -> np.ndarray:
        """A tensor.

        Raises:
            FileError: it is of a kind that numpy does not have.
        """
        kind = self.header(name)[1]
        if kind not in _DTYPES.values():
            raise FileError(f"{self.source}: {shown(name)} is {kind}, which is not read; save it as float32.")
        return np.asarray(self._file.get_tensor(name))

    def read_all(self, names: Iterable[str]) -> dict[str, np.ndarray]:
        """Several tensors by name."""
        return {name: self.read(name) for name in names}


@contextmanager
def open_tensors(path: str | os.PathLike[str]) -> Iterator[Tensors]:
    """A file of safetensors: its metadata, and the names, shapes and dtypes of its tensors before any is read.

    Raises:
        FileError: it is something else or damaged, or exceeds a bound of ``limits``; names the file.
        OSError: there is no such file.
    """
    path = expanded(path)
    head = kinds.read_head(path)
    kinds.refuse_others(head, str(path), "safetensors", "safetensors")
    length = int.from_bytes(head[:8], "little")
    if length > MAX_HEADER:
        raise FileError(f"{path}: cannot be read as safetensors: its header would have {length:,} bytes.")
    try:
        with safe_open(path, framework="numpy") as file:
            tensors = Tensors(str(path), file)
            if len(tensors.names) > MAX_MEMBERS or sum(map(len, tensors.metadata.values())) > MAX_JSON:
                raise FileError(f"{path}: has {len(tensors.names):,} tensors; at most {MAX_MEMBERS:,} are read.")
            yield tensors
    except SafetensorError as error:
        raise FileError(f"{path}: cannot be read as safetensors: {shown(str(error), 120).rstrip('.')}.") from error
