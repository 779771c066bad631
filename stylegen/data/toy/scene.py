"""How a toy bedroom is painted: from arrays of factors to a batch of drawings, back to front.

The room is seen in one-point perspective. Things at the back wall have scale 1. Nearer to the viewer
they move away from the vanishing point in proportion to their scale. So faces that look at the viewer
stay rectangles, and those that recede become trapezoids.
"""

from __future__ import annotations

from collections.abc import Collection
from types import SimpleNamespace

import numpy as np

from stylegen.data.toy.shapes import (
    Canvas,
    Patch,
    bands,
    box,
    ellipse,
    glow,
    rounded_box,
    side_trapezoid,
    soft_box,
    trapezoid,
)

Array = np.ndarray

# Light on everything but sky and lamps, by time of day: day, evening, night.
_AMBIENT = np.array([[1.0, 1.0, 1.0], [1.0, 0.91, 0.86], [0.57, 0.61, 0.80]], np.float32).T
_PAINTS = ("wall", "floor", "trim", "bed", "sheet", "wood", "accent", "curtain", "shade")


def paint(factors: SimpleNamespace, resolution: int, without: Collection[str] = ()) -> Array:
    """Draw rooms: float32 [3, resolution, resolution, n] in [0, 255], all with the bed to the left.

    `factors` holds the fields of `bedrooms.Factors` as arrays, [n] for numbers and [3, n] for colors.
    `without` names what to leave out, of `REMOVABLE`.
    """
    t = _prepare(factors)
    canvas = Canvas(t.flip.shape[0], resolution)
    excluded = {layer for name in without for layer in REMOVABLE[name]}
    for layer in _LAYERS:
        if layer not in excluded:
            layer(canvas, t)
    planes = canvas.planes
    np.clip(planes, 0.0, 1.0, out=planes)
    planes *= 255.0
    return planes


def _prepare(factors: SimpleNamespace) -> SimpleNamespace:
    """Factors in float32, paints under the light of the hour, and the geometry several layers share."""
    t = SimpleNamespace(**{k: np.asarray(v) for k, v in vars(factors).items()})
    for name, value in vars(t).items():
        if value.dtype.kind != "i":
            setattr(t, name, value.astype(np.float32))
    t.ambient = _AMBIENT[:, t.time]
    for name in _PAINTS:
        setattr(t, name, getattr(t, name) * t.ambient)
    t.bright = np.array([1.0, 0.5, 0.15], np.float32)[t.time]  # strength of the light from the window
    t.lamp_on = t.lamp_on * t.lamp
    t.bed_right = t.bed_left + t.bed_width
    t.bed_top = t.floor_y - t.bed_height
    t.win = (
        t.window_x - t.window_width / 2,
        t.window_y - t.window_height / 2,
        t.window_x + t.window_width / 2,
        t.window_y + t.window_height / 2,
    )
    return t


def _across(t: SimpleNamespace, x: Array | float, scale: Array | float) -> Array:
    """Where a point of the back wall at `x` appears after coming forward to `scale`."""
    return t.vanish_x + (x - t.vanish_x) * scale


def _down(t: SimpleNamespace, y: Array | float, scale: Array | float) -> Array:
    return t.vanish_y + (y - t.vanish_y) * scale


def _rgb(red: float, green: float, blue: float) -> Array:
    """One color for all images, [3, 1]."""
    return np.array([[red], [green], [blue]], np.float32)


def _walls(canvas: Canvas, t: SimpleNamespace) -> None:
    """Back wall with its gradient and stripes, side walls, skirting board."""
    everywhere = slice(0, canvas.resolution)
    y = (canvas.pixels(everywhere) + 0.5) / canvas.resolution
    stripes = bands((canvas.borders(everywhere) + t.vanish_x) * 14.0, 0.5) * (t.wall_stripes * 0.045)
    x = (canvas.pixels(everywhere) + 0.5) / canvas.resolution
    away = np.minimum(np.abs(x - t.window_x), 0.8)
    light = (1.03 - 0.10 * away - stripes)[None] - (0.07 * y * y)[:, None]
    np.multiply(t.wall[:, None, None, :], light, out=canvas.planes)
    for corner, shade in ((t.corner_left, 0.95), (t.corner_right, 0.86)):
        left = corner < 0.5
        side = box(canvas, np.where(left, -1.0, corner), 0.0, np.where(left, corner, 2.0), 1.0)
        canvas.relight(side, shade - 1.0)
    canvas.paint(_ground(canvas, t, t.floor_y - 0.022), t.trim, t.trim * 0.9)


