"""The statistics that a transfer exchanges: AdaIN on the last features alone, or at every scale and on the colors.

A decoder that mirrors the encoder, and whose layers were fitted to the encoder's one by one (``inversion``), rebuilds
on its way what each stage of the encoder gives. There AdaIN (Huang and Belongie 2017, Eq. 8) can work again, from
coarse to fine as in Li et al. 2017 (Sec. 3.3): once on the last features, which sets large patterns, then on those of
each larger stage, which sets strokes. At the end the colors get the style's mean and covariance; they are three
channels that vary together, which standard deviations alone would not bring over.

At every scale the statistics go all the way to a target between the content's own and the style's, so that alpha is
the share of the style at each scale, and alpha 0 asks for the content.
"""

from dataclasses import dataclass
from functools import partial
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from stylegen import ops
from stylegen.style_transfer import losses, networks
from stylegen.style_transfer.networks import Stages

Scales = Literal["last", "all"]
SCALES: tuple[Scales, ...] = ("last", "all")
_COLOR_EPSILON = 1e-4  # added to variances of colors in [0, 1]: of 2.5 gray levels, far below those of images
_ITERATIONS = 20  # of the square root; 16 bring it to float32's rounding, with the number above


class Level(NamedTuple):
    """A place in the decoder where statistics are exchanged, or its end."""

    layers: int  # of the decoder before it
    places: int  # along each axis, for each feature of the last stage
    is_color: bool  # the pixels, of which the covariance counts


@partial(jax.tree_util.register_dataclass, data_fields=("mean", "root"), meta_fields=())
@dataclass(frozen=True)
class Statistics:
    """Of n regions: mean [n, C], and standard deviation [n, C], or root of the covariance of colors [n, 3, 3]."""

    mean: Array
    root: Array


@partial(jax.tree_util.register_dataclass, data_fields=("weight", "first", "second"), meta_fields=())
@dataclass(frozen=True)
class Sums:
    """Sums over places with weights: [n], [n, C], and of squares [n, C] or of products of colors [n, 3, 3]."""

    weight: Array
    first: Array
    second: Array


@partial(jax.tree_util.register_dataclass, data_fields=("matrix", "shift"), meta_fields=())
@dataclass(frozen=True)
class Map:
    """x to x * matrix + shift, [n, C] both, or of colors x @ matrix + shift, [n, 3, 3]; for each of n regions."""

    matrix: Array
    shift: Array


