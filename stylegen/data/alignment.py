"""Faces (or other subjects with eyes and a mouth) brought to one place by five points: the alignment of FFHQ.

The square is that of Karras et al. 2018 ("Progressive growing"), appendix C, with FFHQ's numbers (Karras et al. 2019,
appendix A): it turns with the eyes, and its size follows from the distance of the eyes, or of eyes and mouth. Where it
reaches beyond the image, the image is reflected, blurred more with the distance, and drawn to its median color. The
result is that of FFHQ's own script, to the bit where it does not shrink or reflect the image (both compared on two
photographs). Where it shrinks, it is half a shrunk pixel off, and this is not.

Points are pixels from the left and from the top of the image as one sees it, its EXIF orientation applied; 0 is the
middle of the first pixel. They are given by the user: nothing here finds them.
"""

import hashlib
import json
import math
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

import numpy as np
from PIL import Image, ImageFilter

from stylegen.data.imaging import UnreadableImageError, to_array
from stylegen.data.source import DataError
from stylegen.io.files import printable
from stylegen.paths import expanded
from stylegen.untrusted import FileError, json_text, shown
from stylegen.untrusted.limits import MAX_LABELS
from stylegen.untrusted.numbers import finite

POINTS = ("left eye", "right eye", "nose", "left corner of the mouth", "right corner of the mouth")  # as one sees them
_EYE_SCALE, _MOUTH_SCALE = 2.0, 1.8  # half a side, in distances of the eyes, or of eyes and mouth: the larger one
_DOWN = 0.1  # from the eyes to the middle of the square, in distances of eyes and mouth
_BORDER, _PAD, _BLUR = 0.1, 0.3, 0.02  # in sides: kept around the square; reflected beyond the image; of the blur
_LEAST_BORDER = 3  # pixels
_SUPERSAMPLING = 4  # pixels along each axis that are averaged to one
_LARGEST = 8  # sides of an image that the square may have
_MOST = 1e6  # of a coordinate


@dataclass(frozen=True)
class Landmarks:
    """The points of images by name."""

    source: str  # file
    points: dict[str, tuple[tuple[float, float], ...]]

    def of(self, key: str) -> np.ndarray:
        """The points [5, 2] of an image, by its path or by its name alone.

        Raises:
            UnreadableImageError: it has none.
        """
        points = self.points.get(key) or self.points.get(PurePosixPath(key).name)
        if points is None:
            raise UnreadableImageError(f"{self.source} has no points of it")
        return np.array(points)

    @property
    def digest(self) -> str:
        """A hash of all points."""
        text = json.dumps(self.points, sort_keys=True)
        return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:16]


def read_landmarks(path: str | os.PathLike[str]) -> Landmarks:
    """Points from a JSON file: ``{"a.png": [[x, y], ...five of them], ...}``, in the order of ``POINTS``.

    Raises:
        DataError: it cannot be read, or holds something else; names the file and the entry.
    """
    path = expanded(path)
    source = printable(path)
    try:
        with path.open("rb") as file:
            tree = json_text.parse(file.read(MAX_LABELS + 1), source, most=MAX_LABELS)
        if not isinstance(tree, dict):
            raise FileError(f"{source}: holds {shown(tree, 40)}; wanted {{file: [[x, y], ...]}}.")
        points = {name.replace("\\", "/"): _points(value, f"{source}: {shown(name)}") for name, value in tree.items()}
    except FileError as error:
        raise DataError(str(error)) from error
    except OSError as error:
        raise DataError(f"{source}: cannot be read ({error.strerror or error}).") from error
    return Landmarks(source, points)


def _points(value: Any, where: str) -> tuple[tuple[float, float], ...]:
    if not isinstance(value, list) or len(value) != len(POINTS):
        count = f"{len(value)} points" if isinstance(value, list) else shown(value)
        raise FileError(f"{where} has {count}; wanted five [x, y]: {', '.join(POINTS)}.")
    pairs = []
    for point, name in zip(value, POINTS, strict=True):
        if not isinstance(point, list) or len(point) != 2:
            raise FileError(f"{where}: its {name} is {shown(point)}; wanted [x, y] in pixels.")
        x, y = (finite(number, f"{where}: its {name}", -_MOST, _MOST) for number in point)
        pairs.append((x, y))
    return tuple(pairs)


