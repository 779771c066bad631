"""Procedural textures like paintings, mosaics and fabrics: styles that may be shown and shipped, drawn from a seed.

A texture is a function of (seed, index, side) alone; its family is ``FAMILIES[index % len(FAMILIES)]``. Families are
functions of a random generator and a side in pixels that give float RGB [side, side, 3] in [0, 1].
"""

from collections.abc import Callable

import numpy as np
from PIL import Image, ImageDraw

Random = np.random.Generator
# Five colors each, from dark to light: of a night sky, a breaking wave, a sunset, a meadow, a pottery, ink on paper,
# stained glass, autumn, a rose garden, and the Baltic in winter.
PALETTES = [
    ("#0b1a3b", "#1d3f8a", "#3f78c9", "#e8b93a", "#f8e9a1"),
    ("#12305c", "#2f5d8c", "#7fa6bf", "#d9d2b0", "#f4efdc"),
    ("#2a1037", "#a31f4a", "#e8622c", "#f7a531", "#fde3a0"),
    ("#1f3d1a", "#4d7c2a", "#a3b83b", "#e2d65a", "#f2b5c4"),
    ("#3a1c12", "#8c3b1f", "#c9743a", "#e3b77a", "#f3e6cc"),
    ("#111111", "#3c3b3a", "#77736c", "#c8bfa9", "#f1e9d6"),
    ("#141414", "#b3201f", "#1c4fa1", "#f0c419", "#f5f2e6"),
    ("#2d1b0e", "#7a3b10", "#c4601a", "#d99a2b", "#5a6b2d"),
    ("#3b1530", "#8e2c5a", "#d9668a", "#f2b6b6", "#5f8a5a"),
    ("#1a2a33", "#3f5b66", "#7d98a1", "#c3d0d0", "#e9e4d4"),
]


def texture(index: int, side: int, seed: int = 0) -> np.ndarray:
    """Texture ``index`` of a seed as uint8 [side, side, 3]."""
    rng = np.random.default_rng([seed, index])
    drawn = FAMILIES[index % len(FAMILIES)](rng, side)
    return np.rint(np.clip(drawn, 0, 1) * 255).astype(np.uint8)


def palette(rng: Random) -> np.ndarray:
    """Five colors [5, 3] from dark to light: a listed palette, turned in hue and bent a little."""
    colors = np.array([[int(c[i : i + 2], 16) for i in (1, 3, 5)] for c in PALETTES[rng.integers(len(PALETTES))]])
    colors = colors / 255
    if rng.random() < 0.5:
        colors = colors[:, rng.permutation(3)]
    return np.clip(colors + rng.normal(0, 0.04, colors.shape), 0, 1)


def color(values: np.ndarray | float, colors: np.ndarray) -> np.ndarray:
    """Colors [..., 3] of values in [0, 1] along a palette."""
    at = np.asarray(np.clip(values, 0, 1) * (len(colors) - 1))
    low = np.minimum(at.astype(int), len(colors) - 2)
    t = (at - low)[..., None]
    return colors[low] * (1 - t) + colors[low + 1] * t


def cloud(rng: Random, side: int, coarsest: int = 3, octaves: int = 4) -> np.ndarray:
    """Smooth noise [side, side] spread over [0, 1]: octaves of random grids, each half as strong as the one before."""
    total = np.zeros((side, side))
    for octave in range(octaves):
        cells = coarsest * 2**octave + 1
        grid = Image.fromarray(rng.random((cells, cells), np.float32))
        total += np.asarray(grid.resize((side, side), Image.Resampling.BICUBIC)) / 2**octave
    ranks = np.interp(total, np.quantile(total, np.linspace(0, 1, 33)), np.linspace(0, 1, 33))
    return ranks


def _places(side: int) -> tuple[np.ndarray, np.ndarray]:
    y, x = np.mgrid[0:side, 0:side] / side
    return y, x


def _canvas(pixels: np.ndarray) -> tuple[Image.Image, ImageDraw.ImageDraw]:
    image = Image.fromarray(np.rint(np.clip(pixels, 0, 1) * 255).astype(np.uint8))
    return image, ImageDraw.Draw(image)


def _rgb(c: np.ndarray) -> tuple[int, ...]:
    return tuple(int(v) for v in np.clip(c * 255, 0, 255))


def _flow(rng: Random, side: int, whirls: int) -> np.ndarray:
    """Directions [side, side] in radians: a drift that turns slowly, and whirls."""
    y, x = _places(side)
    field = np.exp(1j * (cloud(rng, side, 2, 2) * 3 + rng.uniform(0, 6)))
    for _ in range(whirls):
        cy, cx, radius = rng.random(), rng.random(), rng.uniform(0.08, 0.25)
        distance = np.hypot(y - cy, x - cx)
        turn = np.exp(1j * (np.arctan2(y - cy, x - cx) + np.pi / 2))
        field = field + 4 * np.exp(-((distance / radius) ** 2)) * turn
    return np.angle(field)


