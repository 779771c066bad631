"""Tiles of an image: what is computed at once, with a margin as wide as the networks see."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from stylegen.style_transfer import StyleError, networks
from stylegen.style_transfer.matching import Level
from stylegen.style_transfer.networks import Stages

TILE = 512  # pixels a side of what is computed at once, without its margins


@dataclass(frozen=True)
class Span:
    """A tile along one axis, in features: what is computed, ``begin`` to ``end``, and what is kept of it."""

    begin: int
    end: int
    first: int
    last: int

    def core(self, places: int = 1) -> slice:
        """What is kept, in an image that has so many places for each feature."""
        return slice(self.first * places, self.last * places)

    def inner(self, places: int = 1) -> slice:
        """The same in the tile."""
        return slice((self.first - self.begin) * places, (self.last - self.begin) * places)

    def full(self, places: int = 1) -> slice:
        """What is computed, in an image that has so many places for each feature."""
        return slice(self.begin * places, self.end * places)


Tile = tuple[Span, Span]


@dataclass(frozen=True)
class Grid:
    """The tiles of an image, and the regions in them, at each scale of the networks."""

    stages: Stages
    levels: tuple[Level, ...]
    size: tuple[int, int]  # pixels of the image, height and width
    tile: int = TILE
    regions: Sequence[np.ndarray] | None = None  # shares of n regions at each scale, [n, h', w']; None is everything

    @property
    def features(self) -> tuple[int, int]:
        """Features of the last stage along both axes, of which the last may reach beyond the image."""
        scale = networks.scale(self.stages)
        return -(-self.size[0] // scale), -(-self.size[1] // scale)

    @property
    def tiles(self) -> list[Tile]:
        """All tiles, rows first; of the same size, so that one program serves them."""
        tile, edge = self.tile // networks.scale(self.stages), margin(self.stages)
        return [(y, x) for y in spans(self.features[0], tile, edge) for x in spans(self.features[1], tile, edge)]

    def shares(self, level: int, tile: Tile) -> np.ndarray | None:
        """Of each region at the places of a tile, [n, h, w]; places beyond the image are as those at its border."""
        if self.regions is None:
            return None
        region, places = self.regions[level], self.levels[level].places
        beyond = [max(n * places - side, 0) for n, side in zip(self.features, region.shape[1:], strict=True)]
        padded = np.pad(region, [(0, 0), (0, beyond[0]), (0, beyond[1])], mode="edge")
        return padded[:, tile[0].full(places), tile[1].full(places)]

    def weights(self, level: int, tile: Tile) -> np.ndarray:
        """What counts in statistics: the shares where the tile is kept, 0 in its margins and beyond the image."""
        places = self.levels[level].places
        scale = networks.scale(self.stages) // places
        shares = self.shares(level, tile)
        counted = np.zeros((1, *((span.end - span.begin) * places for span in tile)), np.float32)
        rows, columns = (
            slice(span.inner(places).start, min(span.inner(places).stop, -(-side // scale) - span.begin * places))
            for span, side in zip(tile, self.size, strict=True)
        )
        counted[:, rows, columns] = 1
        return counted if shares is None else counted * shares


def spans(length: int, tile: int, margin: int) -> list[Span]:
    """Tiles of one axis; all compute the same number of features.

    Raises:
        StyleError: a tile is smaller than a feature.
    """
    window = tile + 2 * margin
    if tile < 1:
        raise StyleError("tile: must be at least the pixels of a feature.")
    if length <= window:
        return [Span(0, length, 0, length)]
    found = []
    for first in range(0, length, tile):
        begin = min(max(first - margin, 0), length - window)
        found.append(Span(begin, begin + window, first, min(first + tile, length)))
    return found


def margin(stages: Stages) -> int:
    """Features that a tile has more on each side: as far as encoder and decoder see beyond a feature's own pixels."""
    pixels = sum(2**i * len(stage) for i, stage in enumerate(stages))
    return math.ceil(pixels / networks.scale(stages))
