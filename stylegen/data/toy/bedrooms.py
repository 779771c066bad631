"""toy_bedrooms: procedurally drawn bedrooms of which every factor is known.

This file owns the factors (`Factors`), their random distribution, and the public functions;
`scene` paints a room, `shapes` the shapes it is made of.

An image is a function of (seed, index) alone. Its master is the drawing at max(resolution, 64)
pixels, in floating point and with analytic antialiasing. Every resolution up to 64 is the exact
2x2 box-mean pyramid of the 64-pixel master, rounded once at the end. 128 and 256 are drawn finer
from the same factors. Their box mean agrees with the 64-pixel master to within about a gray level
on average. (One 256-pixel master for everything would cost some twenty times as much.)
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from types import SimpleNamespace
from typing import Any

import numpy as np

from stylegen.data.toy import scene

# Raise it whenever the same factors or the same index give another image, so that no run resumes on other data.
DRAWING_VERSION = 1
RESOLUTIONS = (8, 16, 32, 64, 128, 256)
CLASS_NAMES: tuple[str, ...] = ("red", "yellow", "green", "teal", "blue", "purple")
NUM_CLASSES = len(CLASS_NAMES)
TIMES = ("day", "evening", "night")
LAMP_KINDS = ("table", "floor", "pendant")
REMOVABLE = tuple(scene.REMOVABLE)  # things in every room that `without` can leave out: bed, pillows, window
LAMP_SHARE = 0.7  # of images with a lamp
DICE = 112  # uniform numbers reserved for an image; a new factor, rolled last, leaves the others as they are

_MASTER = 64
_CHUNK_PIXELS = 256 * 64 * 64  # pixels drawn together: fewer cost more in calls, more in memory traffic
_HUES = np.array([24.0, 82.0, 148.0, 197.0, 258.0, 322.0])  # OKLCH hue of each class, degrees
_LIGHTNESS = np.array([0.60, 0.76, 0.62, 0.62, 0.55, 0.57])
_CHROMA = np.array([0.165, 0.145, 0.125, 0.095, 0.140, 0.150])

Color = tuple[float, float, float]
_Between = Callable[[float, float], np.ndarray]
_Chance = Callable[["float | np.ndarray"], np.ndarray]


@dataclass(frozen=True)
class Factors:
    """Everything that is known about one image.

    Colors are sRGB in [0, 1] in white light (evening and night tint them). Positions and sizes are
    fractions of the image, y pointing down, at the back wall, in the orientation with the bed to
    the left; `flip` mirrors the finished drawing. The ranges are those of `factors`; `draw` takes any.
    """

    bed_class: int  # hue of the bed, index into CLASS_NAMES
    flip: bool  # mirrored: bed to the right
    time: int  # index into TIMES
    vanish_x: float  # vanishing point (camera shift), 0.53 to 0.61
    vanish_y: float  # 0.06 to 0.15
    floor_y: float  # where the floor meets the back wall, 0.56 to 0.63
    corner_left: float  # room corners; beyond [0, 1] they are out of sight. -0.12 to 0.03
    corner_right: float  # 0.92 to 1.12
    wall: Color
    wall_stripes: bool
    floor: Color
    planks: bool  # wooden floor boards, else carpet
    plank_pitch: float  # width of a board, 0.05 to 0.08
    trim: Color  # skirting board and window frame
    bed: Color  # duvet; what bed_class names
    bed_left: float  # left edge at the head, 0.17 to 0.33
    bed_width: float  # at the head, 0.28 to 0.35
    bed_height: float  # of the mattress above the floor, 0.10 to 0.13
    bed_scale: float  # how much larger the foot appears than the head (length of the bed), 1.5 to 1.72
    bed_stripes: bool
    sheet: Color  # sheet and pillows
    wood: Color  # bed frame, headboard, bedside table
    arched: bool  # headboard arched, else square
    headboard: float  # top of the headboard above the mattress, 0.08 to 0.13
    pillows: int  # 1 or 2
    cushion: bool
    throw: bool  # blanket across the foot of the bed
    accent: Color  # throw, cushion and rug
    window_x: float  # center of the window, 0.58 to 0.86
    window_y: float  # 0.24 to 0.31
    window_width: float  # 0.19 to 0.27
    window_height: float  # 0.25 to 0.33
    sky_top: Color
    sky_bottom: Color
    orb_x: float  # sun or moon, fraction of the window from its left, 0.2 to 0.8
    orb_y: float  # from its top, 0.15 to 0.45
    curtains: bool
    curtain: Color
    lamp: bool
    lamp_kind: int  # index into LAMP_KINDS (meaningful only with lamp)
    lamp_on: bool
    lamp_x: float  # also of the bedside table, 0.05 to 0.23
    lamp_y: float  # center of the shade, 0.12 to 0.43
    shade: Color  # lamp shade
    table: bool  # bedside table
    rug: bool
    rug_x: float  # center, 0.64 to 0.82
    rug_y: float  # 0.78 to 0.86
    rug_width: float  # 0.38 to 0.55
    picture: bool  # framed picture above the bed
    plant: bool


def factors(index: int, seed: int = 0) -> Factors:
    """The known factors of image `index` >= 0 of the data set `seed` >= 0.

    Raises ValueError where either is negative.
    """
    table = _table(_dice([index], seed))
    return Factors(**{name: _plain(values[..., 0]) for name, values in vars(table).items()})


def factor_arrays(indices: Iterable[int], seed: int = 0) -> dict[str, np.ndarray]:
    """`factors` of many images, by the name of the field: [n], or [n, 3] for colors.

    Raises ValueError where an index or the seed is negative.
    """
    return {name: np.moveaxis(values, -1, 0) for name, values in vars(_table(_dice(list(indices), seed))).items()}


def draw(f: Factors, resolution: int, without: Collection[str] = ()) -> np.ndarray:
    """The image with these factors: float32 [resolution, resolution, 3] in [0, 255], not rounded.

    `without` leaves out things that every room has, of `REMOVABLE`: with the bed everything that lies on it, with the
    window the curtains and the sun on the floor.

    Raises ValueError unless resolution is 8, 16, 32, 64, 128 or 256, and where a thing cannot be left out.
    """
    _check(resolution, without)
    table = SimpleNamespace(**{x.name: np.moveaxis(np.array([getattr(f, x.name)]), 0, -1) for x in fields(Factors)})
    planes = scene.paint(table, max(resolution, _MASTER), without)
    return _to_images(_shrink(planes, resolution), table.flip)[0]


def render(indices: Iterable[int], resolution: int, seed: int = 0, without: Collection[str] = ()) -> np.ndarray:
    """Images `indices` as uint8 [n, resolution, resolution, 3]; `without` is that of `draw`.

    Raises ValueError unless resolution is 8, 16, 32, 64, 128 or 256, where an index or the seed is negative, and where
    a thing cannot be left out.
    """
    return pyramid(indices, (resolution,), seed, without)[resolution]


def pyramid(
    indices: Iterable[int], resolutions: Sequence[int], seed: int = 0, without: Collection[str] = ()
) -> dict[int, np.ndarray]:
    """Images `indices` at several resolutions at once: {r: uint8 [n, r, r, 3]}, equal to `render` at each.

    Raises ValueError unless every resolution is 8, 16, 32, 64, 128 or 256, where an index or the seed is negative, and
    where a thing cannot be left out.
    """
    for r in resolutions:
        _check(r, without)
    indices = list(indices)
    result = {r: np.empty((len(indices), r, r, 3), np.uint8) for r in resolutions}
    for master in sorted({max(r, _MASTER) for r in resolutions}, reverse=True):
        sizes = sorted((r for r in result if max(r, _MASTER) == master), reverse=True)
        chunk = max(1, _CHUNK_PIXELS // master**2)
        for start in range(0, len(indices), chunk):
            table = _table(_dice(indices[start : start + chunk], seed))
            planes = scene.paint(table, master, without)
            for r in sizes:
                planes = _shrink(planes, r)
                result[r][start : start + chunk] = _to_images(np.rint(planes).astype(np.uint8), table.flip)
    return result


def _check(resolution: int, without: Collection[str]) -> None:
    if resolution not in RESOLUTIONS:
        raise ValueError(f"toy_bedrooms is drawn at {', '.join(map(str, RESOLUTIONS))} pixels, not at {resolution}.")
    if unknown := set(without) - set(REMOVABLE):
        raise ValueError(f"a room is drawn without {', '.join(REMOVABLE)}, not without {', '.join(sorted(unknown))}.")


def _shrink(planes: np.ndarray, resolution: int) -> np.ndarray:
    """Halve [3, r, r, n] by 2x2 means down to `resolution`."""
    while planes.shape[1] > resolution:
        # Pairs in a row first: their sum does not depend on their order, so mirroring commutes with this.
        pairs = planes[:, :, 0::2] + planes[:, :, 1::2]
        planes = (pairs[:, 0::2] + pairs[:, 1::2]) * np.float32(0.25)
    return planes


def _to_images(planes: np.ndarray, flip: np.ndarray) -> np.ndarray:
    """[3, r, r, n] to [n, r, r, 3], mirrored where `flip`."""
    images = np.ascontiguousarray(planes.transpose(3, 1, 2, 0))
    images[flip] = images[flip][:, :, ::-1]
    return images


def _plain(value: np.ndarray) -> Any:
    return tuple(value.tolist()) if value.ndim else value.item()


def _dice(indices: Sequence[int], seed: int) -> np.ndarray:
    """Uniform numbers [DICE, n] in [0, 1); a column depends on its index and the seed alone."""
    if seed < 0 or any(i < 0 for i in indices):
        raise ValueError(f"toy_bedrooms counts from 0: got seed {seed} and, smallest, index {min(indices)}.")
    rolls = [np.random.Generator(np.random.Philox(key=(int(seed), int(i)))).random(DICE) for i in indices]
    return np.array(rolls).reshape(-1, DICE).T


def oklch(lightness: np.ndarray, chroma: np.ndarray, hue: np.ndarray) -> np.ndarray:
    """OKLCH (hue in degrees) to sRGB [3, n] in [0, 1], clipped to the gamut."""
    angle = np.deg2rad(hue)
    a, b = chroma * np.cos(angle), chroma * np.sin(angle)
    l = (lightness + 0.3963377774 * a + 0.2158037573 * b) ** 3  # noqa: E741
    m = (lightness - 0.1055613458 * a - 0.0638541728 * b) ** 3
    s = (lightness - 0.0894841775 * a - 1.2914855480 * b) ** 3
    linear = np.stack(
        [
            4.0767416621 * l - 3.3077115913 * m + 0.2309699292 * s,
            -1.2684380046 * l + 2.6097574011 * m - 0.3413193965 * s,
            -0.0041960863 * l - 0.7034186147 * m + 1.7076147010 * s,
        ]
    ).clip(0.0, 1.0)
    srgb = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    # Library cosines and powers may differ in the last bit from CPU to CPU; the rounding hides it.
    return np.round(srgb, 4)


def _apart(lightness: np.ndarray, bed_light: np.ndarray) -> np.ndarray:
    """`lightness`, moved where it would let the bed blend in with its surroundings."""
    gap = lightness - bed_light
    return np.where(np.abs(gap) < 0.14, bed_light + np.where(gap < 0.0, -0.14, 0.14), lightness)


def _table(dice: np.ndarray) -> SimpleNamespace:
    """All factors of a batch as arrays [n], colors [3, n]."""
    rolls: Iterator[np.ndarray] = iter(dice)

    def between(low: float, high: float) -> np.ndarray:
        return low + (high - low) * next(rolls)

    def chance(share: float | np.ndarray) -> np.ndarray:
        return next(rolls) < share

    t = SimpleNamespace()
    _roll_palette(t, between, chance)
    _roll_room(t, between, chance)
    _roll_furniture(t, between, chance)
    return t


def _roll_palette(t: SimpleNamespace, between: _Between, chance: _Chance) -> None:
    t.bed_class = np.floor(between(0.0, NUM_CLASSES)).astype(np.int64)
    hue = _HUES[t.bed_class] + between(-7.0, 7.0)
    bed_light = _LIGHTNESS[t.bed_class] + between(-0.03, 0.03)
    t.bed = oklch(bed_light, _CHROMA[t.bed_class] * between(0.85, 1.1), hue)
    # The wall is a quiet relative of the bed: its neighbor, its opposite, or a warm white.
    scheme = between(0.0, 1.0)
    relative = np.where(scheme < 0.35, hue + between(-45.0, 45.0), hue + 180.0 + between(-30.0, 30.0))
    wall_hue = np.where(scheme < 0.7, relative, between(50.0, 100.0))
    deep = chance(0.15)
    wall_light = _apart(np.where(deep, 0.74, between(0.84, 0.93)), bed_light)
    t.wall = oklch(wall_light, np.where(deep, 0.06, between(0.02, 0.055)), wall_hue)
    t.wall_stripes = chance(0.25)
    t.planks = chance(0.7)
    wood_light = np.where(chance(0.5), between(0.40, 0.48), between(0.72, 0.80))
    t.floor = oklch(
        _apart(np.where(t.planks, wood_light, between(0.70, 0.84)), bed_light),
        np.where(t.planks, between(0.045, 0.075), between(0.01, 0.03)),
        np.where(t.planks, between(48.0, 72.0), wall_hue + between(-60.0, 60.0)),
    )
    t.trim = oklch(between(0.93, 0.98), between(0.0, 0.015), between(60.0, 100.0))
    t.sheet = oklch(between(0.92, 0.985), between(0.0, 0.02), np.where(chance(0.5), hue, 85.0))
    t.wood = oklch(between(0.36, 0.62), between(0.05, 0.085), between(42.0, 70.0))
    accent_hue = hue + np.where(chance(0.5), 180.0, np.where(chance(0.5), 60.0, -60.0)) + between(-15.0, 15.0)
    t.accent = oklch(between(0.66, 0.80), between(0.055, 0.095), accent_hue)
    t.curtain = oklch(between(0.70, 0.90), between(0.03, 0.09), np.where(chance(0.5), accent_hue, hue))
    t.shade = oklch(between(0.62, 0.78), between(0.07, 0.12), np.where(chance(0.5), accent_hue, between(30.0, 90.0)))
    time = between(0.0, 1.0)
    t.time = np.where(time < 0.5, 0, np.where(time < 0.75, 1, 2))
    shift, bright = between(-12.0, 12.0), between(-0.03, 0.03)
    light, chroma, sky_hue = np.array([[0.74, 0.60, 0.25], [0.105, 0.10, 0.075], [240.0, 300.0, 272.0]])[:, t.time]
    t.sky_top = oklch(light + bright, chroma, sky_hue + shift)
    light, chroma, sky_hue = np.array([[0.92, 0.80, 0.42], [0.04, 0.13, 0.085], [225.0, 50.0, 278.0]])[:, t.time]
    t.sky_bottom = oklch(light + bright, chroma, sky_hue + shift)


def _roll_room(t: SimpleNamespace, between: _Between, chance: _Chance) -> None:
    t.flip = chance(0.5)
    t.vanish_x, t.vanish_y, t.floor_y = between(0.53, 0.61), between(0.06, 0.15), between(0.56, 0.63)
    t.corner_left = between(-0.12, 0.03)
    t.plank_pitch = between(0.05, 0.08)
    t.bed_scale, t.bed_width = between(1.5, 1.72), between(0.28, 0.35)
    # The foot of the bed is what must stay in the image, so it is placed and the head follows.
    t.bed_left = t.vanish_x + (between(0.0, 0.13) - t.vanish_x) / t.bed_scale
    t.bed_height, t.headboard = between(0.10, 0.13), between(0.08, 0.13)
    t.window_width, t.window_height = between(0.19, 0.27), between(0.25, 0.33)
    free = np.minimum(t.bed_left + t.bed_width + 0.03, 0.92 - t.window_width)
    t.window_x = free + t.window_width / 2 + between(0.0, 1.0) * (0.95 - t.window_width - free)
    t.window_y = between(0.24, 0.31)
    t.corner_right = np.maximum(between(0.92, 1.12), t.window_x + t.window_width / 2 + 0.02)
    t.orb_x, t.orb_y = between(0.2, 0.8), between(0.15, 0.45)
    t.curtains = chance(0.75)


def _roll_furniture(t: SimpleNamespace, between: _Between, chance: _Chance) -> None:
    t.bed_stripes, t.cushion, t.throw = chance(0.25), chance(0.4), chance(0.45)
    t.pillows, t.arched = np.where(chance(0.7), 2, 1), chance(0.5)
    t.lamp = chance(LAMP_SHARE)
    kind = between(0.0, 1.0)
    t.lamp_kind = np.where(kind < 0.55, 0, np.where(kind < 0.8, 1, 2))
    t.lamp_on = t.lamp & chance(np.array([0.35, 0.8, 0.92])[t.time])
    t.lamp_x = np.maximum(t.bed_left - between(0.105, 0.135), 0.055)
    table_lamp = t.floor_y - 0.205 - between(0.0, 0.02)
    t.lamp_y = np.choose(t.lamp_kind, [table_lamp, between(0.27, 0.31), between(0.12, 0.20)])
    t.table = np.where(t.lamp, (t.lamp_kind == 0) | ((t.lamp_kind == 2) & chance(0.6)), chance(0.6))
    t.rug = chance(0.7)
    t.rug_x, t.rug_y, t.rug_width = between(0.64, 0.82), between(0.78, 0.86), between(0.38, 0.55)
    t.picture = chance(0.65)
    t.plant = chance(0.3)
