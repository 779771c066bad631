"""Sets of images, from a data source, raw data or an array, as numbered uint8 images of one size.

Images are taken in a fixed random order, so that the first thousand are a fair sample of the whole.
"""

import abc
import functools
import hashlib
from typing import Any

import numpy as np

from stylegen import values
from stylegen.data import imaging
from stylegen.data.raw.base import RawDataset
from stylegen.data.source import ImageSource
from stylegen.evaluation import EvaluationError
from stylegen.io import signals
from stylegen.io.images import MODES, layout_hint
from stylegen.metrics.extractors import Extractor
from stylegen.metrics.moments import Moments

ORDER_SEED = 0
HASH_CHUNK = 256  # images of an array at once


class ImageSet(abc.ABC):
    """Images of one size, by their position in the order in which they are taken."""

    count: int | None  # None: as many as one asks for
    resolution: tuple[int, int]  # height and width
    channels: int
    batch: int | None = None  # images read at once; None leaves it to the reader
    note: str = ""  # a sentence to report, such as how many files were left out

    @property
    @abc.abstractmethod
    def provenance(self) -> dict[str, Any]:
        """A description of the images, in JSON; two sets with equal provenance have equal images."""

    @abc.abstractmethod
    def read(self, positions: np.ndarray) -> Any:
        """The images at some positions of the order, uint8 [N, h, w, C] (numpy or JAX)."""


def resolution_text(shape: tuple[int, int]) -> int | str:
    """A size in a provenance: pixels a side of squares, ``512x384`` of others, width first."""
    return shape[0] if shape[0] == shape[1] else f"{shape[1]}x{shape[0]}"


def shuffled(count: int) -> np.ndarray:
    """The order in which images are taken."""
    return np.random.RandomState(ORDER_SEED).permutation(count)


class SourceSet(ImageSet):
    """Real images as training sees them; with ``mirror``, every one and its mirror image."""

    def __init__(self, source: ImageSource, resolution: int, mirror: bool, crop: str) -> None:
        self.source, self.mirror, self._crop = source, mirror, crop
        self.count = source.num_images * (2 if mirror else 1)
        self._level, self.resolution, self.channels = resolution, source.shape_at(resolution), source.channels
        self._order = shuffled(self.count)

    @property
    def provenance(self) -> dict[str, Any]:
        """The data, its fingerprint, crop and size."""
        settings = getattr(getattr(self.source, "manifest", None), "settings", None)
        return {
            "data": self.source.description,
            "fingerprint": self.source.fingerprint,
            "images": self.source.num_images,
            "mirror": self.mirror,
            "crop": self._crop,
            "resize_filter": settings.filter if settings is not None else "as the source gives them",
            "resolution": resolution_text(self.resolution),
            "channels": self.channels,
            "order_seed": ORDER_SEED,
        }

    def read(self, positions: np.ndarray) -> np.ndarray:
        """From the source, mirrored where it is the mirror image's turn."""
        numbers = self._order[positions]
        images = self.source.read(numbers % self.source.num_images, self._level)["image"]
        if self.source.channel_stats:  # as a generator's are: 8 bits over the range of ``values``
            images = values.to_bytes(images)
        flipped = (numbers >= self.source.num_images)[:, None, None, None]
        return np.where(flipped, images[:, :, ::-1], images)

    def labels(self, count: int, seed: int) -> np.ndarray:
        """Classes as frequent as in the data, int [count]: those of images drawn with repetition."""
        drawn = np.random.RandomState(seed).randint(0, self.source.num_images, count)
        smallest = self.source.resolutions[0]
        chunks = [drawn[i : i + 1024] for i in range(0, count, 1024)]
        return np.concatenate([self.source.read(chunk, smallest)["label"] for chunk in chunks])


