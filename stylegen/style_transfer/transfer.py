"""A transfer over tiles: features and statistics of an image, and features with other statistics to an image.

All statistics are those of the full image, so tiles must share them. All features are computed first, tile by tile.
Then the decoder works tile by tile as far as the next scale at which statistics are exchanged (``matching``), as often
as there are scales. Tiles begin at multiples of a feature's pixels, and the image's borders are the networks' own, so
the result is the full image's but for rounding, and memory is a tile's, the features' and the pixels'.
"""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from stylegen.io import signals
from stylegen.runtime import compilation
from stylegen.style_transfer import losses, matching, networks
from stylegen.style_transfer.matching import Level, Map, Statistics, Sums
from stylegen.style_transfer.model import StyleModel
from stylegen.style_transfer.networks import Params, Stages
from stylegen.style_transfer.tiles import Grid

_ROWS = 256  # of an image's colors that are mapped at once


def to_uint8(x: Array) -> Array:
    """[0, 1] to uint8, rounded, as torchvision saves images."""
    return jnp.clip(x * 255 + 0.5, 0, 255).astype(jnp.uint8)


def features_of(
    model: StyleModel, image: np.ndarray, grid: Grid, of_style: bool = False
) -> tuple[np.ndarray, tuple[Statistics, ...]]:
    """The encoder's last features of uint8 [h, w, 3], and the statistics of each region at each scale.

    Args:
        model: the networks.
        image: uint8 [h, w, 3].
        grid: its tiles and regions.
        of_style: the image is a style.

    Returns:
        float32 [ceil(h/8), ceil(w/8), C] with four stages, and the statistics, from coarse to fine.
    """
    features = np.empty((*grid.features, model.stages[-1][0]), np.float32)
    finer = range(1, len(model.exchanges))
    totals: Any = None
    for tile in grid.tiles:
        signals.check()
        y, x = tile
        part = image[y.full(model.scale), x.full(model.scale)]
        weights = tuple(grid.weights(i, tile) for i in finer)
        encoded, sums = _encode(model.encoder, part[None], weights, stages=model.stages, levels=model.exchanges)
        features[y.core(), x.core()] = np.asarray(encoded)[y.inner(), x.inner()]
        totals = sums if totals is None else jax.tree.map(jnp.add, totals, sums)
    variance, regions = model.variance, None if grid.regions is None else grid.regions[0]
    first = _statistics_of_all(features, regions, level=model.levels[0], variance=variance, of_style=of_style)
    return features, (first, *(_statistics(x, variance=variance, of_style=of_style) for x in totals))


def image_of(
    model: StyleModel, features: np.ndarray, own: Statistics, targets: Sequence[Statistics], grid: Grid
) -> np.ndarray:
    """The image of features [h', w', C] that are given other statistics at each scale: uint8 [h, w, 3].

    Args:
        model: the networks.
        features: ``features_of`` the content.
        own: their statistics.
        targets: those that the result has, at each scale of ``model.exchanges``.
        grid: the content's tiles and regions.
    """
    outputs = _Outputs(model, features, grid)
    maps = [matching.map_to(own, targets[0])]
    for level in range(1, len(model.levels)):
        total = outputs.advance(level, maps)
        if total is not None:
            maps.append(_map_to(total, targets[level], variance=model.variance))
    height, width = grid.size
    return _colored(outputs.pixels[:height, :width], maps[len(model.levels) - 1 :], grid)


class _Outputs:
    """What the decoder has made of each tile.

    A single tile goes on from where it is. Of several only the features are kept, and the decoder's layers before a
    scale are computed anew for each scale: the outputs between them would take far more memory than features do.
    """

    def __init__(self, model: StyleModel, features: np.ndarray, grid: Grid) -> None:
        self._model, self._grid, self._tiles = model, grid, grid.tiles
        self._reached: list[tuple[int, Any]] = [(0, features[y.full(), x.full()]) for y, x in self._tiles]
        self.pixels = np.empty((*(side * model.scale for side in grid.features), networks.RGB_CHANNELS), np.float32)

    def advance(self, end: int, maps: Sequence[Map]) -> Sums | None:
        """Decode all tiles as far as a level, with the maps of those before it; its sums if statistics count there."""
        model, total = self._model, None
        counts = end < len(model.exchanges)
        for i, tile in enumerate(self._tiles):
            signals.check()
            start, x = self._reached[i]
            shares = None
            if self._grid.regions is not None:
                shares = tuple(self._grid.shares(level, tile) for level in range(start, end))
            weights = self._grid.weights(end, tile) if counts else None
            levels = model.levels[start : end + 1]
            x, sums = _decode(
                model.decoder, x, tuple(maps[start:end]), shares, weights, stages=model.stages, levels=levels
            )
            total = sums if total is None else jax.tree.map(jnp.add, total, sums)
            if len(self._tiles) == 1:
                self._reached[i] = (end, x)
            if end == len(model.levels) - 1:
                rows, columns = (span.core(model.scale) for span in tile)
                self.pixels[rows, columns] = np.asarray(x)[tuple(span.inner(model.scale) for span in tile)]
        return total


