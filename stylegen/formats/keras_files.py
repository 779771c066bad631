"""Kernels and biases from Keras' .h5 files of weights, by h5py, which is an optional extra. Nothing in them is run."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from stylegen.formats import WeightsError
from stylegen.paths import expanded
from stylegen.untrusted import FileError, kinds, shown

SUFFIXES = (".h5", ".hdf5")
# What h5py raises of a damaged file, by what it meets first.
_DAMAGED = (OSError, RuntimeError, LookupError, ValueError, TypeError, NotImplementedError, OverflowError)


def read_layers(
    path: str | os.PathLike[str], expected: dict[str, tuple[tuple[int, ...], tuple[int, ...]]]
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Kernel and bias of the named layers, as float32; the file may hold others.

    Versions of Keras name the arrays of a layer differently, and may put them in a group in a group. Of the arrays
    beneath a layer's group, the one of four dimensions is the kernel, and the one of one dimension the bias.

    Args:
        path: .h5 or .hdf5, weights alone or a whole model.
        expected: shapes of kernel and bias by layer.

    Raises:
        WeightsError: h5py is not installed, the file cannot be read, a layer is missing or has another shape.
    """
    try:
        import h5py
    except ImportError as error:
        raise WeightsError(
            f"{path}: Keras' files need the package h5py, which is not installed: pip install 'stylegen[keras]', or "
            "give the same weights as .pth, .npz or .safetensors."
        ) from error
    path = expanded(path)
    with _reading(path):
        kinds.refuse_others(kinds.read_head(path), str(path), "HDF5", "HDF5")
        file = h5py.File(path, "r")
    with file:
        with _reading(path):
            root = _inside(h5py, file, "model_weights", path) or file
        return {name: _layer(h5py, root, path, name, shapes) for name, shapes in expected.items()}


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """A block of h5py's calls alone, in which whatever it raises of a damaged file is a WeightsError that names it."""
    try:
        yield
    except FileError as error:
        raise WeightsError(str(error)) from error
    except _DAMAGED as error:
        reason = shown(str(error) or type(error).__name__, 120).rstrip(".")
        raise WeightsError(f"{path}: cannot be read as HDF5: {reason}.") from error


def _inside(h5py: Any, group: Any, name: str, path: object) -> Any:
    """What a group has under a name; None if nothing. A link, which may lead to another file, is refused."""
    link = group.get(name, getlink=True)
    if link is not None and not isinstance(link, h5py.HardLink):
        raise FileError(f"{path}: {name} in it is a link to another place; save the weights themselves.")
    return group.get(name)


def _layer(h5py: Any, root: Any, path: Path, name: str, shapes: Any) -> tuple[np.ndarray, np.ndarray]:
    arrays: list[Any] = []
    with _reading(path):
        group = _inside(h5py, root, name, path)
        if not isinstance(group, h5py.Group):
            raise FileError(f"{path}: the layer {name} is missing; these are the weights of another network.")
        # This follows no links. The numbers of an array may lie in another file all the same.
        group.visititems(lambda _, item: arrays.append(item) if isinstance(item, h5py.Dataset) else None)
        if any(item.external or item.is_virtual for item in arrays):
            raise FileError(f"{path}: the layer {name} is kept in another file; save the weights themselves.")
        sized = [(item.shape, item.dtype, item) for item in arrays]
    kernel, bias = (_array(sized, path, name, shape) for shape in shapes)
    return kernel, bias


def _array(sized: list[tuple[Any, np.dtype, Any]], path: Path, name: str, wanted: tuple[int, ...]) -> np.ndarray:
    """The one array of a layer that has a shape, as float32."""
    matches = [(dtype, item) for shape, dtype, item in sized if shape == wanted]
    if len(matches) != 1:
        sizes = shown(", ".join(str(shape) for shape, _, _ in sized)) or "no arrays"
        raise WeightsError(f"{path}: the layer {name} has {sizes}; wanted one of {wanted}.")
    ((dtype, item),) = matches
    if dtype.kind not in "fiu":
        raise WeightsError(f"{path}: the layer {name} holds {shown(str(dtype))} where numbers are wanted.")
    with _reading(path):
        array = np.asarray(item, np.float32)
    if not np.isfinite(array).all():
        raise WeightsError(f"{path}: the layer {name} holds numbers that are not finite.")
    return array
