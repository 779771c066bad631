"""Antialiased shapes for a batch of small drawings: coverage masks and how they are painted.

A canvas holds `n` images as planes [3, r, r, n]. The batch is the last axis, so every array
operation runs over contiguous memory however small the shape is, and every property that differs from
image to image is a plain [n] array. Positions and sizes are fractions of the image, y pointing down.

Shapes are computed only inside the smallest window that holds them in all images of the batch.
Outside its own extent a mask is exactly 0, and painting with 0 changes nothing. All operations are
correctly rounded (+ - * / sqrt floor min max). Both together make an image's bytes independent of
the images drawn with it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

Array = np.ndarray


@dataclass(frozen=True)
class Patch:
    """A coverage mask and the window it belongs to."""

    rows: slice
    cols: slice
    mask: Array  # [rows, cols, n], 0 outside the shape to 1 inside
    top: Array | float  # [n], where vertical color gradients start
    bottom: Array | float  # [n], where they end


class Canvas:
    """`n` images of `resolution` x `resolution`, black until painted."""

    def __init__(self, n: int, resolution: int):
        self.n = n
        self.resolution = resolution
        self.planes = np.zeros((3, resolution, resolution, n), np.float32)

    def window(self, low: Array | float, high: Array | float) -> slice:
        """The pixels that hold [low, high] in every image, with one to spare on either side."""
        r = self.resolution
        first = int(np.floor(np.min(low) * r)) - 1
        last = int(np.ceil(np.max(high) * r)) + 1
        return slice(min(max(first, 0), r), min(max(last, 0), r))

    def pixels(self, window: slice) -> Array:
        """Left (upper) edges of the window's pixels, in pixels: [k, 1]."""
        return np.arange(window.start, window.stop, dtype=np.float32)[:, None]

    def borders(self, window: slice) -> Array:
        """All borders of the window's pixels, as fractions of the image: [k + 1, 1]."""
        return np.arange(window.start, window.stop + 1, dtype=np.float32)[:, None] / self.resolution

    def cover(self, low: Array | float, high: Array | float, window: slice) -> Array:
        """The exact share of each pixel that lies in [low, high]: [k, n]."""
        pixels, r = self.pixels(window), self.resolution
        share = _unit(high * r - pixels) - _unit(low * r - pixels)
        return np.broadcast_to(share, (share.shape[0], self.n))

    def paint(self, patch: Patch, color: Array, to: Array | None = None, opacity: Array | float | None = None) -> None:
        """Lay `color` [3, n] over the patch; `to` makes it a gradient from the patch's top to its bottom."""
        ink = color[:, None, None, :]
        if to is not None:
            centers = (self.pixels(patch.rows) + 0.5) / self.resolution
            t = _unit((centers - patch.top) / (patch.bottom - patch.top))
            ink = ink + (to - color)[:, None, None, :] * t[:, None, :]
        mask = patch.mask if opacity is None else patch.mask * opacity
        region = self.planes[:, patch.rows, patch.cols]
        change = ink - region
        change *= mask
        region += change

    def relight(self, patch: Patch, gain: Array | float) -> None:
        """Multiply what is there by 1 + gain * mask: light where `gain` ([3, n], [n], one) is positive, else shade."""
        region = self.planes[:, patch.rows, patch.cols]
        if np.ndim(gain) == 2:
            gain = np.asarray(gain)[:, None, None, :]
        factor = patch.mask * gain
        factor += 1.0
        region *= factor


def box(canvas: Canvas, x0: Array | float, y0: Array | float, x1: Array | float, y1: Array | float) -> Patch:
    """An axis-parallel rectangle, its coverage exact."""
    rows, cols = canvas.window(y0, y1), canvas.window(x0, x1)
    mask = canvas.cover(y0, y1, rows)[:, None, :] * canvas.cover(x0, x1, cols)[None]
    return Patch(rows, cols, mask, y0, y1)


