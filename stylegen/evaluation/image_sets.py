"""Sets of images, from a data source, a folder, a zip or an array, as numbered uint8 images of one size.

Images are taken in a fixed random order, so that the first thousand are a fair sample of the whole.
"""

import abc
import functools
import hashlib
from pathlib import Path
from typing import Any

import numpy as np

from stylegen.data import imaging
from stylegen.data.raw.image_files import ImageFilesDataset
from stylegen.data.source import ImageSource
from stylegen.evaluation import EvaluationError
from stylegen.io import signals

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


def shuffled(count: int) -> np.ndarray:
    """The order in which images are taken."""
    return np.random.RandomState(ORDER_SEED).permutation(count)


class SourceSet(ImageSet):
    """Real images as training sees them; with ``mirror``, every one and its mirror image."""

    def __init__(self, source: ImageSource, resolution: int, mirror: bool, crop: str) -> None:
        self.source, self.mirror, self._crop = source, mirror, crop
        self.count = source.num_images * (2 if mirror else 1)
        self.resolution, self.channels = (resolution, resolution), source.channels
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
            "resolution": self.resolution[0],
            "channels": self.channels,
            "order_seed": ORDER_SEED,
        }

    def read(self, positions: np.ndarray) -> np.ndarray:
        """From the source, mirrored where it is the mirror image's turn."""
        numbers = self._order[positions]
        images = self.source.read(numbers % self.source.num_images, self.resolution[0])["image"]
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
        if array.dtype != np.uint8 or array.ndim not in (3, 4) or len(array) == 0:
            raise EvaluationError(f"{name} holds {array.dtype} {array.shape}; wanted uint8 [N, h, w, C] with N images.")
        self._array, self._name = array if array.ndim == 4 else array[..., None], name
        if self._array.shape[-1] not in (1, 3):
            raise EvaluationError(f"{name} holds images of {self._array.shape[-1]} channels; wanted 1 or 3.")
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


class FilesSet(ImageSet):
    """The image files of a folder or a zip, as RGB."""

    channels = 3

    def __init__(self, path: Path, resolution: int | None = None, crop: imaging.Crop = "center-crop") -> None:
        """Look at the first image; with ``resolution``, all are cropped and resized to it (Lanczos).

        Raises:
            DataError: no images there.
            EvaluationError: an image cannot be read.
        """
        self._dataset = ImageFilesDataset(path)
        self._path, self._target_resolution, self._crop = path, resolution, crop
        self.count, self.note = self._dataset.num_images, self._dataset.note
        self._order = shuffled(self.count)
        self.resolution = (resolution, resolution) if resolution else self._decode(0).shape[:2]

    @functools.cached_property
    def _fingerprint(self) -> str:
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
            "resolution": list(self.resolution),
            "channels": 3,
            "order_seed": ORDER_SEED,
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

    def _decode(self, number: int) -> np.ndarray:
        (raw,) = self._dataset.read(number, number + 1)
        try:
            image = imaging.decode(raw.data, 3)  # type: ignore[arg-type]
        except imaging.UnreadableImageError as error:
            raise EvaluationError(
                f"{self._path}: {raw.key} cannot be read as an image ({error}); remove it."
            ) from error
        return (
            imaging.crop_and_resize(image, self._target_resolution, self._crop)
            if self._target_resolution
            else imaging.to_array(image)
        )


def open_images(path: Path, resolution: int | None = None, crop: imaging.Crop = "center-crop") -> ImageSet:
    """A folder, a zip or a .npy file as images.

    Raises:
        EvaluationError: there is no such thing, or it holds no images that can be used.
        DataError: no images in the folder or zip.
    """
    if not path.exists():
        raise EvaluationError(f"{path}: there is no such folder or file.")
    if path.suffix != ".npy":
        return FilesSet(path, resolution, crop)
    if resolution:
        raise EvaluationError(f"{path}: --resolution is for folders and zips; an array is taken as it is.")
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise EvaluationError(f"{path}: cannot be read as an array ({error}).") from error
    return ArraySet(array, str(path))