def _along(rng: Random, flow: np.ndarray, steps: int, stride: float) -> list[tuple[float, float]]:
    """A line that follows the flow from somewhere."""
    side = len(flow)
    x, y = rng.random(2) * side
    points = [(x, y)]
    for _ in range(steps):
        angle = flow[int(y) % side, int(x) % side]
        x, y = x + stride * np.cos(angle), y + stride * np.sin(angle)
        points.append((x, y))
    return points


def _painted(rng: Random, side: int, count: int, steps: int, width: tuple[float, float], whirls: int) -> np.ndarray:
    colors, tones, flow = palette(rng), cloud(rng, side), _flow(rng, side, whirls)
    image, pen = _canvas(color(tones, colors))
    for _ in range(count):
        points = _along(rng, flow, steps, side / 80)
        x, y = (int(v) % side for v in points[0])
        tone = tones[y, x] + rng.normal(0, 0.12)
        shade = color(np.array(tone), colors) + rng.normal(0, 0.05)
        pen.line(points, _rgb(shade), max(1, round(rng.uniform(*width) * side / 256)), joint="curve")
    return np.asarray(image) / 255


def strokes(rng: Random, side: int) -> np.ndarray:
    """Short broad strokes of a brush."""
    return _painted(rng, side, 900, 5, (4, 10), 0)


def whirls(rng: Random, side: int) -> np.ndarray:
    """Long thin strokes that turn in whirls."""
    return _painted(rng, side, 1100, 9, (2, 5), int(rng.integers(2, 6)))


def points(rng: Random, side: int) -> np.ndarray:
    """Dots of pure color."""
    colors, tones = palette(rng), cloud(rng, side)
    image, pen = _canvas(np.broadcast_to(colors[-1], (side, side, 3)))
    radius = rng.uniform(1.5, 4) * side / 256
    for x, y in rng.random((int(0.9 * side**2 / (3 * radius**2)), 2)) * side:
        shade = color(np.array(tones[int(y), int(x)] + rng.normal(0, 0.18)), colors)
        pen.ellipse((x - radius, y - radius, x + radius, y + radius), _rgb(shade))
    return np.asarray(image) / 255


def mosaic(rng: Random, side: int) -> np.ndarray:
    """Cells of one color with dark joints."""
    colors, tones = palette(rng), cloud(rng, side)
    seeds = rng.random((int(rng.integers(60, 260)), 2)).astype(np.float32)
    y, x = (v.astype(np.float32) for v in _places(side))
    nearest, second, owner = np.full((side, side), 9.0), np.full((side, side), 9.0), np.zeros((side, side), int)
    for i, (sy, sx) in enumerate(seeds):
        distance = np.hypot(y - sy, x - sx)
        closer = distance < nearest
        second = np.where(closer, nearest, np.minimum(second, distance))
        owner, nearest = np.where(closer, i, owner), np.where(closer, distance, nearest)
    values = np.array([tones[int(sy * side), int(sx * side)] for sy, sx in seeds]) + rng.normal(0, 0.1, len(seeds))
    joint = np.clip((second - nearest) * 120 - 0.4, 0, 1)[..., None]
    return color(values[owner], colors) * joint + 0.6 * colors[0] * (1 - joint)


def facets(rng: Random, side: int) -> np.ndarray:
    """Overlapping triangles with edges, as in cubist paintings."""
    colors = palette(rng)
    image, pen = _canvas(color(cloud(rng, side), colors))
    for _ in range(220):
        center, size = rng.random(2) * side, rng.uniform(0.05, 0.2) * side
        corners = [tuple(center + size * np.array([np.cos(a), np.sin(a)])) for a in rng.uniform(0, 2 * np.pi, 3)]
        pen.polygon(corners, fill=_rgb(color(rng.random(), colors)), outline=_rgb(0.5 * colors[0]))
    return np.asarray(image) / 255


def marble(rng: Random, side: int) -> np.ndarray:
    """Veins."""
    y, x = _places(side)
    angle = rng.uniform(0, np.pi)
    phase = (x * np.cos(angle) + y * np.sin(angle)) * rng.uniform(4, 14) + 3 * cloud(rng, side)
    return color(np.abs(np.sin(phase * np.pi)) ** rng.uniform(0.5, 1.5), palette(rng))


def watercolor(rng: Random, side: int) -> np.ndarray:
    """Flat washes with dark rims, on grained paper."""
    tones = cloud(rng, side, 3, 3) * 5
    rim = np.clip(1 - np.abs(tones - np.round(tones)) * 18, 0, 1)[..., None]
    washed = color(np.round(tones) / 5, palette(rng)) * 0.8 + 0.2
    grain = rng.normal(0, 0.025, (side, side, 1))
    return washed * (1 - 0.25 * rim) + grain