def soft_box(
    canvas: Canvas, x0: Array | float, y0: Array | float, x1: Array | float, y1: Array | float, blur: float
) -> Patch:
    """A rectangle whose edges fade smoothly over `blur` (a fraction of the image) around their place."""
    half = blur / 2
    rows, cols = canvas.window(y0 - half, y1 + half), canvas.window(x0 - half, x1 + half)
    fades = []
    for low, high, window in ((y0, y1, rows), (x0, x1, cols)):
        centers = (canvas.pixels(window) + 0.5) / canvas.resolution
        fade = _smooth(_unit((centers - low) / blur + 0.5)) * _smooth(_unit((high - centers) / blur + 0.5))
        fades.append(np.broadcast_to(fade, (fade.shape[0], canvas.n)))
    return Patch(rows, cols, fades[0][:, None, :] * fades[1][None], y0, y1)


def rounded_box(
    canvas: Canvas, x0: Array | float, y0: Array | float, x1: Array | float, y1: Array | float, radius: float
) -> Patch:
    """A rectangle with circular corners; no side may be shorter than 2 * radius."""
    rows, cols = canvas.window(y0, y1), canvas.window(x0, x1)
    squares = []
    for low, high, window in ((y0, y1, rows), (x0, x1, cols)):
        centers = (canvas.pixels(window) + 0.5) / canvas.resolution
        beyond = np.maximum(np.abs(centers - (low + high) / 2) - ((high - low) / 2 - radius), 0.0)
        squares.append(beyond * beyond)
    distance = _outer(squares[1], squares[0])
    np.sqrt(distance, out=distance)
    distance *= -canvas.resolution
    distance += radius * canvas.resolution + 0.5
    return Patch(rows, cols, _unit(distance), y0, y1)


def trapezoid(
    canvas: Canvas,
    y0: Array | float,
    y1: Array | float,
    upper: tuple[Array | float, Array | float],
    lower: tuple[Array | float, Array | float],
) -> Patch:
    """The shape between x = `upper` (left, right) at y0 and x = `lower` at y1 > y0."""
    rows = canvas.window(y0, y1)
    cols = canvas.window(np.minimum(upper[0], lower[0]), np.maximum(upper[1], lower[1]))
    mask = _span(canvas, rows, cols, y0, y1, upper, lower)
    return Patch(rows, cols, mask, y0, y1)


def side_trapezoid(
    canvas: Canvas,
    x0: Array | float,
    x1: Array | float,
    left: tuple[Array | float, Array | float],
    right: tuple[Array | float, Array | float],
) -> Patch:
    """The shape between y = `left` (top, bottom) at x0 and y = `right` at x1; empty where x1 <= x0."""
    x1 = np.maximum(x1, x0)
    cols = canvas.window(x0, x1)
    top, bottom = np.minimum(left[0], right[0]), np.maximum(left[1], right[1])
    rows = canvas.window(top, bottom)
    mask = _span(canvas, cols, rows, x0, x1, left, right)
    return Patch(rows, cols, np.swapaxes(mask, 0, 1), top, bottom)


def ellipse(
    canvas: Canvas,
    x: Array | float,
    y: Array | float,
    rx: Array | float,
    ry: Array | float,
    square: bool = False,
    inside: tuple[Array | float, Array | float, Array | float, Array | float] | None = None,
) -> Patch:
    """An ellipse, or with ``square`` the cushion ``|x|^4 + |y|^4 = 1``; cut to the box ``inside`` if given."""
    rows, cols = canvas.window(y - ry, y + ry), canvas.window(x - rx, x + rx)
    r = canvas.resolution
    v = ((canvas.pixels(rows) + 0.5) / r - y) / ry
    u = ((canvas.pixels(cols) + 0.5) / r - x) / rx
    # Distance to the outline in pixels, to first order: (f - 1) / |grad f|.
    if square:
        u2, v2 = u * u, v * v
        f, steep = _outer(u2 * u2, v2 * v2), _outer(u2 * u2 * u2 / (rx * rx), v2 * v2 * v2 / (ry * ry))
    else:
        f, steep = _outer(u * u, v * v), _outer(u * u / (rx * rx), v * v / (ry * ry))
    np.sqrt(steep, out=steep)
    steep *= (4.0 if square else 2.0) / r
    steep += 1e-6
    np.subtract(1.0, f, out=f)
    f /= steep
    f += 0.5
    mask = _unit(f)
    x0, y0, x1, y1 = x - rx, y - ry, x + rx, y + ry
    if inside is not None:
        x0, y0 = np.maximum(x0, inside[0]), np.maximum(y0, inside[1])
        x1, y1 = np.minimum(x1, inside[2]), np.minimum(y1, inside[3])
    # First order is too generous beyond the tips of a thin ellipse; nothing may leave its own bounds.
    np.minimum(mask, canvas.cover(y0, y1, rows)[:, None, :], out=mask)
    np.minimum(mask, canvas.cover(x0, x1, cols)[None], out=mask)
    return Patch(rows, cols, mask, y - ry, y + ry)


