"""An image with the style of others: tiles to features, AdaIN over all of them, and features to tiles.

The statistics that AdaIN exchanges are those of the full image, so tiles must share them: all features are computed
first, tile by tile, each with a margin as wide as the network sees; then AdaIN works on all of them; then they are
decoded tile by tile, with a margin again. Tiles begin at multiples of a feature's pixels, and the image's borders are
the networks' own, so the result is the full image's but for rounding, and memory is a tile's and the features'.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import jax.numpy as jnp
import numpy as np
from jax import Array

from stylegen import ops
from stylegen.io import signals
from stylegen.io.images import box_mean, layout_hint
from stylegen.io.progress import counted
from stylegen.runtime import compilation
from stylegen.style_transfer import StyleError, color, losses, networks
from stylegen.style_transfer.model import StyleModel
from stylegen.style_transfer.networks import Params, Stages

ColorPreservation = Literal["coral", "luminance"]
TILE = 512  # pixels a side of what is computed at once, without its margins
SMALLEST = 16  # pixels a side: fewer leave nothing to reflect at the last stage
_SUM_TOLERANCE = 1e-3  # of weights that are to be 1: decimals such as 0.333


@compilation.jit(precision=None, static_argnames="stages")
def _encode(params: Params, images: Array, *, stages: Stages) -> Array:
    return networks.encode(params, stages, images.astype(jnp.float32) / 255)[-1]


@compilation.jit(precision=None, static_argnames="stages")
def _decode(params: Params, features: Array, *, stages: Stages) -> Array:
    return to_uint8(networks.decode(params, stages, features))


def to_uint8(x: Array) -> Array:
    """[0, 1] to uint8, rounded, as torchvision saves images."""
    return jnp.clip(x * 255 + 0.5, 0, 255).astype(jnp.uint8)


@dataclass(frozen=True)
class Style:
    """What AdaIN takes of a style: mean and standard deviation [C] of each channel of its last features."""

    mean: np.ndarray
    std: np.ndarray


def stylize(
    model: StyleModel,
    content: np.ndarray,
    styles: Sequence[np.ndarray | Style],
    *,
    weights: Sequence[float] | None = None,
    alpha: float = 1.0,
    masks: Sequence[np.ndarray] | None = None,
    preserve_color: ColorPreservation | None = None,
    tile: int = TILE,
) -> np.ndarray:
    """The content with the style of others (Huang and Belongie 2017, Eq. 9, 14 and 15).

    Args:
        model: the networks.
        content: uint8 [h, w, 3].
        styles: uint8 [h', w', 3] of any sizes, or what ``style_of`` made of them.
        weights: one number a style, 1 in sum; alike if None.
        alpha: 0 gives the content itself, 1 all of the style. Above 0 the decoder draws the image, so that small values
            are not near the content in every pixel.
        masks: where each style goes, uint8 or float [h, w], not negative: at every place they are divided by their sum.
            A single mask for two styles is the share of the first, 255 (or 1.0) being all. A single mask for one style
            is where that goes; the content stays elsewhere.
        preserve_color: coral gives the styles the content's colors before (Sec. 7.4 of the paper, by the linear
            transform of Gatys et al. 2016); luminance takes only the lightness of the result.
        tile: pixels a side of what is computed at once, without margins. It changes memory and speed, not the result.

    Returns:
        uint8 [h, w, 3].

    Raises:
        StyleError: an image is too small, weights or masks do not fit.
    """
    check_image(content, "content")
    shares = check_weights(weights, len(styles)) if masks is None else None
    if masks is not None and weights is not None:
        raise StyleError("weights and masks exclude each other: masks say how much of each style is where.")
    if not (0 <= alpha <= 1):
        raise StyleError(f"alpha = {alpha:g}: must be from 0 (content) to 1 (style).")
    regions = None if masks is None else feature_masks(masks, len(styles), content.shape[:2], model.scale)
    if alpha == 0:
        return content.copy()
    if preserve_color == "coral":
        if any(isinstance(style, Style) for style in styles):
            raise StyleError("preserve_color = 'coral' needs the styles as images.")
        styles = [color.coral(np.asarray(style), content) for style in styles]
    measured = [style if isinstance(style, Style) else style_of(model, style, tile) for style in styles]
    mean, std = (jnp.stack([getattr(style, name) for style in measured]) for name in ("mean", "std"))
    features = jnp.asarray(features_of(model, content, tile))[None]
    if regions is None:
        assert shares is not None
        target = _restyle(features, mean, std, jnp.asarray(shares, jnp.float32), alpha, variance=model.variance)
    else:
        target = _restyle_regions(features, mean, std, jnp.asarray(regions), alpha, variance=model.variance)
    del features
    result = image_of(model, np.asarray(target[0]), content.shape[:2], tile)
    if preserve_color == "luminance":
        result = color.with_luminance(content, result)
    return result if masks is None or len(styles) > 1 else _inside(result, content, _as_shares(masks[0]))


def _as_shares(mask: np.ndarray) -> np.ndarray:
    """A mask [h, w] as float32, 1 being all."""
    return np.asarray(mask, np.float32) / (255 if np.asarray(mask).dtype == np.uint8 else 1)


def _inside(result: np.ndarray, content: np.ndarray, share: np.ndarray) -> np.ndarray:
    """The result where a mask is 1, the content where it is 0, and between them a mixture."""
    share = np.minimum(share, 1)[..., None]
    mixed: np.ndarray = np.rint(result * share + content * (1 - share)).astype(np.uint8)
    return mixed


def style_of(model: StyleModel, style: np.ndarray, tile: int = TILE) -> Style:
    """What AdaIN takes of a style, uint8 [h, w, 3]."""
    check_image(style, "style")
    mean, std = _statistics(jnp.asarray(features_of(model, style, tile))[None], variance=model.variance)
    return Style(np.asarray(mean[0]), np.asarray(std[0]))


@compilation.jit(precision=None, static_argnames="variance")
def _statistics(features: Array, *, variance: losses.Variance) -> tuple[Array, Array]:
    return losses.statistics(features, variance)


@compilation.jit(precision=None, static_argnames="variance")
def _restyle(
    features: Array, mean: Array, std: Array, shares: Array, alpha: float, *, variance: losses.Variance
) -> Array:
    """AdaIN to the weighted styles, which is the weighted sum of AdaIN to each (Eq. 15), then toward the content."""
    target = losses.adain(features, (shares @ mean)[None], (shares @ std)[None], variance)
    return features * (1 - alpha) + target * alpha


@compilation.jit(precision=None, static_argnames="variance")
def _restyle_regions(
    features: Array, mean: Array, std: Array, regions: Array, alpha: float, *, variance: losses.Variance
) -> Array:
    """AdaIN region by region: the content's statistics are of each region too, its features counting by the mask."""
    # A single style has no other one outside of its region: there the features stay.
    target = features * (1 - regions[0][None, :, :, None]) if len(regions) == 1 else jnp.zeros_like(features)
    for i in range(regions.shape[0]):
        share = regions[i][None, :, :, None]
        n = jnp.maximum(jnp.sum(share), 1e-6)
        center = jnp.sum(features * share, axis=(1, 2), keepdims=True) / n
        square = jnp.sum(jnp.square(features - center) * share, axis=(1, 2), keepdims=True) / n
        square = square * (n / jnp.maximum(n - 1, 1)) if variance == "unbiased" else square
        std_i, mean_i = ops.per_channel(std[i]), ops.per_channel(mean[i])
        target += share * ((features - center) / jnp.sqrt(square + losses.EPSILON) * std_i + mean_i)
    return features * (1 - alpha) + target * alpha


