"""Raw images with five points each, by which they are aligned when they are prepared."""

import dataclasses
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from stylegen.data.alignment import Landmarks, matched
from stylegen.data.imaging import UnreadableImageError
from stylegen.data.raw.base import RawDataset, RawImage
from stylegen.data.raw.image_files import ImageFilesDataset
from stylegen.data.source import DataError
from stylegen.io.progress import Progress


class AlignedDataset(RawDataset):
    """Image files with the points that a file of landmarks has of them; those without are left out, and counted.

    Raises:
        DataError: no image has points.
    """

    def __init__(self, dataset: ImageFilesDataset, landmarks: Landmarks) -> None:
        self._dataset, self._landmarks = dataset, landmarks
        self.kind, self.name, self.split = dataset.kind, dataset.name, dataset.split
        self.path: Path | None = dataset.path
        self.num_images, self.class_names = dataset.num_images, dataset.class_names
        self.identity: dict[str, Any] = {**dataset.identity, "hash of points": landmarks.digest}
        self.unpacked_bytes = dataset.unpacked_bytes
        count = matched(landmarks, dataset.keys)
        if not count:
            shown = next(iter(landmarks.points), None)
            has = f"it has {shown!r}" if shown else "it is empty"
            raise DataError(
                f"{landmarks.source} has points of none of the images of {dataset.path}: {has}, and the images are such"
                f" as {dataset.keys[0]!r}."
            )
        missing = dataset.num_images - count
        note = f"{landmarks.source} has no points of {missing:,} of the images, which are left out." if missing else ""
        self.note = f"{dataset.note} {note}".strip()

    def unpack(self, folder: Path, progress: Progress) -> None:
        """As the images do."""
        self._dataset.unpack(folder, progress)

    def sample(self, count: int) -> Iterable[RawImage]:
        """As the images do, with points."""
        return map(self._with_points, self._dataset.sample(count))

    def read(self, start: int, stop: int) -> Iterator[RawImage]:
        """Images with their points; one that has none comes with that as its problem."""
        return map(self._with_points, self._dataset.read(start, stop))

    def _with_points(self, image: RawImage) -> RawImage:
        try:
            return dataclasses.replace(image, points=self._landmarks.of(image.key))
        except UnreadableImageError as error:
            return dataclasses.replace(image, data=b"", problem=image.problem or str(error))