def levels(stages: Stages, scales: Scales) -> tuple[Level, ...]:
    """Where statistics are exchanged, from coarse to fine; the last one is the pixels, whatever is exchanged there.

    A stage with a single convolution is left out, but for the last: the decoder has its pooled features alone.
    """
    size, count = networks.scale(stages), sum(map(len, stages))
    coarse = [Level(0, 1, False)]
    for i in reversed(range(len(stages) - 1 if scales == "all" else 0)):
        if len(stages[i]) > 1:
            coarse.append(Level(count - sum(map(len, stages[:i])) - 1, size // 2**i, False))
    return (*coarse, Level(count, size, scales == "all"))


def sums(x: Array, weights: Array, level: Level) -> Sums:
    """Of features or colors [h, w, C], for the weights [n, h, w] of n regions."""
    flat, shares = x.reshape(-1, x.shape[-1]), weights.reshape(weights.shape[0], -1)
    if level.is_color:
        second = jnp.stack([(flat * shares[i][:, None]).T @ flat for i in range(weights.shape[0])])
    else:
        second = shares @ jnp.square(flat)
    return Sums(jnp.sum(shares, axis=1), shares @ flat, second)


def statistics(total: Sums, variance: losses.Variance, of_style: bool = False) -> Statistics:
    """Mean and root of the sums. A content's variances have the epsilon of AdaIN's denominator, whoever it is of."""
    n = jnp.maximum(total.weight, 1e-6)
    mean = total.first / n[:, None]
    if total.second.ndim == 3:
        covariance = total.second / n[:, None, None] - mean[:, :, None] * mean[:, None, :]
        return Statistics(mean, roots(covariance + _COLOR_EPSILON * jnp.eye(3)[None])[0])
    biased = jnp.maximum(total.second / n[:, None] - jnp.square(mean), 0)
    return Statistics(mean, deviation(biased, n[:, None], variance, of_style))


def of_all(
    x: Array, level: Level, variance: losses.Variance, of_style: bool = False, weights: Array | None = None
) -> Statistics:
    """Of features or colors [h, w, C] that are here as a whole: sums about their mean, which lose nothing."""
    weights = jnp.ones((1, *x.shape[:2]), jnp.float32) if weights is None else weights
    center = jnp.mean(x, axis=(0, 1))
    centered = statistics(sums(x - center[None, None], weights, level), variance, of_style)
    return Statistics(centered.mean + center[None], centered.root)


def deviation(biased: Array, n: Array, variance: losses.Variance, of_style: bool) -> Array:
    """Standard deviations of mean squares over n places: a style's, or what AdaIN divides a content by."""
    if of_style or variance == "unbiased":
        return losses.std_from_variance(biased, jnp.maximum(n, 2), variance)
    return jnp.sqrt(biased + losses.EPSILON)


def roots(covariance: Array) -> tuple[Array, Array]:
    """The symmetric square roots [n, 3, 3] of covariances and of their inverses, by Newton's coupled iteration.

    (Higham 2008, Chap. 6.) It has matrix products alone, which every format that we export to has.
    """
    size = jnp.sqrt(jnp.sum(jnp.square(covariance), axis=(1, 2), keepdims=True))
    identity = jnp.eye(3)[None]
    root, inverse = covariance / size, jnp.broadcast_to(identity, covariance.shape)
    for _ in range(_ITERATIONS):
        step = 1.5 * identity - 0.5 * inverse @ root
        root, inverse = root @ step, step @ inverse
    return root * jnp.sqrt(size), inverse / jnp.sqrt(size)


def between(content: Statistics, style: Statistics, alpha: Array | float) -> Statistics:
    """The target: the content's own statistics at alpha 0, the style's at 1."""
    return Statistics(ops.lerp(content.mean, style.mean, alpha), ops.lerp(content.root, style.root, alpha))


def mixed(styles: list[Statistics], shares: Array) -> Statistics:
    """One region's statistics, the weighted sum of those of several styles (Eq. 15)."""
    return Statistics(*(jnp.tensordot(shares, x, 1)[None] for x in _parts(stacked(styles))))


def stacked(styles: list[Statistics]) -> Statistics:
    """Each style's statistics for a region of its own."""
    return Statistics(*(jnp.concatenate(x) for x in zip(*map(_parts, styles), strict=True)))


def _parts(x: Statistics) -> tuple[Array, Array]:
    return x.mean, x.root


def map_to(current: Statistics, target: Statistics) -> Map:
    """What brings features or colors with one pair of statistics to the other."""
    if current.root.ndim == 3:
        inverse = roots(current.root @ current.root)[1]
        matrix = inverse @ target.root
        return Map(matrix, target.mean - (current.mean[:, None] @ matrix)[:, 0])
    matrix = target.root / current.root
    return Map(matrix, target.mean - current.mean * matrix)


def applied(x: Array, by: Map, shares: Array | None) -> Array:
    """Features or colors [h, w, C] by the maps of n regions, whose shares are [n, h, w]; the rest of 1 stays as it is.

    Without shares there is one region, which is everything.
    """
    if shares is None:
        return _by(x, by, 0)
    result = x
    for i in range(by.shift.shape[0]):
        result = result + shares[i][:, :, None] * (_by(x, by, i) - x)
    return result


def _by(x: Array, by: Map, i: int) -> Array:
    shift = by.shift[i][None, None]
    return (x @ by.matrix[i] if by.matrix.ndim == 3 else x * by.matrix[i][None, None]) + shift