def features_of(model: StyleModel, image: np.ndarray, tile: int = TILE) -> np.ndarray:
    """The encoder's last features of uint8 [h, w, 3], tile by tile: float32 [ceil(h/8), ceil(w/8), C]."""
    scale, (height, width) = model.scale, image.shape[:2]
    features = np.empty((-(-height // scale), -(-width // scale), model.stages[-1][0]), np.float32)
    for y, x in _tiles(features.shape[:2], tile // scale, margin(model.stages)):
        part = image[y.begin * scale : y.end * scale, x.begin * scale : x.end * scale]
        encoded = np.asarray(_encode(model.encoder, part[None], stages=model.stages)[0])
        features[y.core, x.core] = encoded[y.inner, x.inner]
    return features


def image_of(model: StyleModel, features: np.ndarray, size: tuple[int, ...], tile: int = TILE) -> np.ndarray:
    """Decoded features [h', w', C], tile by tile, cut to ``size``: uint8 [h, w, 3]."""
    scale = model.scale
    image = np.empty((features.shape[0] * scale, features.shape[1] * scale, 3), np.uint8)
    for y, x in _tiles(features.shape[:2], tile // scale, margin(model.stages)):
        part = features[y.begin : y.end, x.begin : x.end]
        decoded = np.asarray(_decode(model.decoder, part[None], stages=model.stages)[0])
        image[y.pixels(scale), x.pixels(scale)] = decoded[y.inner_pixels(scale), x.inner_pixels(scale)]
    return image[: size[0], : size[1]]


def margin(stages: Stages) -> int:
    """Features that a tile has more on each side: as far as encoder and decoder see beyond a feature's own pixels."""
    pixels = sum(2**i * len(stage) for i, stage in enumerate(stages))
    return math.ceil(pixels / networks.scale(stages))


@dataclass(frozen=True)
class _Span:
    """A tile along one axis, in features: what is computed, ``begin`` to ``end``, and what is kept of it."""

    begin: int
    end: int
    first: int
    last: int

    @property
    def core(self) -> slice:
        return slice(self.first, self.last)

    @property
    def inner(self) -> slice:
        return slice(self.first - self.begin, self.last - self.begin)

    def pixels(self, scale: int) -> slice:
        return slice(self.first * scale, self.last * scale)

    def inner_pixels(self, scale: int) -> slice:
        return slice(self.inner.start * scale, self.inner.stop * scale)


def _tiles(size: tuple[int, ...], tile: int, margin: int) -> Iterator[tuple[_Span, _Span]]:
    for y in _spans(size[0], tile, margin):
        for x in _spans(size[1], tile, margin):
            signals.check()
            yield y, x


def _spans(length: int, tile: int, margin: int) -> list[_Span]:
    """Tiles of one axis; all compute the same number of features, so that one program serves them."""
    window = tile + 2 * margin
    if tile < 1:
        raise StyleError("tile: must be at least the pixels of a feature.")
    if length <= window:
        return [_Span(0, length, 0, length)]
    spans = []
    for first in range(0, length, tile):
        begin = min(max(first - margin, 0), length - window)
        spans.append(_Span(begin, begin + window, first, min(first + tile, length)))
    return spans


def check_image(image: np.ndarray, name: str) -> None:
    """Raise StyleError unless it is uint8 [h, w, 3] of at least 16 pixels a side."""
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        shape = f"{image.dtype} {image.shape}{layout_hint(image.shape)}"
        raise StyleError(f"{name}: must be uint8 [h, w, 3], not {shape}.")
    if min(image.shape[:2]) < SMALLEST:
        size = f"{image.shape[1]}x{image.shape[0]}"
        raise StyleError(f"{name}: {size} pixels are too few; at least {SMALLEST} a side are needed.")


def check_weights(weights: Sequence[float] | None, n: int) -> list[float]:
    """The share of each of ``n`` styles.

    Raises:
        StyleError: there are no styles, or the weights are another number, not numbers, or not 1 in sum.
    """
    if n < 1:
        raise StyleError("at least one style is needed.")
    if weights is None:
        return [1 / n] * n
    shown = ",".join(f"{weight:g}" for weight in weights)
    if len(weights) != n:
        raise StyleError(f"weights {shown}: {len(weights)} for {counted(n, 'style')}; give one each.")
    if not all(math.isfinite(weight) and weight >= 0 for weight in weights):
        raise StyleError(f"weights {shown}: must be numbers that are not negative.")
    total = sum(weights)
    if abs(total - 1) > _SUM_TOLERANCE:
        raise StyleError(f"weights {shown}: their sum is {total:g}; it must be 1.")
    return [weight / total for weight in weights]


def feature_masks(masks: Sequence[np.ndarray], n: int, size: tuple[int, ...], scale: int) -> np.ndarray:
    """Masks as shares of the styles at each feature, float32 [n, ceil(h/8), ceil(w/8)], 1 in sum.

    The mask of a single style is that style's share, up to 1; the rest is the content's.

    Raises:
        StyleError: another number of masks than styles (or than one for two), of another size than the content, or
            all of them 0 at some place (of a single style: everywhere).
    """
    scaled = [_as_shares(mask) for mask in masks]
    for mask in scaled:
        if mask.shape != tuple(size):
            pixels = "x".join(str(side) for side in mask.shape[::-1])
            raise StyleError(f"mask: {pixels} pixels, but the content has {size[1]}x{size[0]}; they must be alike.")
        if not np.isfinite(mask).all() or np.min(mask) < 0:
            raise StyleError("mask: must hold numbers that are not negative.")
    if len(scaled) == 1 and n == 2:
        scaled.append(1 - np.minimum(scaled[0], 1))
    if len(scaled) != n:
        raise StyleError(
            f"{counted(len(masks), 'mask')} for {counted(n, 'style')}; give one for each, or for two styles a single "
            "one."
        )
    if n == 1:
        if scaled[0].max() <= 0:
            raise StyleError("mask: is black everywhere; the style goes where it is white.")
        return box_mean(np.minimum(scaled[0], 1)[None, ..., None], scale)[..., 0]
    small = box_mean(np.stack(scaled)[..., None], scale)[..., 0]
    total = small.sum(axis=0)
    if total.min() <= 0:
        raise StyleError("masks: all of them are black at some place; something must be drawn there.")
    return small / total