def _ground(canvas: Canvas, t: SimpleNamespace, y: Array) -> Patch:
    """The floor as seen when it lies at height `y` of the back wall."""
    scale = (1.0 - t.vanish_y) / (y - t.vanish_y)
    a, b = t.corner_left, t.corner_right
    return trapezoid(canvas, y, 1.0, (a, b), (_across(t, a, scale), _across(t, b, scale)))


def _floor(canvas: Canvas, t: SimpleNamespace) -> None:
    patch = _ground(canvas, t, t.floor_y)
    canvas.paint(patch, t.floor * 0.9, t.floor * 1.04)
    y = (canvas.pixels(patch.rows) + 0.5) / canvas.resolution
    u = _receding(canvas, t, patch, (t.floor_y - t.vanish_y) / np.maximum(y - t.vanish_y, 0.05)) / t.plank_pitch
    boards = bands(u * 0.5, 0.5) * 0.09
    boards += bands(u, 0.07) * 0.22
    boards += bands(u * 0.2 + 0.4, 0.4) * 0.06
    boards *= patch.mask
    canvas.relight(Patch(patch.rows, patch.cols, boards, 0.0, 1.0), -t.planks)
    # Contact shade along the wall.
    canvas.relight(soft_box(canvas, -0.2, t.floor_y, 1.2, t.floor_y + 0.02, 0.03), -0.12)


def _receding(canvas: Canvas, t: SimpleNamespace, patch: Patch, scale: Array) -> Array:
    """The pixels' vertical borders, followed back along lines to the vanishing point to the back wall."""
    # The offset keeps what is counted from there positive.
    return (canvas.borders(patch.cols) - t.vanish_x)[None] * scale[:, None, :] + 3.03


def _rug(canvas: Canvas, t: SimpleNamespace) -> None:
    rx = t.rug_width / 2
    ry = rx * 0.33
    canvas.relight(glow(canvas, t.rug_x, t.rug_y + 0.012, rx * 1.12, ry * 1.2), -0.3 * t.rug)
    for size, color in ((1.0, t.accent), (0.84, t.sheet * 0.95), (0.74, t.accent * 0.95), (0.3, t.accent * 1.08)):
        canvas.paint(ellipse(canvas, t.rug_x, t.rug_y, rx * size, ry * size), color, opacity=t.rug)


def _window(canvas: Canvas, t: SimpleNamespace) -> None:
    x0, y0, x1, y1 = t.win
    width, height = t.window_width, t.window_height
    canvas.relight(glow(canvas, t.window_x, t.window_y, width * 1.25, height * 1.1), 0.10 * t.bright)
    canvas.relight(soft_box(canvas, x0, y0 + 0.02, x1, y1 + 0.05, 0.05), -0.14)
    canvas.paint(box(canvas, x0 - 0.018, y0 - 0.018, x1 + 0.018, y1 + 0.018), t.trim, t.trim * 0.94)


