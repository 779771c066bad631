"""Sizes of images: a power of two times a small constant, 4x4 for squares.

A network of resolution r, a power of two from 4 up, makes images of r/4 times as many rows and columns as its learned
constant has. With the usual constant of 4x4 they are squares of r pixels; with one of 4x8 (rows x columns) they are
twice as wide as high. Everything that is named after a resolution (blocks, stages, layers) keeps its name.

On the command line and in messages a size is WIDTHxHEIGHT, as in 512x384; in arrays it is (rows, columns).
"""

import re

Shape = tuple[int, int]  # rows and columns
SQUARE: Shape = (4, 4)
SMALLEST, LARGEST = 2, 32  # sides of a constant; 16:9 is 9x16, 640x480 is 15x20
COMFORTABLE = 4  # the shorter side of a constant is from this to one below twice this, if there is a choice
MAX_SIDE = 2048  # pixels of the longer side of an image


def shape_at(resolution: int, const: Shape = SQUARE) -> Shape:
    """Rows and columns of the images of a resolution."""
    return resolution * const[0] // 4, resolution * const[1] // 4


def resolution_of(rows: int, const: Shape = SQUARE) -> int:
    """The resolution whose images have so many rows; any number where there is none."""
    return rows * 4 // const[0]


def size_text(resolution: int, const: Shape = SQUARE) -> str:
    """The size of images for people: 256 pixels for squares, 512x384 for others."""
    rows, columns = shape_at(resolution, const)
    return str(rows) if rows == columns else f"{columns}x{rows}"


def split(width: int, height: int) -> tuple[int, Shape] | None:
    """The resolution and the constant of images of a size; None if there are none.

    Both sides are halved as long as they are even and the shorter one stays at 4 or more.
    """
    factor, columns, rows = 1, width, height
    while columns % 2 == rows % 2 == 0 and min(columns, rows) >= 2 * COMFORTABLE:
        factor, columns, rows = 2 * factor, columns // 2, rows // 2
    fits = min(columns, rows) >= SMALLEST and max(columns, rows) <= LARGEST and max(width, height) <= MAX_SIDE
    return (4 * factor, (rows, columns)) if fits else None


def parse(text: str) -> tuple[int, Shape] | str:
    """A size as people write it, ``256`` or ``512x384``: its resolution and constant, or why there are none."""
    sides = re.fullmatch(r"([0-9]{1,9})(?:[x, ]([0-9]{1,9}))?", text.strip())
    if sides is None:
        return "must be a power of two, for example 256, or WIDTHxHEIGHT, for example 512x384"
    width, height = int(sides[1]), int(sides[2] or sides[1])
    if width == height:
        return width, SQUARE
    if (found := split(width, height)) is None:
        return (
            f"must be a power of two times small numbers, up to {LARGEST}, and at most {MAX_SIDE} pixels a side;"
            f" near it is {_near(width, height)}"
        )
    return found


def _near(width: int, height: int) -> str:
    """The size nearest to one that cannot be."""
    best: tuple[float, str] = (float("inf"), "512x384")
    for level in range(9):
        columns, rows = (min(max(round(side / 2**level), SMALLEST), LARGEST) for side in (width, height))
        w, h = columns << level, rows << level
        if max(w, h) <= MAX_SIDE and split(w, h) is not None:
            best = min(best, (abs(w - width) / max(width, 1) + abs(h - height) / max(height, 1), f"{w}x{h}"))
    return best[1]
