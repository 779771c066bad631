"""Images that a page uploads: bounded in bytes and pixels before anything is decoded."""

import io
import itertools
import threading
from dataclasses import dataclass

import numpy as np
from PIL import Image, UnidentifiedImageError

from stylegen.data import imaging
from stylegen.explorer import ExploreError, limits
from stylegen.projection.targets import crop_note

MAX_PIXELS = 40_000_000  # of an image, looked at before it is decoded
FORMATS = ("PNG", "JPEG", "WEBP")
KEPT_SIDE = 2048  # pixels; larger images are kept smaller
MAX_KEPT = 16  # images; the oldest goes first


@dataclass(frozen=True, eq=False)
class Upload:
    """An image that was uploaded."""

    number: int
    image: Image.Image  # RGB, at most KEPT_SIDE a side

    def target(self, resolution: int, channels: int) -> np.ndarray:
        """The square in the middle, uint8 [r, r, C], as ``project`` takes targets."""
        image = imaging.convert(self.image, channels)
        return imaging.crop_and_resize(image, resolution, "center-crop")

    def note(self, resolution: int) -> str:
        """A sentence on what ``target`` cuts off."""
        return crop_note(self.image.size, resolution)

    def pixels(self, side: int) -> np.ndarray:
        """The whole image, made smaller so that no side is longer than ``side``: uint8 [h, w, 3]."""
        image = self.image.copy()
        image.thumbnail((side, side), Image.Resampling.LANCZOS)
        return np.asarray(image)


class Uploads:
    """The images that were uploaded, by number. Names of files are not asked for."""

    def __init__(self) -> None:
        self._images: dict[int, Upload] = {}
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()

    def add(self, data: bytes) -> Upload:
        """Keep the image of a file.

        Raises:
            ExploreError: it is too large, or no PNG, JPEG or WebP.
        """
        upload = Upload(next(self._numbers), _decoded(data))
        with self._lock:
            self._images[upload.number] = upload
            while len(self._images) > MAX_KEPT:
                del self._images[min(self._images)]
        return upload

    def get(self, number: int) -> Upload:
        """An image by its number.

        Raises:
            ExploreError: it is not there, or no more.
        """
        with self._lock:
            upload = self._images.get(number)
        if upload is None:
            raise ExploreError(f"image {number} is not here any more; upload it again.")
        return upload


def _decoded(data: bytes) -> Image.Image:
    if len(data) > limits.MAX_UPLOAD:
        raise ExploreError(f"{len(data):,} bytes are too many; at most {limits.MAX_UPLOAD:,} are taken.")
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as header:  # reads the size alone
            width, height = header.size
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise ExploreError(f"this is no image of {', '.join(FORMATS)}.") from error
    if width * height > MAX_PIXELS:
        raise ExploreError(f"{width:,}x{height:,} pixels are too many; at most {MAX_PIXELS:,} are taken.")
    try:
        image = imaging.decode(data, 3)
    except imaging.UnreadableImageError as error:
        raise ExploreError(f"this image cannot be read: {error}.") from error
    image.thumbnail((KEPT_SIDE, KEPT_SIDE), Image.Resampling.LANCZOS)
    return image