def _sky(canvas: Canvas, t: SimpleNamespace) -> None:
    """The view: sky, sun or moon, stars by night, clouds by day, two hills."""
    x0, y0, x1, y1 = t.win
    width, height = t.window_width, t.window_height
    canvas.paint(box(canvas, x0, y0, x1, y1), t.sky_top, t.sky_bottom)
    day, night = (t.time == 0).astype(np.float32), (t.time == 2).astype(np.float32)
    pale = _rgb(1.0, 0.97, 0.86) * np.ones_like(t.bright)
    for i in range(5):
        x = x0 + width * (0.12 + 0.19 * i)
        y = y0 + height * (0.1 + 0.37 * ((i * 0.618 + t.orb_x * 3.0) % 1.0))
        canvas.paint(ellipse(canvas, x, y, 0.005, 0.005), pale, opacity=night * 0.9)
    x, y = x0 + width * t.orb_x, y0 + height * (t.orb_y + 0.25 * (t.time == 1).astype(np.float32))
    orb = np.array([[1.0, 0.95, 0.70], [1.0, 0.88, 0.62], [0.97, 0.96, 0.88]], np.float32)[t.time].T
    size = np.array([0.026, 0.034, 0.026], np.float32)[t.time]
    canvas.paint(ellipse(canvas, x, y, size, size, inside=t.win), orb)
    for dx, dy, rx, ry in ((0.25, 0.42, 0.26, 0.055), (0.36, 0.38, 0.15, 0.07), (0.78, 0.56, 0.22, 0.05)):
        cloud = ellipse(canvas, x0 + width * dx, y0 + height * dy, width * rx, height * ry, inside=t.win)
        canvas.paint(cloud, np.ones_like(pale), opacity=day * 0.8)
    for dx, rx, ry, green in ((0.15, 0.75, 0.30, 0.0), (0.9, 0.8, 0.22, 1.0)):
        land = _rgb(0.42 - 0.1 * green, 0.62 - 0.1 * green, 0.46 - 0.12 * green)
        land = land * t.ambient * (0.45 + 0.55 * t.ambient[1])
        hill = ellipse(canvas, x0 + width * dx, y1, width * rx, height * ry, inside=t.win)
        canvas.paint(hill, land)


def _window_bars(canvas: Canvas, t: SimpleNamespace) -> None:
    x0, y0, x1, y1 = t.win
    canvas.paint(box(canvas, t.window_x - 0.007, y0, t.window_x + 0.007, y1), t.trim * 0.97)
    across = y0 + t.window_height * 0.42
    canvas.paint(box(canvas, x0, across - 0.007, x1, across + 0.007), t.trim * 0.97)
    canvas.relight(box(canvas, x0, y0, x1, y0 + 0.01), -0.18)
    canvas.paint(box(canvas, x0 - 0.035, y1 + 0.014, x1 + 0.035, y1 + 0.034), t.trim * 1.02, t.trim * 0.86)


def _curtains(canvas: Canvas, t: SimpleNamespace) -> None:
    """Two curtains gathered a little towards their hem, and the rod they hang from."""
    x0, y0, x1, y1 = t.win
    top, hem, shown = y0 - 0.035, y1 + 0.075, t.curtains
    wide, narrow = t.window_width * 0.30, t.window_width * 0.20
    left = trapezoid(canvas, top, hem, (x0 - 0.045, x0 - 0.045 + wide), (x0 - 0.05, x0 - 0.05 + narrow))
    right = trapezoid(canvas, top, hem, (x1 + 0.045 - wide, x1 + 0.045), (x1 + 0.05 - narrow, x1 + 0.05))
    for patch, start in ((left, x0), (right, x1)):
        canvas.paint(patch, t.curtain, t.curtain * 0.9, opacity=shown)
        folds = patch.mask * bands((canvas.borders(patch.cols) - start) * 52.0 + 20.0, 0.45)[None]
        canvas.relight(Patch(patch.rows, patch.cols, folds, 0.0, 1.0), -0.11 * shown)
    canvas.paint(box(canvas, x0 - 0.065, top - 0.012, x1 + 0.065, top), t.wood * 0.8, opacity=shown)
    for end in (x0 - 0.065, x1 + 0.065):
        canvas.paint(ellipse(canvas, end, top - 0.006, 0.011, 0.011), t.wood * 0.8, opacity=shown)


