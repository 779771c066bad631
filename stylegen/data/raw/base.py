"""The interface of raw datasets: numbered images with names, read in order, in any process."""

import abc
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from stylegen.data.source import DataError
from stylegen.io.progress import Progress


class ArchiveMissingError(DataError):
    """A folder does not hold the archive that is looked for in it."""


@dataclass(frozen=True)
class RawImage:
    """One image as the raw dataset holds it."""

    key: str  # its name in the dataset
    data: bytes | np.ndarray  # of an image file, or uint8 [h, w, c]; float64 of arrays
    label: int | None = None
    problem: str = ""  # why there is no data, if there is none
    points: np.ndarray | None = None  # [5, 2], to be aligned by (``stylegen.data.alignment``)


class RawDataset(abc.ABC):
    """Raw images in a fixed order. Instances are sent to worker processes, so they hold paths, not open files."""

    kind: str  # lsun, images, cifar10, arrays or toy_bedrooms
    name: str  # of the TFDS data set made of it
    split: str = "train"
    path: Path | None = None
    num_images: int
    channels: int = 3  # of arrays; image files are brought to what is asked for
    class_names: tuple[str, ...] = ()
    # Mean and deviation of each channel of arrays, whose values are no colors; empty for images.
    channel_stats: tuple[tuple[float, float], ...] = ()
    # Distinguishes it from others of its kind, in JSON; known without reading all of it, and another one when images
    # change. Earlier versions noted less: a name may be missing in what they wrote, but means the same.
    identity: dict[str, Any]
    unpacked_bytes: int = 0  # disk that ``unpack`` takes
    note: str = ""  # a sentence to report, such as how many files were left out

    @property
    def full_identity(self) -> dict[str, Any]:
        """``identity``, the split, and how many of the images are used."""
        return {**self.identity, "split": self.split, "images read": self.num_images}

    def unpack(self, folder: Path, progress: Progress) -> None:
        """Make the images readable, by unpacking into ``folder`` if need be; once done, a second call does nothing."""
        del folder, progress

    def sample(self, count: int) -> Iterable[RawImage]:
        """About ``count`` images to measure, one at a time, without unpacking; none if that cannot be done."""
        step = max(1, self.num_images // count)
        return (image for start in range(0, self.num_images, step) for image in self.read(start, start + 1))

    @abc.abstractmethod
    def read(self, start: int, stop: int) -> Iterator[RawImage]:
        """The images from ``start`` on, before ``stop``, in order."""
