"""The interface of image sources: images by index, at several resolutions, as uint8 arrays."""

import abc
import os
from collections.abc import Sequence

import numpy as np

from stylegen.errors import StylegenError
from stylegen.io.images import box_mean
from stylegen.shapes import SQUARE, Shape, shape_at

Batch = dict[str, np.ndarray]
_CLASSES_SHOWN = 100


class DataError(StylegenError):
    """The data cannot be used; the message is one sentence that says what is wrong and what to do."""


class ImageSource(abc.ABC):
    """A fixed, ordered collection of images of one shape, each available at every resolution of a pyramid.

    Image k is the same image at every resolution: the smaller one is the box mean of the larger one, to within
    rounding.
    """

    num_images: int
    resolutions: tuple[int, ...]  # that are stored or drawn, smallest first; smaller ones are averaged on the fly
    const_shape: Shape = SQUARE  # rows and columns of the images of resolution 4 (``stylegen.shapes``)
    channels: int
    class_names: tuple[str, ...] = ()  # empty if the images carry no labels
    channel_stats: tuple[tuple[float, float], ...] = ()  # of arrays, whose values are float32 (``stylegen.values``)
    description: str  # a few words for logs
    fingerprint: str = ""  # changes when the images do
    earlier_fingerprints: tuple[str, ...] = ()  # of the same images by earlier versions, which runs may have noted

    def shape_at(self, resolution: int) -> Shape:
        """Rows and columns of the images of a resolution."""
        return shape_at(resolution, self.const_shape)

    def read(self, indices: np.ndarray, resolution: int) -> Batch:
        """Read images by index.

        Args:
            indices: int [n], each in [0, num_images).
            resolution: pixels a side, a power of two up to the largest of ``resolutions``.

        Returns:
            ``image`` uint8 ``[n, *shape_at(resolution), channels]``, which are squares of ``resolution`` pixels unless
            ``const_shape`` says otherwise (float32 of arrays), and ``label`` int32 [n] (zeros without classes).

        Raises:
            DataError: the source is smaller than that, an image cannot be read, or its label is no class.
        """
        if resolution > self.resolutions[-1]:
            raise DataError(f"{self.description} has at most {self.resolutions[-1]} pixels a side, not {resolution}.")
        stored = max(resolution, self.resolutions[0])
        batch = self._read(np.asarray(indices), stored)
        self._check_labels(indices, batch["label"])
        if stored != resolution:
            means = box_mean(batch["image"], stored // resolution)
            batch["image"] = means if self.channel_stats else np.rint(means).astype(np.uint8)
        return batch

    def _check_labels(self, indices: np.ndarray, labels: np.ndarray) -> None:
        """Raise DataError for a label that is no class: its one-hot vector would be all zeros, without an error."""
        wrong = (labels < 0) | (labels >= len(self.class_names))
        if self.class_names and wrong.any():
            index, label = np.asarray(indices)[wrong][0], labels[wrong][0]
            raise DataError(
                f"Image {index} of {self.description} has the label {label}, and the classes are 0 to"
                f" {len(self.class_names) - 1}; -1 often stands for an image without a label. Set data.split to a split"
                " whose images all have labels, or num_classes 0 to leave the labels out."
            )

    def read_seconds(self, resolution: int) -> float:
        """About what it takes one core to read an image: here one that is stored raw.

        Measured on an EPYC core, 2026-11-22 (docs/performance.md).
        """
        return 40e-6 + 7e-9 * max(resolution, self.resolutions[0]) ** 2

    @abc.abstractmethod
    def _read(self, indices: np.ndarray, resolution: int) -> Batch:
        """As ``read``, at one of ``resolutions``."""


def class_text(names: Sequence[str], counts: Sequence[int] = ()) -> str:
    """Classes with the numbers by which labels name them, and how many images each has where that is known."""
    shown = [
        f"{number} {name}" + (f" ({counts[number]:,})" if number < len(counts) else "")
        for number, name in enumerate(names[:_CLASSES_SHOWN])
    ]
    more = [f"and {len(names) - _CLASSES_SHOWN:,} more"] if len(names) > _CLASSES_SHOWN else []
    return f"classes: {', '.join(shown + more)}"


def usable_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