class ArraySet(ImageSet):
    """A .npy file with uint8 [N, h, w, C] or [N, h, w], or such an array."""

    def __init__(self, array: np.ndarray, name: str = "array") -> None:
        held = f"{name} holds {array.dtype} {array.shape}"
        if array.dtype != np.uint8 or array.ndim not in (3, 4) or len(array) == 0:
            raise EvaluationError(f"{held}; wanted uint8 [N, h, w, C] with N images.")
        if array.ndim == 3 and array.shape[-1] in MODES:
            raise EvaluationError(f"{held}, which is one image; wanted are N of them, [N, h, w, C].")
        self._array, self._name = array if array.ndim == 4 else array[..., None], name
        if self._array.shape[-1] not in MODES:
            raise EvaluationError(f"{held}; wanted [N, h, w, C] with 1 to 4 channels{layout_hint(array.shape)}.")
        self.count, self.resolution = len(array), array.shape[1:3]
        self.channels = self._array.shape[-1]
        self._order = shuffled(len(array))

    @functools.cached_property
    def _fingerprint(self) -> str:
        digest = hashlib.sha256(str(self._array.shape).encode())
        for start in range(0, len(self._array), HASH_CHUNK):
            signals.check()
            digest.update(np.ascontiguousarray(self._array[start : start + HASH_CHUNK]).tobytes())
        return digest.hexdigest()

    @property
    def provenance(self) -> dict[str, Any]:
        """Name, hash and size."""
        return {
            "data": self._name,
            "fingerprint": self._fingerprint,
            "images": self.count,
            "crop": "none",
            "resize_filter": "none",
            "resolution": list(self.resolution),
            "channels": self.channels,
            "order_seed": ORDER_SEED,
        }

    def read(self, positions: np.ndarray) -> np.ndarray:
        """Out of the array."""
        return np.asarray(self._array[self._order[positions]])


class RawSet(ImageSet):
    """The images of raw data, such as a folder or a zip of files, as RGB."""

    channels = 3

    def __init__(
        self,
        dataset: RawDataset,
        resolution: int | tuple[int, int] | None = None,
        crop: imaging.Crop = "center-crop",
        *,
        order: np.ndarray | None = None,
        fingerprint: str | None = None,
        color: imaging.Color = "srgb",
    ) -> None:
        """Look at the first image; with ``resolution``, all are cropped and resized to it (Lanczos).

        Args:
            dataset: the images, unpacked if need be.
            resolution: pixels a side, or rows and columns; None leaves them as they are.
            crop: the part of each image.
            order: in which images are taken; None is a random one.
            fingerprint: of all images; None hashes them.
            color: convert ICC profiles to sRGB, or leave them out.

        Raises:
            EvaluationError: an image cannot be read.
        """
        self._dataset = dataset
        self._path, self._target_resolution, self._crop = dataset.path, resolution, crop
        self.count, self.note = dataset.num_images, dataset.note
        self._order = shuffled(self.count) if order is None else order
        self._order_seed = ORDER_SEED if order is None else None
        self._known_fingerprint = fingerprint
        self._color: imaging.Color = color
        self.resolution = imaging.sides(resolution) if resolution else self._decode(0).shape[:2]

    @functools.cached_property
    def _fingerprint(self) -> str:
        if self._known_fingerprint is not None:
            return self._known_fingerprint
        digest = hashlib.sha256()
        for image in self._dataset.read(0, self._dataset.num_images):
            signals.check()
            digest.update(hashlib.sha256(bytes(image.data)).digest())
        return digest.hexdigest()

    @property
    def provenance(self) -> dict[str, Any]:
        """Path, hash of all files and how they are cropped."""
        return {
            "data": str(self._path),
            "fingerprint": self._fingerprint,
            "images": self.count,
            "crop": self._crop if self._target_resolution else "none",
            "resize_filter": "lanczos" if self._target_resolution else "none",
            "color": self._color,
            "resolution": list(self.resolution),
            "channels": 3,
            "order_seed": self._order_seed,
        }

    def read(self, positions: np.ndarray) -> np.ndarray:
        """Decode the files."""
        images = []
        for number in self._order[positions].tolist():
            image = self._decode(number)
            if image.shape[:2] != self.resolution:
                raise EvaluationError(
                    f"{self._path}: images are not all of one size ({image.shape[1]}x{image.shape[0]} and "
                    f"{self.resolution[1]}x{self.resolution[0]}); give --resolution to crop and resize them."
                )
            images.append(image)
        return np.stack(images)

    def _smallest(self) -> int | None:
        return max(imaging.sides(self._target_resolution)) if self._target_resolution else None

    def _decode(self, number: int) -> np.ndarray:
        (raw,) = self._dataset.read(number, number + 1)
        try:
            if raw.problem:
                raise imaging.UnreadableImageError(raw.problem)
            data = raw.data
            if isinstance(data, np.ndarray):
                image = imaging.from_array(data, 3)
            else:
                image = imaging.decode(data, 3, color=self._color, smallest=self._smallest())
        except imaging.UnreadableImageError as error:
            raise EvaluationError(
                f"{self._path}: {raw.key} cannot be read as an image ({error}); remove it."
            ) from error
        return (
            imaging.crop_and_resize(image, self._target_resolution, self._crop)
            if self._target_resolution
            else imaging.to_array(image)
        )