def _picture(canvas: Canvas, t: SimpleNamespace) -> None:
    """A framed landscape above the headboard."""
    x = t.bed_left + t.bed_width * 0.55
    y = t.bed_top - t.headboard - 0.135
    rx, ry, shown = t.bed_width * 0.27, 0.072, t.picture
    canvas.relight(soft_box(canvas, x - rx, y - ry + 0.02, x + rx, y + ry + 0.02, 0.03), -0.2 * shown)
    canvas.paint(box(canvas, x - rx, y - ry, x + rx, y + ry), t.wood * 0.9, opacity=shown)
    canvas.paint(box(canvas, x - rx + 0.012, y - ry + 0.012, x + rx - 0.012, y + ry - 0.012), t.sheet, opacity=shown)
    art = (x - rx + 0.028, y - ry + 0.028, x + rx - 0.028, y + ry - 0.028)
    canvas.paint(box(canvas, *art), t.accent * 0.5 + t.sheet * 0.5, t.sheet, opacity=shown)
    canvas.paint(ellipse(canvas, x + rx * 0.25, y - ry * 0.1, 0.016, 0.016, inside=art), t.shade, opacity=shown)
    for dx, size, color in ((-0.35, 0.6, t.bed), (0.4, 0.45, t.accent * 0.8)):
        hill = ellipse(canvas, x + rx * dx, y + ry * 0.65, rx * 0.8, ry * size, inside=art)
        canvas.paint(hill, color, opacity=shown)


def _plant(canvas: Canvas, t: SimpleNamespace) -> None:
    """A potted plant on the floor by the far wall, right of the window's middle."""
    x, y, shown = np.minimum(t.corner_right - 0.07, 0.92), t.floor_y + 0.055, t.plant
    canvas.relight(glow(canvas, x, y, 0.09, 0.028), -0.4 * shown)
    green = _rgb(0.30, 0.52, 0.34) * t.ambient
    for dx, dy, rx, ry, shade in (
        (-0.055, -0.155, 0.042, 0.032, 0.85),
        (0.055, -0.165, 0.042, 0.032, 0.9),
        (-0.03, -0.205, 0.034, 0.042, 1.0),
        (0.032, -0.22, 0.034, 0.045, 1.08),
        (0.0, -0.165, 0.038, 0.045, 1.16),
    ):
        canvas.paint(ellipse(canvas, x + dx, y + dy, rx, ry), green * shade, opacity=shown)
    pot = trapezoid(canvas, y - 0.125, y, (x - 0.045, x + 0.045), (x - 0.032, x + 0.032))
    canvas.paint(pot, t.sheet * 0.95, t.sheet * 0.78, opacity=shown)


def _table(canvas: Canvas, t: SimpleNamespace) -> None:
    """A bedside table: top, front with a drawer and its knob, legs."""
    x, shown, near = t.lamp_x, t.table, 1.16
    x0, x1 = _across(t, x - 0.065, near), _across(t, x + 0.065, near)
    top, foot = t.floor_y - 0.105, _down(t, t.floor_y, near)
    y0, y1 = _down(t, top, near), foot - 0.03
    canvas.relight(soft_box(canvas, x0 + 0.01, foot - 0.03, x1 + 0.03, foot + 0.01, 0.04), -0.35 * shown)
    for leg in (x0 + 0.006, x1 - 0.022):
        canvas.paint(box(canvas, leg, y1, leg + 0.016, foot), t.wood * 0.6, opacity=shown)
    lid = trapezoid(canvas, top, y0, (x - 0.065, x + 0.065), (x0, x1))
    canvas.paint(lid, t.wood * 1.15, t.wood * 1.25, opacity=shown)
    canvas.paint(box(canvas, x0, y0, x1, y1), t.wood * 0.92, t.wood * 0.8, opacity=shown)
    middle = (y0 + y1) / 2
    canvas.paint(box(canvas, x0 + 0.012, middle - 0.003, x1 - 0.012, middle + 0.003), t.wood * 0.6, opacity=shown)
    knob = ellipse(canvas, (x0 + x1) / 2, (y0 + middle) / 2, 0.008, 0.008)
    canvas.paint(knob, t.shade, opacity=shown)


