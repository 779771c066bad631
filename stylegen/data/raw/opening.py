"""All kinds of raw data by name, with the drawn rooms as one of them."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from stylegen.data.alignment import read_landmarks
from stylegen.data.raw import cifar10, tfrecords
from stylegen.data.raw.aligned import AlignedDataset
from stylegen.data.raw.arrays import ArraysDataset
from stylegen.data.raw.base import ArchiveMissingError, RawDataset, RawImage
from stylegen.data.raw.image_files import ImageFilesDataset
from stylegen.data.raw.lsun import LsunDataset, find_archive
from stylegen.data.source import DataError
from stylegen.data.toy import bedrooms

_CHUNK = 128  # rooms drawn at a time


class ToyDataset(RawDataset):
    """toy_bedrooms, drawn at the largest resolution."""

    kind = "toy_bedrooms"
    name = "toy_bedrooms"
    class_names = bedrooms.CLASS_NAMES

    def __init__(self, num_images: int, resolution: int) -> None:
        if resolution not in bedrooms.RESOLUTIONS:
            raise DataError(f"toy_bedrooms is drawn at {', '.join(map(str, bedrooms.RESOLUTIONS))} pixels.")
        if num_images < 1:
            raise DataError(f"toy_bedrooms cannot be {num_images} images; ask for at least 1.")
        self.num_images = num_images
        self.resolution = resolution
        self.identity = {"images": num_images, "drawing": bedrooms.DRAWING_VERSION}

    def read(self, start: int, stop: int) -> Iterator[RawImage]:
        """The rooms from ``start`` on."""
        for first in range(start, min(stop, self.num_images), _CHUNK):
            indices = np.arange(first, min(first + _CHUNK, stop, self.num_images))
            for index, image in zip(indices.tolist(), bedrooms.render(indices, self.resolution), strict=True):
                yield RawImage(f"{index:08d}", image, bedrooms.factors(index).bed_class)


def aligned(dataset: RawDataset, landmarks: Path) -> RawDataset:
    """Images to be aligned by the points in a file of landmarks (``stylegen.data.alignment``).

    Raises:
        DataError: the file cannot be used, has points of no image, or these are no image files.
    """
    if not isinstance(dataset, ImageFilesDataset):
        raise DataError(f"align = {str(landmarks)!r}: only image files can be aligned, not TFRecords.")
    return AlignedDataset(dataset, read_landmarks(landmarks))


def open_raw(
    kind: str,
    path: Path,
    *,
    category: str = "bedroom",
    split: str = "train",
    labels: str = "none",
    max_images: int | None = None,
) -> RawDataset:
    """Open raw data that lies in a file or folder.

    Args:
        kind: lsun, images, cifar10 or arrays.
        path: an archive, or a folder; for lsun and cifar10 also the folder that holds the archive.
        category: of LSUN, where the folder holds several.
        split: of LSUN or CIFAR-10.
        labels: of images: auto, folders, json, csv:FILE or none (``stylegen.data.raw.labels.find``).
        max_images: use only the first so many; with labels, of each class as many.

    Raises:
        ArchiveMissingError: the folder does not hold the archive.
        DataError: it is not there, or not what ``kind`` says.
    """
    if not path.exists():
        raise DataError(f"{path} does not exist.")
    if kind == "lsun":
        return LsunDataset(find_archive(path, category, split) if path.is_dir() else path, max_images)
    if kind == "images":
        if tfrecords.is_tfrecords(path):
            return tfrecords.TfRecordsDataset(path, labels, max_images)
        return ImageFilesDataset(path, labels, max_images)
    if kind == "arrays":
        return ArraysDataset(path, max_images)
    if kind == "cifar10":
        candidates = [path / name for name in cifar10.ARCHIVES] if path.is_dir() else [path]
        archive = next((candidate for candidate in candidates if candidate.is_file()), None)
        if archive is None:
            names = " or ".join(cifar10.ARCHIVES)
            raise ArchiveMissingError(f"{path} is not CIFAR-10's archive {names}, nor does it hold it.")
        return cifar10.Cifar10Dataset(archive, split, max_images)
    raise ValueError(f"unknown kind of data {kind!r}")
