"""Archives of arrays, as ``numpy.savez`` writes them: headers first, then the numbers; never a pickle.

numpy's own reader evaluates headers as Python literals and allocates what they ask for.
"""

import math
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np

from stylegen.paths import expanded
from stylegen.untrusted import FileError, kinds, shown
from stylegen.untrusted.archives import Archive
from stylegen.untrusted.limits import MAX_ARRAY_HEADER, MAX_DIMENSIONS, MAX_NUMBERS

_MAGIC = b"\x93NUMPY"
_HEADER = re.compile(
    r"\{'descr': '(?P<dtype>[<>|=]?[biufU][1-9][0-9]{0,8})', 'fortran_order': (?P<fortran>False|True), "
    r"'shape': \((?P<shape>(?:[0-9]{1,15}L?,? ?){0,32})\),? ?\} *\n?"
)
_LENGTH_BYTES = {(1, 0): 2, (2, 0): 4, (3, 0): 4}  # of the header's length, by version of the format


@dataclass(frozen=True)
class Header:
    """What an array is, before it is read."""

    shape: tuple[int, ...]
    dtype: np.dtype
    fortran: bool  # first index fastest

    @property
    def nbytes(self) -> int:
        """Bytes of its numbers."""
        return math.prod(self.shape) * self.dtype.itemsize


class Npz(Archive):
    """The arrays of an .npz file by name; a context manager.

    Raises:
        FileError: it is something else or damaged, or exceeds a bound of ``limits``; names the file.
        OSError: there is no such file.
    """

    def __init__(self, path: str | os.PathLike[str]):
        super().__init__(path, "npz")
        self.names = {name.removesuffix(".npy") for name in self.members}

    def header(self, name: str) -> Header:
        """Shape and kind of an array.

        Raises:
            FileError: there is no such array, or it is damaged, no array of numbers, or larger than its place.
        """
        with self._array(name) as (header, _):
            return header

    def read(self, name: str) -> np.ndarray:
        """An array; numbers in the machine's own byte order.

        Raises:
            FileError: as ``header``.
        """
        with self._array(name) as (header, stream):
            if header.dtype.kind == "U":
                raise FileError(f"{self.source}: {shown(name)} is text; wanted numbers.")
            flat = np.frombuffer(self._bytes(name, header, stream), header.dtype)
        flat = flat.astype(header.dtype.newbyteorder("="), copy=False)
        return flat.reshape(header.shape, order="F" if header.fortran else "C")

    def text(self, name: str) -> str:
        """A text that was saved as an array of one string.

        Raises:
            FileError: as ``header``; or it is no text.
        """
        with self._array(name) as (header, stream):
            if header.dtype.kind != "U" or header.shape != ():
                raise FileError(f"{self.source}: {shown(name)} is no text.")
            data = self._bytes(name, header, stream)
        try:
            order = "be" if header.dtype.str[0] == ">" else "le"
            return data.decode(f"utf-32-{order}").rstrip("\0")
        except UnicodeDecodeError as error:
            raise FileError(f"{self.source}: {shown(name)} is damaged: it is no text.") from error

    @contextmanager
    def _array(self, name: str) -> Iterator[tuple[Header, BinaryIO]]:
        """An array's header, which is that of its place, and the stream of its numbers."""
        member = self._member(name)
        with self.open(member) as stream:
            header, start = _read_header(stream, f"{self.source}: {shown(name)}")
            if self.members[member].file_size != start + header.nbytes:
                raise FileError(f"{self.source}: {shown(name)} is damaged: its size is not that of {header.shape}.")
            yield header, stream

    def _bytes(self, name: str, header: Header, stream: BinaryIO) -> bytearray:
        data = bytearray(header.nbytes)
        with memoryview(data) as view:
            filled = 0
            while filled < len(view) and (block := stream.read(min(len(view) - filled, 2**20))):
                view[filled : filled + len(block)] = block
                filled += len(block)
        # Read to the end, where zipfile checks the CRC.
        if filled != len(data) or stream.read(1):
            raise FileError(f"{self.source}: {shown(name)} is cut off.")
        return data

    def _member(self, name: str) -> str:
        for member in (f"{name}.npy", name):
            if member in self.members:
                return member
        raise FileError(f"{self.source}: has no array {shown(name)}.")


def read_npy_header(path: str | os.PathLike[str]) -> Header:
    """Shape and kind of the array in an .npy file, of which the file has all numbers.

    Raises:
        FileError: it is something else or damaged; names the file.
        OSError: there is no such file.
    """
    kinds.refuse_others(kinds.read_head(path), str(path), "an array", "a numpy array (.npy)")
    path = expanded(path)
    with path.open("rb") as file:
        header, start = _read_header(file, str(path))
    if os.path.getsize(path) < start + header.nbytes:
        raise FileError(f"{path}: is cut off: it has not all of {header.dtype} {header.shape}.")
    return header


def _read_header(stream: BinaryIO, source: str) -> tuple[Header, int]:
    """The header of an npy stream, and where its numbers begin."""
    magic = stream.read(8)
    version = (magic[6], magic[7]) if len(magic) == 8 and magic[:6] == _MAGIC else None
    if version not in _LENGTH_BYTES:
        raise FileError(f"{source} cannot be read as an array: damaged, or none that numpy wrote.")
    prefix = stream.read(_LENGTH_BYTES[version])
    length = int.from_bytes(prefix, "little")
    text = stream.read(min(length, MAX_ARRAY_HEADER))
    match = _HEADER.fullmatch(text.decode("latin-1")) if len(text) == length else None
    if match is None:
        raise FileError(f"{source} cannot be read as an array: damaged, or none of numbers.")
    shape = tuple(map(int, re.findall("[0-9]+", match["shape"])))
    try:
        dtype = np.dtype(match["dtype"])
    except (TypeError, ValueError) as error:
        raise FileError(f"{source} holds numbers of an unknown kind, {match['dtype']}.") from error
    if len(shape) > MAX_DIMENSIONS or math.prod(size or 1 for size in shape) > MAX_NUMBERS:
        raise FileError(f"{source} cannot be an array of shape {shown(shape)}.")
    return Header(shape, dtype, match["fortran"] == "True"), 8 + len(prefix) + length
