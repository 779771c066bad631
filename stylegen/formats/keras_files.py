"""Kernels and biases from Keras' .h5 files of weights, by h5py, which is an optional extra. Nothing in them is run."""

import os
from pathlib import Path
from typing import Any

import numpy as np

from stylegen.formats import WeightsError

SUFFIXES = (".h5", ".hdf5")


def read_layers(
    path: str | os.PathLike[str], expected: dict[str, tuple[tuple[int, ...], tuple[int, ...]]]
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Kernel and bias of the named layers, as float32; the file may hold others.

    Versions of Keras name the arrays of a layer differently and may put them in a group in a group; of the arrays
    beneath a layer's group, the one of four dimensions is the kernel and the one of one the bias.

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
    try:
        with h5py.File(path, "r") as file:
            root = file.get("model_weights", file)
            return {name: _layer(h5py, root, Path(path), name, shapes) for name, shapes in expected.items()}
    except (OSError, RuntimeError) as error:
        raise WeightsError(f"{path}: cannot be read as HDF5: {error}.") from error


def _layer(h5py: Any, root: Any, path: Path, name: str, shapes: Any) -> tuple[np.ndarray, np.ndarray]:
    if name not in root or not isinstance(root[name], h5py.Group):
        raise WeightsError(f"{path}: the layer {name} is missing; these are the weights of another network.")
    arrays: list[Any] = []
    root[name].visititems(lambda _, item: arrays.append(item) if isinstance(item, h5py.Dataset) else None)
    layer_arrays = []
    for shape in shapes:
        matches = [item for item in arrays if item.shape == shape]
        if len(matches) != 1:
            sizes = ", ".join(str(item.shape) for item in arrays)
            raise WeightsError(f"{path}: the layer {name} has {sizes or 'no arrays'}; wanted one of {shape}.")
        layer_arrays.append(np.asarray(matches[0], np.float32))
        if not np.isfinite(layer_arrays[-1]).all():
            raise WeightsError(f"{path}: the layer {name} holds numbers that are not finite.")
    return layer_arrays[0], layer_arrays[1]