def _lamp_stand(canvas: Canvas, t: SimpleNamespace) -> None:
    """What carries the shade: a vase on the table, a pole on the floor, or a cord from the ceiling."""
    x, y = t.lamp_x, t.lamp_y
    table, floor, pendant = (t.lamp * (t.lamp_kind == kind).astype(np.float32) for kind in range(3))
    top = t.floor_y - 0.095
    canvas.paint(box(canvas, x - 0.006, y, x + 0.006, top), t.wood * 0.7, opacity=table)
    canvas.paint(ellipse(canvas, x, top - 0.026, 0.024, 0.032), t.accent, t.accent * 0.75, opacity=table)
    foot = t.floor_y + 0.035
    canvas.relight(glow(canvas, x, foot, 0.08, 0.02), -0.35 * floor)
    canvas.paint(box(canvas, x - 0.006, y, x + 0.006, foot), t.wood * 0.55, opacity=floor)
    canvas.paint(ellipse(canvas, x, foot, 0.042, 0.012), t.wood * 0.6, opacity=floor)
    canvas.paint(box(canvas, x - 0.004, 0.0, x + 0.004, y), t.wood * 0.5, opacity=pendant)


def _sunbeam(canvas: Canvas, t: SimpleNamespace) -> None:
    """The window's two halves drawn on the floor by the sun."""
    x0, _, x1, _ = t.win
    y0, y1 = t.floor_y + 0.075, t.floor_y + 0.225
    gain = (0.25 * t.bright) * _rgb(1.0, 0.92, 0.72)
    for a, b in ((x0, t.window_x - 0.008), (t.window_x + 0.008, x1)):
        upper = _across(t, a, 1.04) - 0.05, _across(t, b, 1.04) - 0.05
        lower = _across(t, a, 1.2) - 0.14, _across(t, b, 1.2) - 0.14
        canvas.relight(trapezoid(canvas, y0, y1, upper, lower), gain)


def _headboard(canvas: Canvas, t: SimpleNamespace) -> None:
    """Arched or square, with an inner panel and the shadow it throws on the wall."""
    x0, x1, y0 = t.bed_left - 0.016, t.bed_right + 0.016, t.bed_top - t.headboard
    x, wide, high = (x0 + x1) / 2, (x1 - x0) / 2, t.headboard + t.bed_height
    square = 1.0 - t.arched
    for dx, dy, ink in ((-0.018, 0.012, None), (0.0, 0.0, 1.1)):
        arch = ellipse(canvas, x + dx, y0 + high + dy, wide, high, True, inside=(x0 - 0.1, y0, x1, t.floor_y))
        board = rounded_box(canvas, x0 + dx, y0 + dy + 0.01, x1 + dx, t.floor_y, 0.022)
        for patch, shown in ((arch, t.arched), (board, square)):
            if ink is None:
                canvas.relight(patch, -0.22 * shown)
            else:
                canvas.paint(patch, t.wood * ink, t.wood * 0.7, opacity=shown)
    panel = ellipse(canvas, x, y0 + high + 0.018, wide - 0.018, high, True, inside=(x0, y0, x1, t.floor_y))
    canvas.relight(panel, 0.14 * t.arched)
    for side in (-1.0, 1.0):
        middle = x + side * wide * 0.47
        inset = rounded_box(canvas, middle - wide * 0.4, y0 + 0.026, middle + wide * 0.4, t.floor_y, 0.012)
        canvas.relight(inset, 0.16 * square)


def _bed_frame(canvas: Canvas, t: SimpleNamespace) -> None:
    """Shadow on the floor, legs and rails."""
    s = t.bed_scale
    x0, x1 = _across(t, t.bed_left, s), _across(t, t.bed_right, s)
    foot = _down(t, t.floor_y, s)
    for spread in (0.0, 0.012, 0.024):
        ends = (t.bed_left, t.bed_right + spread * 0.5), (x0 - spread, x1 + spread)
        canvas.relight(trapezoid(canvas, t.floor_y, foot + spread * 0.7, *ends), -0.13)
    canvas.relight(soft_box(canvas, x0, foot - 0.07, x1 + 0.01, foot + 0.005, 0.04), -0.4)
    for leg in (x0 + 0.012, x1 - 0.04):
        canvas.paint(box(canvas, leg, foot - 0.06, leg + 0.028, foot), t.wood * 0.5)
    high, low = t.floor_y - 0.055, t.floor_y - 0.022
    near = _down(t, high, s), _down(t, low, s)
    canvas.paint(side_trapezoid(canvas, x1, t.bed_right, near, (high, low)), t.wood * 0.75)
    canvas.paint(box(canvas, x0, near[0] - 0.01, x1, near[1]), t.wood, t.wood * 0.8)


