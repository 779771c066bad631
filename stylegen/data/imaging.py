"""One image: foreign bytes to pixels, square crop, pyramid of 2x2 means, and the bytes that are stored."""

import functools
import io
import math
import warnings
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from stylegen.data.color_profiles import Color as Color  # with Crop and Encoding
from stylegen.data.color_profiles import to_srgb
from stylegen.errors import StylegenError
from stylegen.io.image_listing import reads_heif
from stylegen.io.images import MAX_PIXELS
from stylegen.shapes import Shape
from stylegen.untrusted import kinds
from stylegen.untrusted.limits import FREE_PIXELS, MAX_PIXELS_PER_BYTE

Crop = Literal["center-crop", "center-crop-wide"]
Encoding = Literal["raw", "jpeg", "lossless", "float32"]
MAX_BYTES = 2**29  # of a foreign image file, as it lies on disk or comes out of a zip
HUGE_PIXELS = 2**25  # larger ones are decoded at a reduced size where that is enough, and one at a time
RAW = ("raw", "float32")  # encodings of stored images that are plain numbers, which shards compress
_REDUCING_GAP = 3  # times what is needed that a reduced size still has, so that Lanczos does the rest
_REDUCIBLE = ("L", "LA", "RGB", "RGBA", "CMYK")  # modes
_MODES = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}  # by number of channels
_JPEG_QUALITY = 95
_BITS_PER_SAMPLE = 258  # tag of a TIFF
# As Pillow names them. It knows others, and finds them by content, whatever a file is called: EPS starts Ghostscript.
FORMATS = ("PNG", "JPEG", "MPO", "WEBP", "AVIF", "JPEG2000", "BMP", "DIB", "GIF", "TIFF", "PPM", "TGA", "HEIF")
_PNG = b"\x89PNG\r\n\x1a\n"


class UnreadableImageError(StylegenError):
    """The bytes are not an image that can be used."""