def _colored(pixels: np.ndarray, maps: list[Map], grid: Grid) -> np.ndarray:
    """Pixels [h, w, 3] with the colors that the last map gives them, if there is one: uint8."""
    image = np.empty(pixels.shape, np.uint8)
    for top in range(0, len(pixels), _ROWS):
        rows = slice(top, top + _ROWS)
        x = jnp.asarray(pixels[rows])
        if maps:
            x = matching.applied(x, maps[0], None if grid.regions is None else jnp.asarray(grid.regions[-1][:, rows]))
        image[rows] = np.asarray(to_uint8(x))
    return image


@compilation.jit(precision=None, static_argnames=("stages", "levels"))
def _encode(
    params: Params, images: Array, weights: tuple[Array, ...], *, stages: Stages, levels: tuple[Level, ...]
) -> tuple[Array, tuple[Sums, ...]]:
    """The last features [h', w', C] of one image, and sums at all levels but the first."""
    maps = at_levels(params, stages, levels, images.astype(jnp.float32) / 255)
    sums = []
    for level, x, inside in zip(levels[1:], maps[1:], weights, strict=True):
        sums.append(matching.sums(x, inside[:, : x.shape[0], : x.shape[1]], level))  # the image may end in the tile
    return maps[0], tuple(sums)


def at_levels(params: Params, stages: Stages, levels: tuple[Level, ...], x: Array) -> list[Array]:
    """What the encoder makes of one image [1, h, w, 3] in [0, 1] at each level, [h', w', C]; the pixels at the last."""
    outputs, size = networks.encode(params, stages, x), networks.scale(stages)
    by_places = {size // 2**i: output[0] for i, output in enumerate(outputs)}
    return [x[0] if level.is_color else by_places[level.places] for level in levels]


@compilation.jit(precision=None, static_argnames=("stages", "levels"))
def _decode(
    params: Params,
    x: Array,
    maps: tuple[Map, ...],
    shares: tuple[Array, ...] | None,
    weights: Array | None,
    *,
    stages: Stages,
    levels: tuple[Level, ...],
) -> tuple[Array, Sums | None]:
    """From one level to another, with other statistics at those before the last, and sums at the last."""
    for i, by in enumerate(maps):
        x = restyled(params, stages, levels[i : i + 2], matching.applied(x, by, None if shares is None else shares[i]))
    return x, None if weights is None else matching.sums(x, weights, levels[-1])


def restyled(params: Params, stages: Stages, levels: tuple[Level, ...], x: Array) -> Array:
    """From a level, with the statistics exchanged, to the next: [h', w', C]."""
    # AdaIN's output is what the decoder was made for at its first layer; what other layers give is never negative.
    x = jnp.maximum(x, 0) if levels[0].layers else x
    return networks.decode_part(params, stages, x[None], levels[0].layers, levels[1].layers)[0]


@compilation.jit(precision=None, static_argnames=("level", "variance", "of_style"))
def _statistics_of_all(
    x: Array, weights: Array | None, *, level: Level, variance: losses.Variance, of_style: bool
) -> Statistics:
    return matching.of_all(x, level, variance, of_style, weights)


@compilation.jit(precision=None, static_argnames=("variance", "of_style"))
def _statistics(total: Sums, *, variance: losses.Variance, of_style: bool) -> Statistics:
    return matching.statistics(total, variance, of_style)


@compilation.jit(precision=None, static_argnames="variance")
def _map_to(total: Sums, target: Statistics, *, variance: losses.Variance) -> Map:
    return matching.map_to(matching.statistics(total, variance), target)
