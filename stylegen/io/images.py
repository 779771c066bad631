"""Images to files, and grids of uint8 images, plain or with labels along their edges."""

import io
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from stylegen.io.files import replacing

MODES = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}  # channels to Pillow's mode
# Pillow's own are JPEG's quality 75 with color at half the size, and WebP's quality 80.
_JPEG = {"quality": 95, "subsampling": "4:4:4"}
SAVE_OPTIONS: dict[str, dict[str, Any]] = {
    **dict.fromkeys((".jpg", ".jpeg", ".jpe", ".jfif"), _JPEG),
    ".webp": {"quality": 95, "method": 4},
    ".avif": {"quality": 95, "subsampling": "4:4:4"},
}
MAX_PIXELS = 178_956_970  # of an image, Pillow's own limit for a decompression bomb: 537 MB as RGB
COMFORTABLE_SIDE = 128  # pixels; smaller images are hard to see in a grid


def layout_hint(shape: Sequence[int]) -> str:
    """The rest of a sentence on images of a wrong shape: that channels come last, where they seem to come first.

    Args:
        shape: of [N, C, h, w] or [C, h, w].

    Returns:
        Text that begins with a semicolon; empty where the shape is wrong in another way.
    """
    if len(shape) not in (3, 4) or shape[-3] not in MODES or shape[-1] in MODES:
        return ""
    order = "0, 2, 3, 1" if len(shape) == 4 else "1, 2, 0"
    return f"; channels come last here: transpose it, array.transpose({order})"


def to_pil(image: np.ndarray) -> Image.Image:
    """A uint8 image [h, w, C] as gray, gray with alpha, RGB or RGBA for 1 to 4 channels."""
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] not in MODES:
        hint = layout_hint(image.shape)
        raise ValueError(f"an image is uint8 [h, w, 1 to 4], not {image.dtype} {image.shape}{hint}.")
    mode = MODES[image.shape[2]]
    return Image.frombytes(mode, (image.shape[1], image.shape[0]), np.ascontiguousarray(image).tobytes())


def on_white(pixels: np.ndarray) -> np.ndarray:
    """Images [..., h, w, 2 or 4] laid on white by their alpha, uint8 [..., h, w, 1 or 3]; others as they are."""
    if pixels.shape[-1] not in (2, 4):
        return pixels
    alpha = pixels[..., -1:].astype(np.float32) / 255
    shown: np.ndarray = np.rint(pixels[..., :-1] * alpha + 255 * (1 - alpha)).astype(np.uint8)
    return shown


def save_image(image: np.ndarray, path: str | os.PathLike[str]) -> None:
    """Write a uint8 image [h, w, C] as a file of the format that the extension names; atomic.

    Formats that lose something are written at high quality, JPEG with the color of every pixel.

    Args:
        image: uint8 [h, w, C], with 1 channel (gray), 2 (with alpha), 3 (RGB) or 4.
        path: of the file; its extension names the format.

    Raises:
        ValueError: there is no format of this extension.
        OSError: the file cannot be written.
    """
    suffix = Path(path).suffix.lower()
    data = encoded(to_pil(image), suffix, **SAVE_OPTIONS.get(suffix, {}))
    with replacing(path, durable=False) as partial:
        partial.write_bytes(data)


def encoded(image: Image.Image, suffix: str, **options: Any) -> bytes:
    """The file of an image, of the format that its ending names.

    Into memory, because Pillow's own writing of JPEG to a full disk leaves half a file and no error.

    Raises:
        ValueError: there is no format of this ending.
    """
    kind = Image.registered_extensions().get(suffix)
    if kind is None:
        raise ValueError(f"there is no image format for {suffix!r}.")
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def save_grid(images: np.ndarray, path: str | os.PathLike[str], columns: int | None = None, scale: int = 1) -> None:
    """Write uint8 images [n, h, w, C] as one grid; atomic.

    Args:
        images: uint8 [n, h, w, C].
        path: of the file; its extension names the format.
        columns: images in a row; about as many as rows if None.
        scale: enlargement of each pixel to a square of so many.

    Raises:
        ValueError: there is no format of this extension.
    """
    save_image(grid(images, columns, scale), path)


def grid(images: np.ndarray, columns: int | None = None, scale: int = 1) -> np.ndarray:
    """Images side by side, row by row, without gaps.

    Args:
        images: uint8 [n, h, w, C].
        columns: images in a row; about as many as rows if None. Missing ones at the end are white, or transparent.
        scale: enlargement of each pixel to a square of so many.

    Returns:
        uint8 [rows * h * scale, columns * w * scale, C].
    """
    n, h, w, channels = images.shape
    columns = grid_columns(n) if columns is None else columns
    rows = math.ceil(n / columns)
    blanks = np.broadcast_to(blank(channels), (rows * columns - n, h, w, channels))
    cells = np.concatenate([images, blanks]).reshape(rows, columns, h, w, channels)
    return enlarge(cells.transpose(0, 2, 1, 3, 4).reshape(rows * h, columns * w, channels), scale)


