"""A plot of metrics over kimg: a small panel for each, a line for each run, drawn with Pillow alone."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from stylegen.io.files import replacing

WIDTH, HEIGHT = 480, 300  # pixels of a panel
LEFT, RIGHT, TOP, BOTTOM = 72, 18, 34, 40  # margins of the axes in a panel
INK, GRID = (60, 60, 60), (225, 225, 225)
LINES = ((31, 119, 180), (214, 39, 40), (44, 160, 44), (148, 103, 189), (255, 127, 14), (23, 190, 207))
COLUMNS = 2
MAX_LABEL = 30  # letters of a label; of a longer one its end, which tells runs apart

Series = Sequence[tuple[float, float]]  # kimg and value


def save_plot(series: Mapping[str, Mapping[str, Series]], path: Path) -> None:
    """Draw a panel for each title, in it a line for each label, and write the plot; atomic.

    Args:
        series: by title and label, points in order of kimg; those that are not finite are left out. A panel with
            several lines has a legend.
        path: a .png.
    """
    panels = {}
    for title, lines in series.items():
        finite = {label: [(x, y) for x, y in points if math.isfinite(y)] for label, points in lines.items()}
        if any(finite.values()):
            panels[title] = {label: points for label, points in finite.items() if points}
    rows = math.ceil(len(panels) / COLUMNS)
    page = Image.new("RGB", (WIDTH * min(COLUMNS, max(len(panels), 1)), HEIGHT * max(rows, 1)), "white")
    for i, (title, lines) in enumerate(panels.items()):
        page.paste(_panel(title, lines), (i % COLUMNS * WIDTH, i // COLUMNS * HEIGHT))
    with replacing(path) as partial:
        page.save(partial)


def _panel(title: str, lines: Mapping[str, Series]) -> Image.Image:
    image = Image.new("RGB", (WIDTH, HEIGHT), "white")
    draw, font = ImageDraw.Draw(image), ImageFont.load_default(size=12)
    points = [point for line in lines.values() for point in line]
    x_ticks = ticks(0, max(x for x, _ in points))
    y_ticks = ticks(min(y for _, y in points), max(y for _, y in points))

    def to_pixels(x: float, y: float) -> tuple[float, float]:
        across = (x - x_ticks[0]) / (x_ticks[-1] - x_ticks[0])
        up = (y - y_ticks[0]) / (y_ticks[-1] - y_ticks[0])
        return LEFT + across * (WIDTH - LEFT - RIGHT), HEIGHT - BOTTOM - up * (HEIGHT - TOP - BOTTOM)

    for x in x_ticks:
        draw.line([to_pixels(x, y_ticks[0]), to_pixels(x, y_ticks[-1])], GRID)
        draw.text((to_pixels(x, 0)[0], HEIGHT - BOTTOM + 6), f"{x:g}", INK, font, anchor="mt")
    for y in y_ticks:
        draw.line([to_pixels(x_ticks[0], y), to_pixels(x_ticks[-1], y)], GRID)
        draw.text((LEFT - 6, to_pixels(0, y)[1]), f"{y:.6g}", INK, font, anchor="rm")
    draw.text((WIDTH / 2, 10), title, INK, ImageFont.load_default(size=14), anchor="mt")
    draw.text((WIDTH / 2, HEIGHT - 6), "kimg", INK, font, anchor="mb")
    for number, (label, line) in enumerate(lines.items()):
        color = LINES[number % len(LINES)]
        pixels = [to_pixels(x, y) for x, y in line]
        if len(pixels) > 1:
            draw.line(pixels, color, width=2, joint="curve")
        for x, y in pixels:
            draw.ellipse([x - 3, y - 3, x + 3, y + 3], fill=color)
        if len(lines) > 1:
            shown = label if len(label) <= MAX_LABEL else "…" + label[1 - MAX_LABEL :]
            draw.text((WIDTH - RIGHT, TOP + 15 * number), shown, color, font, anchor="ra")
    return image


def ticks(low: float, high: float, most: int = 6) -> list[float]:
    """Round numbers, evenly spaced, from at most ``low`` to at least ``high``; two or more."""
    if high <= low:
        low, high = low - max(abs(low), 1) / 2, high + max(abs(high), 1) / 2
    rough = (high - low) / (most - 1)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [i * step for i in range(first, last + 1)]
