"""Statistics of features, AdaIN between them, and the two losses (Huang and Belongie 2017, Eq. 8 and 11 to 13).

Two published sources differ in what a variance is. The authors' Lua code divides by the number n of features, adds 1e-5
to the content's variance alone and takes the style's as it is. The PyTorch port that most people use divides by n - 1
on both sides and adds 1e-5 to both. ``Variance`` says which; weights work best with the one of their training.
"""

from collections.abc import Sequence
from typing import Literal

import jax.numpy as jnp
from jax import Array

from stylegen import ops

Variance = Literal["biased", "unbiased"]
VARIANCES: tuple[Variance, ...] = ("biased", "unbiased")
EPSILON = 1e-5
# Keeps the gradient of a standard deviation finite where a channel is constant; far below any that matters.
_TINY = 1e-10


def statistics(features: Array, variance: Variance) -> tuple[Array, Array]:
    """Mean and standard deviation [N, C] of each channel of [N, h, w, C], as the source of ``variance`` has them."""
    x = features.astype(jnp.float32)
    n = x.shape[1] * x.shape[2]
    mean = jnp.mean(x, axis=(1, 2))
    biased = jnp.mean(jnp.square(x - mean[:, None, None]), axis=(1, 2))
    return mean, std_from_variance(biased, n, variance)


def std_from_variance(biased: Array, n: int | Array, variance: Variance) -> Array:
    """The standard deviation that a style has, from the mean square distance of its n features from their mean."""
    if variance == "biased":
        return jnp.sqrt(biased + _TINY)
    return jnp.sqrt(biased * (n / (n - 1)) + EPSILON)


def adain(content: Array, mean: Array, std: Array, variance: Variance) -> Array:
    """Features [N, h, w, C] with the given statistics [N, C]: ``ops.adain`` with the variance that is asked for.

    (x - m) / sqrt(n/(n-1) v + e) is r (x - m) / sqrt(v + r² e) with r² = (n-1)/n, so one operator serves both.
    """
    if variance == "biased":
        return ops.adain(content, mean, std, EPSILON)
    n = content.shape[1] * content.shape[2]
    ratio = (n - 1) / n
    return ops.adain(content, mean, std * ratio**0.5, EPSILON * ratio)


def content_loss(features: Array, target: Array) -> Array:
    """Mean square distance [N] of the result's features from AdaIN's output, not from the content's (Eq. 12)."""
    return jnp.mean(jnp.square(features - target), axis=(1, 2, 3))


def style_loss(maps: Sequence[Array], styles: Sequence[tuple[Array, Array]], variance: Variance) -> Array:
    """Sum over the stages of the mean square distances of means and of standard deviations, [N] (Eq. 13)."""
    total = jnp.zeros(maps[0].shape[0])
    for features, (mean, std) in zip(maps, styles, strict=True):
        result_mean, result_std = statistics(features, variance)
        total += jnp.mean(jnp.square(result_mean - mean), axis=-1) + jnp.mean(jnp.square(result_std - std), axis=-1)
    return total
