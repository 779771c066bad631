"""LPIPS 0.1 (Zhang et al. 2018): the distance of two images by the feature maps of VGG-16 or AlexNet."""

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from stylegen.formats import WeightsError
from stylegen.io import files
from stylegen.pretrained import alexnet, installed, vgg16, weights

Name = Literal["vgg16", "alexnet"]
# The mean and deviation of ImageNet's pixels to three digits, for pixels in [-1, 1], as in the published code.
_SHIFT, _SCALE = np.array([-0.030, -0.088, -0.188]), np.array([0.458, 0.448, 0.450])
_MAPS: dict[str, Callable[[Any, Array], list[Array]]] = {"vgg16": vgg16.maps, "alexnet": alexnet.maps}
MIN_SIDES = {"vgg16": vgg16.MIN_SIDE, "alexnet": alexnet.MIN_SIDE}  # pixels that a network needs


def layout(network: Name) -> tuple[tuple[tuple[int, ...], ...], tuple[int, ...]]:
    """(shapes of the kernels, the convolutions after which LPIPS compares)."""
    if network == "alexnet":
        return alexnet.KERNELS, tuple(range(len(alexnet.KERNELS)))
    channels = [channels for stage in vgg16.STAGES for channels in stage]
    kernels = tuple((3, 3, before, after) for before, after in zip([3, *channels[:-1]], channels, strict=True))
    return kernels, tuple(sum(map(len, vgg16.STAGES[: i + 1])) - 1 for i in range(len(vgg16.STAGES)))


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class Network:
    """A network that compares images, and how much each of its channels counts: an argument of compiled functions."""

    conv: Any  # kernel and bias of each convolution
    linear: Any = None  # the weight [C] of each channel of each map; None: all count alike
    name: Name = field(default="vgg16", metadata={"static": True})


def is_here(network: Name) -> bool:
    """Whether the weights of a network are on this machine, downloaded or in an installed package."""
    return (network == "vgg16" and _downloaded().is_file()) or installed.find(network) is not None


def load(
    network: Name = "vgg16",
    path: str | os.PathLike[str] | None = None,
    linear: str | os.PathLike[str] | None = None,
) -> tuple[Network, dict[str, Any]]:
    """A network with the linear weights of LPIPS for it, and its provenance: what it is, and the hashes of its files.

    The files that are named come first, then those that were downloaded, then those of the installed package.

    Args:
        network: vgg16 or alexnet.
        path: file of VGG-16's weights, of any kind that ``weights.read_tensors`` reads.
        linear: file of the linear weights for VGG-16, as the authors of LPIPS publish it.

    Raises:
        WeightsError: there are no such weights here, or a file has those of another network.
    """
    conv, file = load_convolutions(network, path)
    digest, package = files.sha256(file), installed.find(network)
    name = "VGG-16" if network == "vgg16" else "AlexNet"
    downloaded = (weights.folder() / weights.PUBLISHED["lpips"].filename).is_file()
    if network == "vgg16" and (linear is not None or downloaded):
        linear_file = weights.find("lpips", linear)
        channels = load_linear(linear_file)
    elif linear is not None:
        raise WeightsError(f"{linear}: AlexNet's weights come from an installed package: {installed.HOW}.")
    elif package is not None:
        linear_file, channels = package, installed.read(package, *layout(network))[1]
    else:
        no_linear = f"{name}, all channels alike: not LPIPS, whose linear weights were not given"
        return Network(conv, None, network), {"weights_sha256": digest, "distance": no_linear}
    linear_digest = digest if linear_file == file else files.sha256(linear_file)
    provenance = {"weights_sha256": digest, "distance": f"LPIPS 0.1, {name}", "linear_sha256": linear_digest}
    return Network(conv, channels, network), provenance


def load_convolutions(
    network: Name = "vgg16", path: str | os.PathLike[str] | None = None
) -> tuple[list[dict[str, np.ndarray]], Path]:
    """The ``kernel`` and ``bias`` of each convolution, and the file that they are from; as ``load``."""
    package = installed.find(network)
    if network == "alexnet" and path is not None:
        raise WeightsError(f"{path}: AlexNet's weights come from an installed package: {installed.HOW}.")
    if path is not None or (network == "vgg16" and _downloaded().is_file()):
        file = weights.find("vgg16", path)
        return vgg16.load(file, dense=False)["conv"], file
    if package is not None:
        return installed.read(package, *layout(network))[0], package
    raise WeightsError(
        f"The weights of {network} are not here. Get them with {installed.HOW}"
        + (", with `stylegen evaluate --download vgg16`, or name a file of them." if network == "vgg16" else ".")
    )


def _downloaded() -> Path:
    return weights.folder() / weights.PUBLISHED["vgg16"].filename


def load_linear(path: str | os.PathLike[str]) -> list[np.ndarray]:
    """The weights [C] of LPIPS for each stage of VGG-16, from the authors' file."""
    ends = [stage[-1] for stage in vgg16.STAGES]
    tensors = weights.read_tensors(path, {f"lin{i}.model.1.weight": (1, c, 1, 1) for i, c in enumerate(ends)})
    return [tensor.reshape(-1) for tensor in tensors.values()]


def distance(network: Network, a: Array, b: Array) -> Array:
    """LPIPS of float images [N, r, r, 3] in [-1, 1]: one number each, [N] (Zhang et al. 2018, Eq. 1).

    Args:
        network: which compares.
        a: images.
        b: images of the same size.
    """
    # Both in one batch, so that equal images give equal numbers.
    both = unit_maps(network, jnp.concatenate([a, b]))
    return map_distance(network, [x[: a.shape[0]] for x in both], [x[a.shape[0] :] for x in both])


def unit_maps(network: Network, images: Array) -> list[Array]:
    """What LPIPS compares of float images [N, r, r, 3] in [-1, 1]: maps of length 1 at each pixel."""
    shifted = (images - _SHIFT[None, None, None]) / _SCALE[None, None, None]
    maps = _MAPS[network.name]({"conv": network.conv}, shifted.astype(jnp.float32))
    return [x / (jnp.sqrt(jnp.sum(jnp.square(x), axis=-1, keepdims=True) + 1e-20) + 1e-10) for x in maps]


def map_distance(network: Network, a: list[Array], b: list[Array]) -> Array:
    """LPIPS of two results of ``unit_maps``, [N]."""
    total = jnp.zeros(a[0].shape[0])
    for i, (x, y) in enumerate(zip(a, b, strict=True)):
        difference = jnp.square(x - y)
        weighted = difference if network.linear is None else difference * network.linear[i][None, None, None]
        total = total + jnp.mean(jnp.sum(weighted, axis=-1), axis=(1, 2))
    return total