def glow(canvas: Canvas, x: Array | float, y: Array | float, rx: Array | float, ry: Array | float) -> Patch:
    """A blob that falls smoothly from 1 at its center to 0 at its rim: (1 - d^2)^2."""
    rows, cols = canvas.window(y - ry, y + ry), canvas.window(x - rx, x + rx)
    v = ((canvas.pixels(rows) + 0.5) / canvas.resolution - y) / ry
    u = ((canvas.pixels(cols) + 0.5) / canvas.resolution - x) / rx
    f = _outer(u * u, v * v)
    np.subtract(1.0, f, out=f)
    np.maximum(f, 0.0, out=f)
    f *= f
    return Patch(rows, cols, f, y - ry, y + ry)


def bands(edges: Array, width: Array | float) -> Array:
    """How much of each pixel is covered by bands [k, k + width] for every whole number k.

    `edges` holds the pixels' evenly spaced borders in periods, [..., pixels + 1, n]; returns [..., pixels, n].
    The coverage is the difference of the bands' integral, so bands finer than a pixel turn gray
    instead of making patterns of their own.
    """
    periods = np.floor(edges)
    integral = edges - periods
    np.minimum(integral, width, out=integral)
    periods *= width
    integral += periods
    share = integral[..., 1:, :] - integral[..., :-1, :]
    share /= edges[..., 1:2, :] - edges[..., :1, :]
    return share


def _span(
    canvas: Canvas,
    rows: slice,
    cols: slice,
    start: Array | float,
    end: Array | float,
    first: tuple[Array | float, Array | float],
    last: tuple[Array | float, Array | float],
) -> Array:
    """Mask of the pixels between two straight edges that run from `first` at `start` to `last` at `end`."""
    r = canvas.resolution
    length = np.maximum(end - start, 1e-4)
    t = _unit(((canvas.pixels(rows) + 0.5) / r - start) / length)
    across = canvas.pixels(cols) + 0.5
    sides = []
    for a, b in zip(first, last, strict=True):
        slope = (b - a) / length
        # An edge that moves more than a pixel per row is spread over as many pixels as it crosses.
        spread = np.maximum(np.abs(slope), 1.0)
        edge = (a + (b - a) * t) * r
        side = (edge / spread)[:, None, :] - (across / spread)[None]
        side += 0.5
        sides.append(_unit(side))
    mask = sides[1]
    mask -= sides[0]
    np.maximum(mask, 0.0, out=mask)
    mask *= canvas.cover(start, end, rows)[:, None, :]
    # A steep edge's spread must not reach beyond the shape's own bounds.
    bounds = canvas.cover(np.minimum(first[0], last[0]), np.maximum(first[1], last[1]), cols)
    np.minimum(mask, bounds[None], out=mask)
    return mask


def _outer(u: Array, v: Array) -> Array:
    return v[:, None, :] + u[None]


def _unit(x: Array) -> Array:
    x = np.maximum(x, 0.0)
    return np.minimum(x, 1.0, out=x)


def _smooth(t: Array) -> Array:
    return t * t * (3.0 - 2.0 * t)