def decode(
    data: bytes,
    channels: int,
    *,
    color: Color = "srgb",
    smallest: int | None = None,
    huge: Callable[[tuple[int, int]], AbstractContextManager[None]] | None = None,
) -> Image.Image:
    """Decode any common image format and bring it to ``channels`` channels (see ``convert``).

    The format is sniffed, the EXIF orientation is applied, and of an animation the first frame is taken.

    Args:
        data: of the file.
        channels: of the result.
        color: srgb converts by the image's ICC profile; as-is takes its numbers as if they were sRGB.
        smallest: longer side of what is needed; an image of more than ``HUGE_PIXELS`` may come reduced to a shorter
            side of three times this: JPEG
            decodes fewer pixels, other formats are averaged before anything else is done.
        huge: called with width and height of an image of more than ``HUGE_PIXELS``, and held while it is in memory.

    Raises:
        UnreadableImageError: not an image, cut short, or too large to be honest.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's bomb warning comes below its limit; odd metadata is no matter
            image = _open(data)
            pixels = image.width * image.height
            if pixels > MAX_PIXELS:
                raise UnreadableImageError(f"{image.width}x{image.height} pixels are too many")
            if pixels > max(FREE_PIXELS, MAX_PIXELS_PER_BYTE * len(data)):
                raise UnreadableImageError(f"{image.width}x{image.height} pixels cannot be in {len(data):,} bytes")
            with huge(image.size) if huge is not None and pixels > HUGE_PIXELS else nullcontext():
                shorter = smallest * _REDUCING_GAP if smallest is not None and pixels > HUGE_PIXELS else None
                # In this order: what is made of an image has no longer its orientation, nor the tags of a TIFF.
                image = scale_gray(_load(image, shorter))
                if color == "srgb":
                    image = to_srgb(image)
                return convert(image, channels)
    except UnreadableImageError:
        raise
    except UnidentifiedImageError as error:
        what = kinds.sentence(data[: kinds.HEAD])
        raise UnreadableImageError(what or "no image, or none of a format that is read") from error
    except Exception as error:  # the codecs raise OSError, SyntaxError, struct.error, ... for what is the same to us
        raise UnreadableImageError(str(error) or type(error).__name__) from error


def decode_file(path: Path, channels: int, color: Color = "srgb") -> Image.Image:
    """As ``decode``, of a file, which is refused unread if it is too large for an image.

    Raises:
        UnreadableImageError: as ``decode``.
        OSError: it cannot be read.
    """
    if (count := path.stat().st_size) > MAX_BYTES:
        raise UnreadableImageError(f"{count / 1e9:.1f} GB are too large for an image")
    return decode(path.read_bytes(), channels, color=color)


def _open(data: bytes) -> Image.Image:
    try:
        return Image.open(io.BytesIO(data), formats=_formats())
    except ValueError:
        if not data.startswith(_PNG):
            raise
        # Of text Pillow reads one MB, and refuses more.
        return Image.open(io.BytesIO(_without_text(data)), formats=_formats())


@functools.cache
def _formats() -> list[str]:
    """The formats that are read, of those that this Pillow knows."""
    Image.init()
    if reads_heif():
        import pillow_heif

        pillow_heif.register_heif_opener()
    return [name for name in FORMATS if name in Image.OPEN]


def _without_text(data: bytes) -> bytes:
    """A PNG file without its chunks of text, such as the prompts and histories that some programs write there."""
    chunks, at = [_PNG], len(_PNG)
    while at + 12 <= len(data):
        end = at + 12 + int.from_bytes(data[at : at + 4], "big")  # length, kind, content, checksum
        if data[at + 4 : at + 8] not in (b"tEXt", b"zTXt", b"iTXt"):
            chunks.append(data[at:end])
        at = end
    return b"".join(chunks)


def _load(image: Image.Image, shorter: int | None) -> Image.Image:
    """Load an image and turn it as its orientation says.

    With ``shorter``, its shorter side has at least so many pixels, if there are so many, and not many more.
    """
    if shorter is not None and (scale := shorter / min(image.size)) < 1:
        image.draft(image.mode, (math.ceil(image.width * scale), math.ceil(image.height * scale)))  # JPEG alone
    image.load()
    ImageOps.exif_transpose(image, in_place=True)
    factor = min(image.size) // shorter if shorter is not None else 1
    return image.reduce(factor) if factor > 1 and image.mode in _REDUCIBLE else image


def scale_gray(image: Image.Image) -> Image.Image:
    """Gray of 12 or 16 bits a pixel as 8 bits, by the range that the file states; other images as they are.

    Raises:
        UnreadableImageError: the range is not known: 32 bits, floating point, or 16 bits of which hardly any are used.
    """
    if image.mode == "F":
        raise UnreadableImageError("floating-point pixels have no known range; scale them to 8 or 16 bits")
    if not image.mode.startswith("I"):
        return image
    bits = int(getattr(image, "tag_v2", {}).get(_BITS_PER_SAMPLE, (16,))[0])  # TIFF alone states it
    values = np.asarray(image)  # Pillow's own conversion would clip them at 255
    if bits > 16 or np.min(values) < 0 or np.max(values) >= 2**16:
        raise UnreadableImageError("gray of 32 bits has no known range; scale it to 8 or 16 bits")
    if bits == 16 and 0 < np.max(values) < 2**12:
        raise UnreadableImageError(
            f"gray of 16 bits with no value above {np.max(values):,}, which is nearly black; if it holds fewer bits,"
            " scale it to 16"
        )
    gray = Image.fromarray(np.rint(values.astype(np.float32) / np.float32((2**bits - 1) / 255)).astype(np.uint8))
    gray.info = dict(image.info)
    return gray


def convert(image: Image.Image, channels: int) -> Image.Image:
    """Bring an image of any mode to 1 (L), 2 (LA), 3 (RGB) or 4 (RGBA) channels.

    Color to gray is luma (ITU-R 601); gray to RGB repeats it. Transparency, where the target has no alpha, is laid on
    white, which is what a page shows behind it. Gray of more than 8 bits is scaled (see ``scale_gray``).
    """
    image = scale_gray(image)
    mode = _MODES[channels]
    if image.mode == mode:
        return image
    if channels in (1, 3) and image.has_transparency_data:
        rgba = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba).convert("RGB")
    if mode == "LA" and image.mode not in ("L", "LA", "1"):
        image = image.convert("RGBA")
        gray, alpha = image.convert("RGB").convert("L"), image.getchannel("A")
        return Image.merge("LA", (gray, alpha))
    return image.convert(mode)


def from_array(array: np.ndarray, channels: int) -> Image.Image:
    """An image from uint8 [h, w, c] with c from 1 to 4, brought to ``channels`` channels."""
    return convert(Image.fromarray(array[:, :, 0] if array.shape[2] == 1 else array), channels)


def to_array(image: Image.Image) -> np.ndarray:
    """uint8 [h, w, c] of an L, LA, RGB or RGBA image."""
    array = np.asarray(image)
    return array[:, :, None] if array.ndim == 2 else array


def is_upscaled(image: Image.Image, size: int | Shape, crop: Crop) -> bool:
    """Whether the image has fewer pixels than are asked of it: pixels a side, or rows and columns."""
    rows, columns = sides(size)
    if crop == "center-crop":
        return centered_box(image.size, (rows, columns))[2] < columns
    return _wide_box(image.size)[1] < columns


def sides(size: int | Shape) -> Shape:
    """Rows and columns of a size, which may be given as pixels a side."""
    return (size, size) if isinstance(size, int) else size


def centered_box(size: tuple[int, int], shape: Shape) -> tuple[int, int, int, int]:
    """Left, top, width and height of the largest box of a shape's proportions in the middle of an image.

    Args:
        size: of the image, width and height.
        shape: rows and columns.
    """
    width, height = size
    rows, columns = shape
    if width * rows >= height * columns:
        width = max(1, height * columns // rows)
    else:
        height = max(1, width * rows // columns)
    return (size[0] - width) // 2, (size[1] - height) // 2, width, height


def crop_and_resize(image: Image.Image, size: int | Shape, crop: Crop) -> np.ndarray:
    """Crop the center and resize with Pillow's Lanczos filter, as the original's dataset_tool did.

    Args:
        image: L, LA, RGB or RGBA.
        size: pixels a side of the result, or its rows and columns.
        crop: center-crop takes the largest part of the result's proportions, a square for squares; center-crop-wide
            takes 4:3 and puts it between black bars above and below, of a square.

    Returns:
        uint8 [rows, columns, c].
    """
    rows, resolution = sides(size)
    if crop == "center-crop":
        left, top, width, height = centered_box(image.size, (rows, resolution))
        return to_array(_resize(image.crop((left, top, left + width, top + height)), resolution, rows))
    # Differs from NVIDIA: theirs crops the height of the resized image out of the full-size one, which keeps the
    # proportions of a car only where the photograph happens to be as wide as the target.
    (left, top), width, height = _wide_box(image.size)
    wide = _resize(image.crop((left, top, left + width, top + height)), resolution, resolution * 3 // 4)
    canvas = np.zeros((resolution, resolution, len(image.getbands())), np.uint8)
    above = (resolution - wide.height) // 2
    canvas[above : above + wide.height] = to_array(wide)
    return canvas


def crop_and_resize_values(field: np.ndarray, size: int | Shape) -> np.ndarray:
    """As ``crop_and_resize`` with center-crop, of float32 [h, w, c] with any number of channels: float32."""
    rows, columns = sides(size)
    left, top, width, height = centered_box((field.shape[1], field.shape[0]), (rows, columns))
    part = field[top : top + height, left : left + width]
    channels = [
        _resize(Image.fromarray(np.ascontiguousarray(part[..., i])), columns, rows) for i in range(part.shape[2])
    ]
    return np.stack([np.asarray(channel) for channel in channels], axis=-1)


def _wide_box(size: tuple[int, int]) -> tuple[tuple[int, int], int, int]:
    """Corner, width and height of the largest centered 4:3 box."""
    width = min(size[0], round(size[1] * 4 / 3))
    height = min(size[1], max(1, round(width * 3 / 4)))
    return ((size[0] - width) // 2, (size[1] - height) // 2), width, height


def _resize(image: Image.Image, width: int, height: int) -> Image.Image:
    if image.size == (width, height):
        return image
    return image.resize((width, height), Image.Resampling.LANCZOS)


def pyramid_resolutions(resolution: int, start: int = 8) -> tuple[int, ...]:
    """Powers of two from ``start`` (or less, if the full one is) to ``resolution``."""
    first = min(start, resolution)
    return tuple(first << i for i in range(int(math.log2(resolution // first)) + 1))


def pyramid(image: np.ndarray, resolutions: Sequence[int], full: int | None = None) -> dict[int, np.ndarray]:
    """All levels of a pyramid by repeated 2x2 means.

    The means are taken of the unrounded level above, as the original's dataset_tool does; each level is rounded (half
    to even) only where it is handed out.

    Args:
        image: uint8 [h, w, c], or float32, of which nothing is rounded.
        resolutions: powers of two.
        full: resolution of the image; its rows if None, as of squares.

    Returns:
        By resolution, [r, r, c] of squares.
    """
    levels = {}
    colors = image.dtype == np.uint8
    level, size = image.astype(np.float32), full or image.shape[0]
    for resolution in sorted(resolutions, reverse=True):
        while size > resolution:
            level = (level[0::2, 0::2] + level[0::2, 1::2] + level[1::2, 0::2] + level[1::2, 1::2]) * np.float32(0.25)
            size //= 2
        levels[resolution] = np.rint(level).astype(np.uint8) if colors else level  # means of bytes need no clipping
    return levels


def encode_stored(image: np.ndarray, encoding: Encoding) -> bytes:
    """The bytes that are stored for uint8 [r, r, c].

    raw: the pixels; float32: those of arrays. jpeg: quality 95 without chroma subsampling, for 1 or 3 channels.
    lossless: WebP for RGB (a third smaller than PNG), PNG for 1 or 4 channels.
    """
    if encoding in RAW:
        return np.ascontiguousarray(image).tobytes()
    buffer = io.BytesIO()
    pil_image = Image.fromarray(image[:, :, 0] if image.shape[2] == 1 else image)
    if encoding == "jpeg":
        pil_image.save(buffer, "JPEG", quality=_JPEG_QUALITY, subsampling=0)
    elif image.shape[2] == 3:
        # The least effort: 5 ms and 63 kB for a photograph of 256 pixels, where the default takes 91 ms for 56 kB.
        pil_image.save(buffer, "WEBP", lossless=True, method=0, quality=0)
    else:
        pil_image.save(buffer, "PNG")
    return buffer.getvalue()


def decode_stored(data: bytes, channels: int) -> np.ndarray:
    """uint8 [r, r, c] from the bytes of ``encode_stored``, except raw ones.

    By OpenCV where it is installed (the extra ``opencv``), else by Pillow, which takes 1.4 times as long for
    images of 256 pixels and twice for 64 (CPU time, drawn rooms, AMD EPYC, 2026-11-27).
    """
    return stored_decoder()(data, channels)


@functools.cache
def stored_decoder() -> Callable[[bytes, int], np.ndarray]:
    """What ``decode_stored`` calls: chosen once, by whether OpenCV is installed."""
    try:
        import cv2
    except ImportError:
        return lambda data, channels: to_array(Image.open(io.BytesIO(data)).convert(_MODES[channels]))

    conversions = {3: cv2.COLOR_BGR2RGB, 4: cv2.COLOR_BGRA2RGBA}

    def by_cv2(data: bytes, channels: int) -> np.ndarray:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
        if image is None:
            raise UnreadableImageError("the stored image is damaged")
        return image[:, :, None] if channels == 1 else cv2.cvtColor(image, conversions[channels])

    return by_cv2
