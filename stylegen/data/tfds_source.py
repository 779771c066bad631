"""Any TFDS data set that is prepared as array_record as an image source."""

import hashlib
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from stylegen.data import imaging
from stylegen.data.prepared.manifest import checksum
from stylegen.data.source import Batch, DataError, ImageSource
from stylegen.io.progress import counted
from stylegen.shapes import SQUARE, Shape


class TfdsSource(ImageSource):
    """A TFDS data set; images are cropped and resized every time they are read, and nothing is stored."""

    def __init__(
        self,
        name: str,
        data_dir: str | None,
        split: str,
        resolution: int,
        channels: int,
        crop: imaging.Crop = "center-crop",
        labeled: bool = True,
        const_shape: Shape = SQUARE,
    ) -> None:
        """Open the data set; with ``labeled`` False its labels are not read, whatever they are.

        Raises:
            DataError: it is not there, not prepared as array_record, or has no images.
        """
        self._data = _open_tfds(name, data_dir, split)
        self._image_key, label_key = _find_features(name, self._data.dataset_info.features)
        self._label_key = label_key = label_key if labeled else None
        self._crop = crop
        self.num_images = len(self._data)
        if self.num_images == 0:
            raise DataError(f"data.split = {split!r}: this split of the TFDS data set {name} is empty.")
        self.resolutions = imaging.pyramid_resolutions(resolution)
        self.const_shape = const_shape
        self.channels = channels
        if label_key is not None:
            self.class_names = tuple(self._data.dataset_info.features[label_key].names)
        self.description = f"TFDS {name} {split} ({counted(self.num_images, 'image')})"
        name_and_size = f"tfds-{self._data.dataset_info.full_name}-{split}-{self.num_images}"
        shards = self._data.dataset_info.splits[split].filepaths
        try:
            contents = hashlib.sha256("".join(map(checksum, shards)).encode()).hexdigest()[:16]
        except OSError as error:
            raise DataError(f"The TFDS data set {name} cannot be read ({error}); build it again.") from error
        self.fingerprint = f"{name_and_size}-{contents}"
        self.earlier_fingerprints = (name_and_size,)

    def _read(self, indices: np.ndarray, resolution: int) -> Batch:
        image = np.empty((len(indices), *self.shape_at(resolution), self.channels), np.uint8)
        full = self.resolutions[-1]
        label = np.zeros(len(indices), np.int32)
        for i, index in enumerate(indices.tolist()):
            try:
                example = self._data[index]
                full_size = imaging.from_array(example[self._image_key], self.channels)
                cropped = imaging.crop_and_resize(full_size, self.shape_at(full), self._crop)
            except Exception as error:  # the codecs raise many kinds, and none says which image it was
                # Not skipped: which image is shown when must not depend on what could be read.
                reason = str(error).rstrip(".") or type(error).__name__
                raise DataError(
                    f"Image {index} of {self.description} cannot be read ({reason}). Build the TFDS data set without"
                    " it, or give the images as files to data.source images, whose preparation leaves out and counts"
                    " what cannot be read."
                ) from error
            image[i] = imaging.pyramid(cropped, [resolution], full)[resolution]
            if self._label_key is not None:
                label[i] = example[self._label_key]
        return {"image": image, "label": label}

    def read_seconds(self, resolution: int) -> float:
        """As ``ImageSource``: every image is decoded, cropped and reduced from its full size."""
        return 6 * super().read_seconds(self.resolutions[-1])


def _open_tfds(name: str, data_dir: str | None, split: str) -> Any:
    location = f"data.path = {data_dir!r}" if data_dir else "TFDS's default folder (data.path is not set)"
    try:
        builder = tfds.builder(name, data_dir=data_dir)
    except (tfds.core.DatasetNotFoundError, ImportError, ValueError) as error:
        raise DataError(f"data.tfds_name = {name!r}: {location} holds no such data set.") from error
    if not builder.info.splits:
        raise DataError(f"data.tfds_name = {name!r}: {location} does not hold it prepared; build it with TFDS first.")
    if split not in builder.info.splits:
        have = ", ".join(builder.info.splits)
        raise DataError(f"data.split = {split!r}: the TFDS data set {name} has {have}.")
    if builder.info.file_format.file_suffix != "array_record":
        stored = builder.info.file_format.file_suffix
        raise DataError(
            f"data.tfds_name = {name!r}: it is stored as {stored}, which has no random access;"
            " build it with file_format='array_record'."
        )
    return builder.as_data_source(split=split)


def _find_features(name: str, features: Any) -> tuple[str, str | None]:
    """Keys of the image and of its label, if there is one."""
    images = [key for key, f in features.items() if isinstance(f, tfds.features.Image)]
    tensors = [k for k, f in features.items() if isinstance(f, tfds.features.Tensor) and len(f.shape) == 3]
    candidates = images or tensors
    if len(candidates) != 1 and "image" not in candidates:
        raise DataError(f"data.tfds_name = {name!r}: it has {len(candidates)} image features, one is needed.")
    labels = [key for key, f in features.items() if isinstance(f, tfds.features.ClassLabel)]
    image = "image" if "image" in candidates else candidates[0]
    label = "label" if "label" in labels else labels[0] if len(labels) == 1 else None
    return image, label
