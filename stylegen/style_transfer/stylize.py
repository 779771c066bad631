"""An image with the style of others: styles and their weights, masks, and colors that are kept."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import jax.numpy as jnp
import numpy as np

from stylegen.io.images import box_mean, layout_hint
from stylegen.io.progress import counted
from stylegen.style_transfer import StyleError, color, matching
from stylegen.style_transfer.matching import Statistics
from stylegen.style_transfer.model import StyleModel
from stylegen.style_transfer.tiles import TILE, Grid
from stylegen.style_transfer.transfer import features_of, image_of

ColorPreservation = Literal["coral", "luminance"]
SMALLEST = 16  # pixels a side: fewer leave nothing to reflect at the last stage
_SUM_TOLERANCE = 1e-3  # of weights that are to be 1: decimals such as 0.333


@dataclass(frozen=True)
class Style:
    """What a transfer takes of a style: its statistics at each scale, from coarse to fine."""

    statistics: tuple[Statistics, ...]


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
    check_weights(weights, len(styles))
    if masks is not None and weights is not None:
        raise StyleError("weights and masks exclude each other: masks say how much of each style is where.")
    _check_alpha(alpha)
    if masks is not None:
        feature_masks(masks, len(styles), content.shape[:2], model.scale)
    if alpha == 0:
        return content.copy()
    prepared = prepare(model, content, styles, masks=masks, preserve_color=preserve_color, tile=tile)
    return prepared.image(alpha, weights)


@dataclass(frozen=True, eq=False)
class Prepared:
    """A transfer of which alpha and the weights are open; the content's features and styles' statistics are computed.

    Decoding is then all that an image costs: a third of the whole, with the built-in networks.
    """

    model: StyleModel
    content: np.ndarray  # uint8 [h, w, 3]
    features: np.ndarray  # of the content, [h', w', C]
    own: tuple[Statistics, ...]  # of the content, of each region, at each scale
    styles: tuple[Style, ...]
    masks: Sequence[np.ndarray] | None
    grid: Grid
    preserve_color: ColorPreservation | None

    def image(self, alpha: float = 1.0, weights: Sequence[float] | None = None) -> np.ndarray:
        """The content in these styles, uint8 [h, w, 3]; alpha and weights are those of ``stylize``.

        Raises:
            StyleError: alpha or the weights do not fit, or there are masks and weights.
        """
        _check_alpha(alpha)
        if self.masks is not None and weights is not None:
            raise StyleError("weights and masks exclude each other: masks say how much of each style is where.")
        if alpha == 0:
            return self.content.copy()
        result = image_of(self.model, self.features, self.own[0], self._targets(alpha, weights), self.grid)
        if self.preserve_color == "luminance":
            result = color.with_luminance(self.content, result)
        if self.masks is None or len(self.styles) > 1:
            return result
        return _inside(result, self.content, _as_shares(self.masks[0]))

    def _targets(self, alpha: float, weights: Sequence[float] | None) -> list[Statistics]:
        """What the result has at each scale: in regions each style's, else the weighted sum, both as alpha says."""
        of_styles = [list(level) for level in zip(*(style.statistics for style in self.styles), strict=True)]
        if self.masks is None:
            shares = jnp.asarray(check_weights(weights, len(self.styles)), jnp.float32)
            wanted = [matching.mixed(level, shares) for level in of_styles]
        else:
            wanted = [matching.stacked(level) for level in of_styles]
        return [matching.between(own, style, alpha) for own, style in zip(self.own, wanted, strict=True)]


def prepare(
    model: StyleModel,
    content: np.ndarray,
    styles: Sequence[np.ndarray | Style],
    *,
    masks: Sequence[np.ndarray] | None = None,
    preserve_color: ColorPreservation | None = None,
    tile: int = TILE,
) -> Prepared:
    """Compute what alpha and the weights do not change; the arguments are those of ``stylize``.

    Raises:
        StyleError: an image is too small, there are no styles, or masks do not fit.
    """
    check_image(content, "content")
    check_weights(None, len(styles))
    size, regions = content.shape[:2], None
    if masks is not None:
        scales = [model.scale // level.places for level in model.exchanges]
        regions = [feature_masks(masks, len(styles), size, scale) for scale in scales]
    if preserve_color == "coral":
        if any(isinstance(style, Style) for style in styles):
            raise StyleError("preserve_color = 'coral' needs the styles as images.")
        styles = [color.coral(np.asarray(style), content) for style in styles]
    measured = tuple(style if isinstance(style, Style) else style_of(model, style, tile) for style in styles)
    grid = Grid(model.stages, model.levels, (size[0], size[1]), tile, regions)
    features, own = features_of(model, content, grid)
    return Prepared(model, content, features, own, measured, masks, grid, preserve_color)


def _check_alpha(alpha: float) -> None:
    if not (0 <= alpha <= 1):
        raise StyleError(f"alpha = {alpha:g}: must be from 0 (content) to 1 (style).")


def _as_shares(mask: np.ndarray) -> np.ndarray:
    """A mask [h, w] as float32, 1 being all."""
    return np.asarray(mask, np.float32) / (255 if np.asarray(mask).dtype == np.uint8 else 1)


def _inside(result: np.ndarray, content: np.ndarray, share: np.ndarray) -> np.ndarray:
    """The result where a mask is 1, the content where it is 0, and between them a mixture."""
    share = np.minimum(share, 1)[..., None]
    mixed: np.ndarray = np.rint(result * share + content * (1 - share)).astype(np.uint8)
    return mixed


def style_of(model: StyleModel, style: np.ndarray, tile: int = TILE) -> Style:
    """What a transfer takes of a style, uint8 [h, w, 3]."""
    check_image(style, "style")
    grid = Grid(model.stages, model.levels, (style.shape[0], style.shape[1]), tile)
    return Style(features_of(model, style, grid, of_style=True)[1])


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
    """Masks as shares of the styles at each feature, float32 [n, ceil(h/8), ceil(w/8)] for a scale of 8, 1 in sum.

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