def grid_columns(n: int) -> int:
    """Columns of a grid of ``n`` images: one row of up to four, else about as many as rows."""
    return n if n <= 4 else math.ceil(math.sqrt(n))


def blank(channels: int) -> np.ndarray:
    """The pixel [channels] where there is no image: white, and transparent if there is an alpha channel."""
    pixel = np.full(channels, 255, np.uint8)
    if channels in (2, 4):
        pixel[-1] = 0
    return pixel


def enlarge(image: np.ndarray, scale: int) -> np.ndarray:
    """Each pixel of [..., h, w, C] as a square of scale x scale."""
    return image if scale == 1 else image.repeat(scale, axis=-3).repeat(scale, axis=-2)


def box_mean(images: np.ndarray, factor: int) -> np.ndarray:
    """Means of squares of factor x factor pixels, float32 [..., ceil(h / factor), ceil(w / factor), C].

    Args:
        images: [..., h, w, C] of any type.
        factor: pixels a side; the squares at the end may be incomplete, and are means of what they have.
    """
    h, w = images.shape[-3:-1]
    if h % factor == w % factor == 0:
        squares = images.reshape(*images.shape[:-3], h // factor, factor, w // factor, factor, images.shape[-1])
        means: np.ndarray = squares.mean(axis=(-4, -2), dtype=np.float32)
        return means
    rows, columns = np.arange(0, h, factor), np.arange(0, w, factor)
    sums = np.add.reduceat(np.add.reduceat(images.astype(np.float64), rows, axis=-3), columns, axis=-2)
    sides = [np.diff(np.append(starts, side)) for starts, side in ((rows, h), (columns, w))]
    return (sums / np.outer(*sides)[..., None]).astype(np.float32)


def comfortable_scale(side: int, smallest: int = COMFORTABLE_SIDE) -> int:
    """The smallest enlargement that makes an image of ``side`` pixels at least ``smallest``."""
    return max(1, math.ceil(smallest / side))


def labeled_grid(
    images: np.ndarray, row_labels: Sequence[str], column_labels: Sequence[str], scale: int = 1, gap: int = 0
) -> np.ndarray:
    """A table of images with a text at the left of each row and above each column.

    Args:
        images: uint8 [rows, columns, h, w, C].
        row_labels: a text for each row.
        column_labels: a text for each column.
        scale: enlargement of the images; the texts fit the result.
        gap: pixels of white that set the first row and the first column apart.

    Returns:
        uint8 image; its channels are those of the images.
    """
    rows, columns, h, w, channels = images.shape
    cell_h, cell_w = h * scale, w * scale
    font = ImageFont.load_default(size=max(10, min(28, cell_h // 7)))
    boxes = [font.getbbox(text) for text in [*row_labels, *column_labels]]
    pad = 6
    left = math.ceil(max(box[2] for box in boxes[:rows])) + 2 * pad
    top = math.ceil(max(box[3] for box in boxes[rows:])) + 2 * pad
    # A text wider than its column would run into the next one.
    step = max(cell_w, *(math.ceil(box[2]) + pad for box in boxes[rows:]))
    x = [left + j * step + gap * (j > 0) for j in range(columns)]
    y = [top + i * cell_h + gap * (i > 0) for i in range(rows)]
    canvas = Image.new("L", (x[-1] + step, y[-1] + cell_h), 255)
    draw = ImageDraw.Draw(canvas)
    for i, text in enumerate(row_labels):
        draw.text((left - pad, y[i] + cell_h / 2), text, fill=0, font=font, anchor="rm")
    for j, text in enumerate(column_labels):
        draw.text((x[j] + cell_w / 2, top / 2), text, fill=0, font=font, anchor="mm")
    page = np.asarray(canvas)[..., None].repeat(channels, axis=-1)
    if channels in (2, 4):
        page[..., -1] = 255
    for i, j in np.ndindex(rows, columns):
        page[y[i] : y[i] + cell_h, x[j] : x[j] + cell_w] = enlarge(images[i, j], scale)
    return page


def mixing_grid(row_images: np.ndarray, column_images: np.ndarray, mixed: np.ndarray) -> np.ndarray:
    """A style-mixing table: column sources along the top, row sources down the left, and a blank corner.

    Args:
        row_images: uint8 [rows, h, w, C].
        column_images: uint8 [columns, h, w, C].
        mixed: uint8 [rows, columns, h, w, C].

    Returns:
        uint8 [rows + 1, columns + 1, h, w, C].
    """
    corner = np.broadcast_to(blank(mixed.shape[-1]), mixed.shape[2:])[None, None]
    top = np.concatenate([corner, column_images[None]], axis=1)
    return np.concatenate([top, np.concatenate([row_images[:, None], mixed], axis=1)])