def _bedding(canvas: Canvas, t: SimpleNamespace) -> None:
    """Sheet, duvet with its turned-down edge, throw."""
    s = t.bed_scale
    _cover(canvas, t, (1.0, 1.3), t.floor_y - 0.045, t.sheet * 0.92, 0.0)
    x0, x1 = _across(t, t.bed_left - 0.005, s), _across(t, t.bed_right + 0.008, s)
    y0, y1 = _down(t, t.bed_top - 0.008, s), _down(t, t.floor_y - 0.042, s)
    # The front reaches up behind the top, whose slanting edges leave it rounded shoulders.
    front = rounded_box(canvas, x0, y0 - 0.026, x1, y1, 0.024)
    canvas.paint(front, t.bed * 0.95, t.bed * 0.70)
    _stripes(canvas, t, front, np.ones_like(canvas.pixels(front.rows)) / s)
    edges = canvas.borders(front.cols)
    folds = bands((edges - x0) * 17.0 + 9.3, 0.3) + bands((edges - x0) * 9.0 + 9.6, 0.25)
    canvas.relight(Patch(front.rows, front.cols, front.mask * folds[None], y0, y1), -0.06)
    top = _cover(canvas, t, (1.17, s), t.floor_y - 0.042, t.bed, 0.008)
    centers = (canvas.pixels(top.rows) + 0.5) / canvas.resolution
    _stripes(canvas, t, top, (t.bed_top - t.vanish_y) / np.maximum(centers - t.vanish_y, 0.05))
    canvas.relight(soft_box(canvas, x0 + 0.01, y0 - 0.012, x1 - 0.01, y0 + 0.008, 0.025), 0.12)
    for position, size, gain in ((0.3, 0.3, 0.07), (0.72, 0.22, 0.05), (0.5, 0.16, -0.05)):
        x, y = x0 + (x1 - x0) * position, y0 - (0.11 if position < 0.6 else 0.07)
        canvas.relight(glow(canvas, x, y, (x1 - x0) * size, 0.06), gain)
    _cover(canvas, t, (1.16, 1.265), t.floor_y - 0.062, t.bed * 0.72, 0.009)
    _cover(canvas, t, (1.14, 1.25), t.floor_y - 0.065, t.bed * 0.3 + t.sheet * 0.7, 0.012)
    band = 1.0 + (s - 1.0) * 0.62, 1.0 + (s - 1.0) * 0.88
    _cover(canvas, t, band, t.floor_y - 0.05, t.accent * 0.95, 0.012, t.throw)


def _cover(
    canvas: Canvas,
    t: SimpleNamespace,
    reach: tuple[Array | float, Array | float],
    low: Array,
    color: Array,
    drape: float,
    shown: Array | None = None,
) -> Patch:
    """Cloth over the bed between two scales: the top, which is returned, and the right side down to `low`."""
    a, b, y = t.bed_left - drape * 0.6, t.bed_right + drape, t.bed_top - drape
    near, far = ((_across(t, a, s), _across(t, b, s), _down(t, y, s), _down(t, low, s)) for s in reach)
    side = side_trapezoid(canvas, far[1], near[1], far[2:], near[2:])
    canvas.paint(side, color * 0.92, color * 0.76, opacity=shown)
    top = trapezoid(canvas, near[2], far[2], near[:2], far[:2])
    canvas.paint(top, color, color * 1.06, opacity=shown)
    return top