def square(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The square of five points [5, 2]: its middle [2], and the vector [2] from there to the middle of its right side.

    Both are in pixels from the edge of the image, not from the middle of the first pixel.

    Raises:
        UnreadableImageError: the points are not those of a face.
    """
    left, right, _, mouth_left, mouth_right = np.asarray(points, np.float64)
    eyes, across = (left + right) / 2, right - left
    down = (mouth_left + mouth_right) / 2 - eyes
    direction = across + np.array([down[1], -down[0]])  # along the eyes, and square to the line to the mouth
    length = math.hypot(*direction)
    half = max(_EYE_SCALE * math.hypot(*across), _MOUTH_SCALE * math.hypot(*down))
    if length < 1e-3 * half or half < 1:
        raise UnreadableImageError("its five points are not those of eyes and a mouth")
    return eyes + _DOWN * down + 0.5, direction / length * half


def side_of(points: np.ndarray) -> float:
    """Pixels a side of the square in the image."""
    return 2 * math.hypot(*square(points)[1])


def align(image: Image.Image, points: np.ndarray, size: int) -> Image.Image:
    """The aligned square of an image, of ``size`` pixels a side.

    Args:
        image: L, LA, RGB or RGBA.
        points: [5, 2], see ``POINTS``.
        size: pixels a side.

    Raises:
        UnreadableImageError: the points are not those of a face in this image.
    """
    middle, right = square(points)
    side = 2 * math.hypot(*right)
    if side > _LARGEST * max(image.size) or not all(-n <= x <= 2 * n for x, n in zip(middle, image.size, strict=True)):
        raise UnreadableImageError(f"its five points do not fit its {image.width}x{image.height} pixels")
    if (factor := math.floor(side / size / 2)) > 1:  # far more pixels than are wanted
        image, middle, right, side = image.reduce(factor), middle / factor, right / factor, side / factor
    image, middle = _surrounded(image, middle, right, side)
    down = np.array([-right[1], right[0]])
    fine = size * _SUPERSAMPLING
    a, b = right * 2 / fine, down * 2 / fine  # of a pixel of the result
    corner = middle - right - down
    inverse = (a[0], b[0], corner[0], a[1], b[1], corner[1])
    large = image.transform((fine, fine), Image.Transform.AFFINE, inverse, Image.Resampling.BILINEAR)
    return large.resize((size, size), Image.Resampling.LANCZOS)


def _surrounded(
    image: Image.Image, middle: np.ndarray, right: np.ndarray, side: float
) -> tuple[Image.Image, np.ndarray]:
    """The part of the image around the square, reflected where it ends; and the square's middle in it."""
    reach = np.abs(right).sum()  # of the square from its middle, along each axis
    border = max(round(side * _BORDER), _LEAST_BORDER)
    low = np.floor(middle - reach).astype(int) - border
    high = np.ceil(middle + reach).astype(int) + border
    size = np.array(image.size)
    inside_low, inside_high = np.clip(low, 0, size - 1), np.clip(high, 1, size)
    part = to_array(image.crop((*inside_low.tolist(), *inside_high.tolist())))
    before, after = np.maximum(-low, 0), np.maximum(high - size, 0)
    if max(*before, *after) > border - 4:
        least = round(side * _PAD)
        before, after = np.maximum(before, least), np.maximum(after, least)
        part = _faded(part, before, after, side * _BLUR)
        inside_low = inside_low - before
    bands = image.getbands()
    return Image.fromarray(part[:, :, 0] if len(bands) == 1 else part), middle - inside_low


def _faded(part: np.ndarray, before: np.ndarray, after: np.ndarray, blur: float) -> np.ndarray:
    """uint8 [h, w, c] reflected by so many columns and rows on each side, ever more blurred and drawn to its median."""
    pads = [(before[1], after[1]), (before[0], after[0]), (0, 0)]
    padded = np.pad(part, pads, mode="symmetric")
    h, w = padded.shape[:2]
    rows, columns = (
        np.minimum(np.arange(n) / max(first, 1), np.arange(n)[::-1] / max(last, 1))
        for n, (first, last) in zip((h, w), pads, strict=False)
    )
    beyond = 1 - np.minimum(rows[:, None], columns[None, :])[..., None]  # 1 at the outer edge, 0 where the image begins
    bands = [
        np.asarray(Image.fromarray(padded[:, :, i]).filter(ImageFilter.GaussianBlur(blur)))
        for i in range(padded.shape[2])
    ]
    pixels = padded.astype(np.float32)
    pixels += (np.stack(bands, axis=-1) - pixels) * np.clip(3 * beyond + 1, 0, 1).astype(np.float32)
    pixels += (np.median(pixels, axis=(0, 1)) - pixels) * np.clip(beyond, 0, 1).astype(np.float32)
    faded: np.ndarray = np.clip(np.rint(pixels), 0, 255).astype(np.uint8)
    return faded


def matched(landmarks: Landmarks, keys: Sequence[str]) -> int:
    """How many of these images have points.

    Raises:
        DataError: a name alone stands for several of them.
    """
    by_name = Counter(name for key in keys if key not in landmarks.points and (name := PurePosixPath(key).name) != key)
    several = [name for name in by_name if name in landmarks.points and by_name[name] + (name in keys) > 1]
    if several:
        raise DataError(
            f"{landmarks.source}: {shown(several[0])} is the name of several images; give their paths below the folder."
        )
    return sum(key in landmarks.points or PurePosixPath(key).name in landmarks.points for key in keys)
