"""Photographs as targets of a projection: any file of any size to a square image of the generator's size."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from stylegen.data import alignment, imaging
from stylegen.errors import StylegenError
from stylegen.io.files import printable, split_paths, unique_names
from stylegen.io.image_listing import NoImagesError, list_images
from stylegen.paths import expanded
from stylegen.shapes import Shape

MAX_TARGETS = 256  # in one folder; each takes as long as an image of its own


class TargetError(StylegenError):
    """A target cannot be used; the message says why."""


@dataclass(frozen=True, eq=False)
class Target:
    """An image to project."""

    name: str  # of its file, without the extension
    image: np.ndarray  # uint8 [r, r, C]
    note: str  # how it was brought to this size, one sentence


def find_targets(text: str, say: Callable[[str], None] | None = None) -> list[Path]:
    """Files of a list of files and folders (see ``split_paths``).

    Of a folder, all images, nested ones too, in natural order.

    Args:
        text: the list.
        say: told of files in a folder that are no images.

    Raises:
        TargetError: one is not there, holds no images or too many.
    """
    paths: list[Path] = []
    for part in split_paths(text):
        path = expanded(part)
        if not part or not path.exists():
            raise TargetError(f"--target {part or text!r}: there is no such file or folder.")
        if path.is_file():
            paths.append(path)
            continue
        try:
            listing = list_images(path, recursive=True)
        except NoImagesError as error:
            raise TargetError(f"--target {error}") from error
        paths.extend(listing.files)
        if say is not None and listing.note:
            say(listing.note)
    if len(paths) > MAX_TARGETS:
        raise TargetError(f"--target {text}: {len(paths)} images are too many at once; give up to {MAX_TARGETS}.")
    return paths


def load_target(
    path: str | os.PathLike[str],
    size: int | Shape,
    channels: int,
    color: imaging.Color = "srgb",
    landmarks: alignment.Landmarks | None = None,
) -> Target:
    """Read an image, crop its center to the wanted proportions and resize it (Lanczos), as for training data.

    Gray becomes RGB and color becomes gray where the generator needs it. Transparency is laid on white if the generator
    has no alpha.

    Args:
        path: of any format that Pillow reads.
        size: pixels a side of the result, or its rows and columns.
        channels: of the generator.
        color: srgb converts by the image's ICC profile; as-is leaves that out.
        landmarks: align the image by its five points first, as FFHQ's images are.

    Raises:
        TargetError: it cannot be read, or is too large.
    """
    path = expanded(path)
    try:
        image = imaging.decode_file(path, channels, color)
    except imaging.UnreadableImageError as error:
        raise TargetError(f"{path}: cannot be used as an image: {error}.") from error
    except OSError as error:
        raise TargetError(f"{path}: cannot be read: {error.strerror or error}.") from error
    name = printable(path.name)
    if landmarks is None:
        note = f"{name}: {crop_note(image.size, size)}"
    else:
        side = max(imaging.sides(size))
        try:
            image = alignment.align(image, landmarks.of(path.name), side)
        except imaging.UnreadableImageError as error:
            raise TargetError(f"{path}: cannot be aligned: {error}.") from error
        note = f"{name}: aligned by its five points to {side}x{side} pixels."
    return Target(printable(path.stem), imaging.crop_and_resize(image, size, "center-crop"), note)


def crop_note(size: tuple[int, int], target: int | Shape) -> str:
    """A sentence on how an image of ``size`` = (width, height) is cropped and resized."""
    rows, columns = imaging.sides(target)
    _, _, width, height = imaging.centered_box(size, (rows, columns))
    text = f"{size[0]}x{size[1]} pixels"
    if (width, height) != size:
        wide = width < size[0]
        edges, cut = ("left and right", size[0] - width) if wide else ("top and bottom", size[1] - height)
        what = "the square" if rows == columns else f"{width}x{height}"
        text += f", {cut} cut off at {edges} together to leave {what} in the middle"
    if width == columns:
        return f"{text}, not resized."
    before, after = (width, columns) if rows == columns else (f"{width}x{height}", f"{columns}x{rows}")
    return f"{text}, {'enlarged' if width < columns else 'resized'} from {before} to {after}."


def load_targets(
    paths: Sequence[Path],
    size: int | Shape,
    channels: int,
    color: imaging.Color = "srgb",
    left_out: list[str] | None = None,
    landmarks: alignment.Landmarks | None = None,
) -> list[Target]:
    """Several targets, with names that differ; see ``load_target``.

    Args:
        paths: of the files.
        size: pixels a side of the results, or their rows and columns.
        channels: of the generator.
        color: of all of them.
        landmarks: by which they are aligned.
        left_out: if given, files that cannot be used are left out, as long as others can, and the reasons added here.

    Raises:
        TargetError: one of them cannot be used; with ``left_out``: none of them can.
    """
    targets: list[Target] = []
    used: list[Path] = []
    reasons: list[str] = []
    for path in paths:
        try:
            targets.append(load_target(path, size, channels, color, landmarks))
            used.append(path)
        except TargetError as error:
            if left_out is None:
                raise
            reasons.append(str(error))
    if not targets:
        raise TargetError(f"None of {len(paths):,} images can be used as a target; the first: {reasons[0]}")
    if left_out is not None:
        left_out += reasons
    return [replace(target, name=name) for target, name in zip(targets, target_names(used), strict=True)]


def target_names(paths: Sequence[Path]) -> list[str]:
    """The names of targets: those of their files, without the extension, made to differ."""
    return unique_names(printable(path.stem) for path in paths)