class StatisticsSet(ImageSet):
    """Mean and covariance of features that were computed before, in place of the images themselves."""

    resolution, channels = (0, 0), 3

    def __init__(self, name: str, moments: Moments, count: int | None, extractor: dict[str, Any] | None) -> None:
        """Take what a file holds.

        Args:
            name: of the file.
            moments: of the features.
            count: of the images; None if the file does not say.
            extractor: its provenance; None if the file does not say.
        """
        self._name, self.moments, self.count, self._extractor = name, moments, count, extractor
        if extractor is None:
            self.note = (
                f"{name}: mean and covariance of {moments.mean.size} features; the file does not say which network "
                "and which resizing they are of. If these differ, so do the distances."
            )

    @property
    def provenance(self) -> dict[str, Any]:
        """The file, a hash of the statistics, and what is known of the images."""
        digest = hashlib.sha256(self.moments.mean.tobytes() + self.moments.covariance.tobytes())
        return {
            "data": self._name,
            "fingerprint": digest.hexdigest(),
            "images": self.count,
            "statistics": "mean and covariance" + ("" if self._extractor else " of a network that is not named"),
        }

    def check(self, metric: str, kind: str, wanted: int | None, extractor: Extractor | None) -> None:
        """Raise EvaluationError unless a metric of these statistics is what its name says."""
        if kind != "fid":
            raise EvaluationError(
                f"{metric} needs the real images; {self._name} holds their statistics, for fid alone."
            )
        if wanted is not None and wanted != self.count:
            known = f"are of {self.count:,}" if self.count else "are of a number that the file does not say"
            raise EvaluationError(
                f"{metric} compares with {wanted:,} real images, and the statistics in {self._name} {known}; write "
                "fid, or a name with _full."
            )
        assert extractor is not None  # fid has one
        if self._extractor is not None and self._extractor != extractor.provenance:
            theirs = f"{self._extractor.get('extractor')}, {self._extractor.get('weights')}"
            raise EvaluationError(
                f"{self._name} holds statistics of {theirs}; they "
                f"cannot be compared with those of {extractor.name}, {extractor.provenance['weights']}."
            )
        if self.moments.mean.size != extractor.size:
            raise EvaluationError(
                f"{self._name} holds statistics of {self.moments.mean.size:,} features; {extractor.name} has "
                f"{extractor.size:,}. Choose the extractor that they are of."
            )

    def read(self, positions: np.ndarray) -> np.ndarray:
        """Raise EvaluationError: the images are not there."""
        raise EvaluationError(f"{self._name} holds statistics, not images; it can only be a --reference.")