def _stripes(canvas: Canvas, t: SimpleNamespace, patch: Patch, scale: Array) -> None:
    """Stripes that run along the bed; `scale` [rows, 1 or n] takes the patch's rows back to the wall."""
    lines = bands(_receding(canvas, t, patch, scale) * 19.0, 0.4)
    lines *= patch.mask
    ink = t.bed * 0.5 + t.sheet * 0.5
    canvas.paint(Patch(patch.rows, patch.cols, lines, 0.0, 1.0), ink, opacity=0.75 * t.bed_stripes)


def _pillows(canvas: Canvas, t: SimpleNamespace) -> None:
    y = t.bed_top + 0.004
    two = (t.pillows == 2).astype(np.float32)
    middle = (t.bed_left + t.bed_right) / 2
    rx, ry = t.bed_width * (0.36 - 0.13 * two), 0.046
    canvas.relight(glow(canvas, middle, y + 0.04, t.bed_width * 0.55, 0.045), -0.25)
    for side, shown in ((-1.0, np.ones_like(two)), (1.0, two)):
        x = middle + side * two * t.bed_width * 0.245
        pillow = ellipse(canvas, x, y, rx, ry, square=True)
        canvas.paint(pillow, t.sheet * 1.03, t.sheet * 0.84, opacity=shown)
        canvas.relight(glow(canvas, x, y - 0.008, rx * 0.7, ry * 0.6), 0.07 * shown)


def _cushion(canvas: Canvas, t: SimpleNamespace) -> None:
    y, middle = t.bed_top + 0.004, (t.bed_left + t.bed_right) / 2
    cushion = ellipse(canvas, middle, y + 0.03, 0.05, 0.034, square=True)
    canvas.relight(glow(canvas, middle, y + 0.042, 0.075, 0.04), -0.22 * t.cushion)
    canvas.paint(cushion, t.accent * 1.05, t.accent * 0.8, opacity=t.cushion)


def _lamplight(canvas: Canvas, t: SimpleNamespace) -> None:
    """The warm light of a burning lamp on everything around it; it counts for more in a darker room."""
    lamplight = _rgb(1.0, 0.80, 0.45)
    gain = np.array([0.08, 0.22, 0.80], np.float32)[t.time] * t.lamp_on
    wide = glow(canvas, t.lamp_x, t.lamp_y, 0.62, 0.55)
    canvas.relight(wide, lamplight * gain)
    close = glow(canvas, t.lamp_x, t.lamp_y, 0.2, 0.19)
    canvas.paint(close, lamplight * 1.15, opacity=0.5 * t.lamp_on)


def _lamp_shade(canvas: Canvas, t: SimpleNamespace) -> None:
    x, y = t.lamp_x, t.lamp_y
    lit = _rgb(1.0, 0.93, 0.68) * t.lamp_on + t.shade * (1.0 - t.lamp_on)
    dim = _rgb(1.0, 0.80, 0.45) * t.lamp_on + t.shade * (0.85 * (1.0 - t.lamp_on))
    pendant = t.lamp * (t.lamp_kind == 2).astype(np.float32)
    cone = trapezoid(canvas, y - 0.05, y + 0.05, (x - 0.04, x + 0.04), (x - 0.07, x + 0.07))
    canvas.paint(cone, dim, lit, opacity=t.lamp - pendant)
    dome = ellipse(canvas, x, y + 0.035, 0.08, 0.08, inside=(x - 0.1, y - 0.1, x + 0.1, y + 0.035))
    canvas.paint(dome, dim, lit, opacity=pendant)


_LAYERS = (
    _walls,
    _floor,
    _rug,
    _sunbeam,
    _window,
    _sky,
    _window_bars,
    _curtains,
    _picture,
    _plant,
    _table,
    _lamp_stand,
    _headboard,
    _bed_frame,
    _bedding,
    _pillows,
    _cushion,
    _lamplight,
    _lamp_shade,
)
# Things that every room has and that can be left out, each with the layers that go with it.
REMOVABLE = {
    "bed": (_headboard, _bed_frame, _bedding, _pillows, _cushion),
    "pillows": (_pillows,),
    "window": (_sunbeam, _window, _sky, _window_bars, _curtains),
}
