"""toy_bedrooms as an image source."""

import threading

import numpy as np

from stylegen.data.source import Batch, ImageSource
from stylegen.data.toy import bedrooms
from stylegen.io.progress import counted
from stylegen.shapes import SQUARE, Shape, size_text

_CACHED_RESOLUTION = 64  # toy_bedrooms draws everything up to this size in one go
_CACHE_BYTES = 2**30
_CHUNK = 256  # images drawn at a time: 0.6 ms each at 64 pixels, against 1.4 ms in batches of 32


class ToySource(ImageSource):
    """toy_bedrooms, drawn when first asked for; small images are kept in memory at all resolutions of the run."""

    channels = 3

    def __init__(self, num_images: int, resolution: int, labeled: bool = False, const_shape: Shape = SQUARE) -> None:
        """With another ``const_shape`` than a square's, rooms are cut out of the middle of squares."""
        self.const_shape = const_shape
        self.num_images = num_images
        self.resolutions = tuple(r for r in bedrooms.RESOLUTIONS if r <= max(resolution, 8))
        self.class_names = bedrooms.CLASS_NAMES if labeled else ()
        self.description = f"toy_bedrooms ({counted(num_images, 'drawn room')})"
        self.fingerprint = f"toy_bedrooms-v{bedrooms.DRAWING_VERSION}-{num_images}"
        if const_shape[0] != const_shape[1]:
            self.resolutions = tuple(r for r in self.resolutions if max(self.shape_at(r)) in bedrooms.RESOLUTIONS)
            self.fingerprint += f"-{size_text(self.resolutions[-1], const_shape)}"
        self._cache: dict[int, np.ndarray] = {}
        size = 0
        for r in self.resolutions:
            size += num_images * r * r * self.channels
            if r <= _CACHED_RESOLUTION and size <= _CACHE_BYTES:
                self._cache[r] = np.empty((num_images, r, r, self.channels), np.uint8)
        self._lock = threading.Lock()
        self._claimed = np.zeros(num_images, bool)  # drawn, or being drawn
        self._drawn = np.zeros(num_images, bool)
        self._labels = np.full(num_images, -1, np.int32)

    def _read(self, indices: np.ndarray, resolution: int) -> Batch:
        rows, columns = self.shape_at(resolution)
        if (side := max(rows, columns)) > min(rows, columns):
            rooms = bedrooms.render(indices, side)
            top, left = (side - rows) // 2, (side - columns) // 2
            image = rooms[:, top : top + rows, left : left + columns]
            return {"image": np.ascontiguousarray(image), "label": self._read_labels(indices)}
        batch = {"label": self._read_labels(indices)}
        if resolution not in self._cache:
            return {"image": bedrooms.render(indices, resolution), **batch}
        missing = np.unique(indices[~self._drawn[indices]])
        if missing.size:
            self._draw(missing)
        return {"image": self._cache[resolution][indices], **batch}

    def read_seconds(self, resolution: int) -> float:
        """As ``ImageSource``, until a room is kept: about what it takes to draw it."""
        return 1e-3 * (max(resolution, _CACHED_RESOLUTION) / _CACHED_RESOLUTION) ** 2

    def _draw(self, missing: np.ndarray) -> None:
        """Draw images at all cached resolutions, and others ahead of need, because many at once are quicker."""
        with self._lock:
            self._claimed[missing] = True
            ahead = np.flatnonzero(~self._claimed)[: max(0, _CHUNK - missing.size)]
            self._claimed[ahead] = True
        to_draw = np.concatenate([missing, ahead])
        # Two threads may miss, and draw, the same image; they write the same bytes, and mark them as drawn only then.
        for r, images in bedrooms.pyramid(to_draw, tuple(self._cache)).items():
            self._cache[r][to_draw] = images
        self._drawn[to_draw] = True

    def _read_labels(self, indices: np.ndarray) -> np.ndarray:
        if not self.class_names:
            return np.zeros(len(indices), np.int32)
        unknown = indices[self._labels[indices] < 0]
        if unknown.size:  # together: one by one takes 1 ms each, as long as drawing them
            self._labels[unknown] = bedrooms.factor_arrays(unknown.tolist())["bed_class"]
        return self._labels[indices]
