"""Archives of arrays, as ``numpy.savez`` writes them."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from numpy.lib.npyio import NpzFile


@contextmanager
def open_npz(path: str | os.PathLike[str]) -> Iterator[NpzFile]:
    """The arrays of a .npz file by name, without pickles; ``numpy.load`` would leave a damaged file open.

    Raises:
        OSError, ValueError, EOFError, zipfile.BadZipFile: there is no such file, or it is something else or damaged.
    """
    with open(path, "rb") as data, np.load(data, allow_pickle=False) as file:
        yield file