def hatching(rng: Random, side: int) -> np.ndarray:
    """Ink lines in two directions, denser where it is darker."""
    colors, tones = palette(rng), cloud(rng, side, 2, 3)
    y, x = _places(side)
    page = np.broadcast_to(colors[-1], (side, side, 3))
    for i, angle in enumerate(rng.uniform(0, np.pi) + np.array([0, np.pi / 2.4])):
        wave = np.sin(
            (x * np.cos(angle) + y * np.sin(angle)) * rng.uniform(30, 60) * np.pi + 2 * cloud(rng, side, 4, 2)
        )
        ink = np.clip((wave - 1.4 * tones + 0.5 - 0.3 * i) * 3, 0, 1)[..., None]
        page = page * (1 - ink) + colors[i] * ink
    return page


def scales(rng: Random, side: int) -> np.ndarray:
    """Rows of arcs, as on fish, roofs and kimonos."""
    colors, count = palette(rng), int(rng.integers(5, 12))
    y, x = _places(side)
    result = np.zeros((side, side, 3))
    rings = rng.integers(2, 5)
    for row in range(2 * count + 2):
        cy = row / (2 * count)
        u = x * count + 0.5 * (row % 2)
        distance = np.hypot(u - np.round(u), (y - cy) * count) / 0.56
        inside = distance < 1
        tones = np.floor(distance * rings * 2) / (2 * rings)
        result = np.where(inside[..., None], color((tones * 3) % 1.01, colors), result)
    return result


def fabric(rng: Random, side: int) -> np.ndarray:
    """A checked cloth of threads."""
    y, x = _places(side)
    colors = palette(rng)
    bands = rng.integers(0, 5, 12)
    warp, weft = (colors[bands[(v * rng.integers(6, 14)).astype(int) % 12]] for v in (x, y))
    threads = rng.integers(24, 56)
    over = (np.floor(x * threads) + np.floor(y * threads)) % 2
    round_ = 0.72 + 0.28 * np.abs(np.sin(np.pi * threads * np.where(over, x, y)))
    return np.where(over[..., None] > 0, warp, weft) * round_[..., None]


def splashes(rng: Random, side: int) -> np.ndarray:
    """Thrown paint."""
    colors = palette(rng)
    image, pen = _canvas(np.broadcast_to(colors[-1], (side, side, 3)))
    for _ in range(160):
        shade, flow = _rgb(colors[rng.integers(0, 4)]), rng.normal(0, 1, 2) * side / 12
        x, y = rng.random(2) * side
        path = [(x, y)]
        for _ in range(12):
            flow = flow * 0.9 + rng.normal(0, 1, 2) * side / 40
            path.append((path[-1][0] + flow[0], path[-1][1] + flow[1]))
        pen.line(path, shade, int(rng.integers(1, 4)), joint="curve")
        r = abs(rng.normal(0, 2.5)) * side / 256
        pen.ellipse((x - r, y - r, x + r, y + r), shade)
    return np.asarray(image) / 255


def stripes(rng: Random, side: int) -> np.ndarray:
    """Bands with sharp edges that wave."""
    y, x = _places(side)
    angle = rng.uniform(0, np.pi)
    phase = (x * np.cos(angle) + y * np.sin(angle)) * rng.uniform(5, 16) + rng.uniform(0, 1.5) * cloud(rng, side, 2, 2)
    colors, order = palette(rng), rng.permutation(5)
    return colors[order[np.floor(phase * 2).astype(int) % 5]]


def wood(rng: Random, side: int) -> np.ndarray:
    """Rings of growth."""
    y, x = _places(side)
    distance = np.hypot(y - rng.uniform(-1, 2), (x - rng.uniform(-1, 2)) * rng.uniform(0.2, 1))
    phase = distance * rng.uniform(12, 30) + cloud(rng, side) * 1.5
    fiber = rng.normal(0, 0.04, (side, 1, 1))
    return color(phase % 1.0, palette(rng)[1:]) + fiber


def arcs(rng: Random, side: int) -> np.ndarray:
    """Truchet's tiles: quarter circles that join at random."""
    count, colors = int(rng.integers(6, 14)), palette(rng)
    y, x = (v * count for v in _places(side))
    turned = rng.random((count, count))[y.astype(int), x.astype(int)] < 0.5
    u, v = x % 1, np.where(turned, 1 - y % 1, y % 1)
    distance = np.minimum(np.hypot(u, v), np.hypot(1 - u, 1 - v))
    return color(np.abs(distance - 0.5) * 2.5 % 1.0, colors)


FAMILIES: tuple[Callable[[Random, int], np.ndarray], ...] = (
    strokes, whirls, points, mosaic, facets, marble, watercolor, hatching, scales, fabric, splashes, stripes,
    wood, arcs,
)  # fmt: skip
