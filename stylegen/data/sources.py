"""The image sources that training reads from: drawn rooms, prepared folders, and TFDS data sets."""

import threading
from pathlib import Path
from typing import Any

import numpy as np

from stylegen.data import imaging, toy_bedrooms
from stylegen.data.manifest import Manifest, read_manifest
from stylegen.data.source import Batch, DataError, ImageSource

_TOY_CACHED_RESOLUTION = 64  # toy_bedrooms draws everything up to this size in one go
_TOY_CACHE_BYTES = 2**30
_TOY_CHUNK = 256


class ToySource(ImageSource):
    """toy_bedrooms, drawn when first asked for; small pictures are kept in memory at all resolutions of the run."""

    channels = 3

    def __init__(self, num_images: int, resolution: int, labelled: bool = False) -> None:
        self.num_images = num_images
        self.resolutions = tuple(r for r in toy_bedrooms.RESOLUTIONS if r <= max(resolution, 8))
        self.class_names = toy_bedrooms.CLASS_NAMES if labelled else ()
        self.description = f"toy_bedrooms ({num_images:,} drawn rooms)"
        self.fingerprint = f"toy_bedrooms-{num_images}"
        self._cache: dict[int, np.ndarray] = {}
        size = 0
        for r in self.resolutions:
            size += num_images * r * r * self.channels
            if r <= _TOY_CACHED_RESOLUTION and size <= _TOY_CACHE_BYTES:
                self._cache[r] = np.empty((num_images, r, r, self.channels), np.uint8)
        self._lock = threading.Lock()
        self._claimed = np.zeros(num_images, bool)  # drawn, or being drawn
        self._drawn = np.zeros(num_images, bool)
        self._labels = np.full(num_images, -1, np.int32)

    def _read(self, indices: np.ndarray, resolution: int) -> Batch:
        batch = {"label": self._read_labels(indices)}
        if resolution not in self._cache:
            return {"image": toy_bedrooms.render(indices, resolution), **batch}
        missing = np.unique(indices[~self._drawn[indices]])
        if missing.size:
            self._draw(missing)
        return {"image": self._cache[resolution][indices], **batch}

    def _draw(self, missing: np.ndarray) -> None:
        """Draw pictures at all cached resolutions, and others ahead of need: many at once take half the time each."""
        with self._lock:
            self._claimed[missing] = True
            ahead = np.flatnonzero(~self._claimed)[: max(0, _TOY_CHUNK - missing.size)]
            self._claimed[ahead] = True
        wanted = np.concatenate([missing, ahead])
        # Two threads may miss, and draw, the same picture; they write the same bytes, and mark them as drawn only then.
        for r, images in toy_bedrooms.pyramid(wanted, tuple(self._cache)).items():
            self._cache[r][wanted] = images
        self._drawn[wanted] = True

    def _read_labels(self, indices: np.ndarray) -> np.ndarray:
        if not self.class_names:
            return np.zeros(len(indices), np.int32)
        for index in indices[self._labels[indices] < 0].tolist():
            self._labels[index] = toy_bedrooms.factors(index).bed_class
        return self._labels[indices]


class PreparedSource(ImageSource):
    """A folder that ``prepare`` wrote: every resolution is stored and read by itself."""

    _OPEN_RESOLUTIONS = 2  # the stage that trains and the next one; a process may not keep too many files open

    def __init__(self, folder: Path | str) -> None:
        self.folder = Path(folder)
        self.manifest: Manifest = read_manifest(self.folder)
        settings = self.manifest.settings
        self.num_images = self.manifest.num_images
        self.resolutions = settings.resolutions
        self.channels = settings.image_channels
        self.class_names = settings.class_names
        self.fingerprint = self.manifest.fingerprint
        self.description = f"{self.manifest.name} {self.manifest.split} in {self.folder} ({self.num_images:,} images)"
        self._readers: dict[int, Any] = {}
        self._lock = threading.Lock()

    def _read(self, indices: np.ndarray, resolution: int) -> Batch:
        from stylegen.data import records

        found = [records.deserialize(record) for record in self._reader(resolution).read(indices)]
        image = np.empty((len(found), resolution, resolution, self.channels), np.uint8)
        if self.manifest.settings.encodings[resolution] == "raw":
            for i, (data, _) in enumerate(found):
                image[i] = np.frombuffer(data, np.uint8).reshape(image.shape[1:])
        else:
            for i, (data, _) in enumerate(found):
                image[i] = imaging.decode_stored(data, self.channels)
        return {"image": image, "label": np.array([label for _, label in found], np.int32)}

    def _reader(self, resolution: int) -> Any:
        from stylegen.data.records import ShardReader

        with self._lock:
            if resolution not in self._readers:
                while len(self._readers) >= self._OPEN_RESOLUTIONS:
                    self._readers.pop(next(iter(self._readers)))
                paths = self.manifest.shard_paths(self.folder, resolution)
                self._readers[resolution] = ShardReader(paths, self.manifest.shard_lengths)
            return self._readers[resolution]


class TfdsSource(ImageSource):
    """A TFDS data set that is already prepared as array_record; pictures are cropped and resized as they are read."""

    def __init__(
        self,
        name: str,
        data_dir: str | None,
        split: str,
        resolution: int,
        channels: int,
        crop: imaging.Crop = "center-crop",
    ) -> None:
        self._data = _open_tfds(name, data_dir, split)
        self._image_key, label_key = _find_features(name, self._data.dataset_info.features)
        self._label_key = label_key
        self._crop = crop
        self.num_images = len(self._data)
        if self.num_images == 0:
            raise DataError(f"data.split = {split!r}: this split of the TFDS data set {name} is empty.")
        self.resolutions = imaging.pyramid_resolutions(resolution)
        self.channels = channels
        if label_key is not None:
            self.class_names = tuple(self._data.dataset_info.features[label_key].names)
        self.description = f"TFDS {name} {split} ({self.num_images:,} images)"
        self.fingerprint = f"tfds-{self._data.dataset_info.full_name}-{split}-{self.num_images}"

    def _read(self, indices: np.ndarray, resolution: int) -> Batch:
        image = np.empty((len(indices), resolution, resolution, self.channels), np.uint8)
        label = np.zeros(len(indices), np.int32)
        for i, index in enumerate(indices.tolist()):
            try:
                example = self._data[index]
                picture = imaging.from_array(example[self._image_key], self.channels)
                square = imaging.crop_and_resize(picture, self.resolutions[-1], self._crop)
            except Exception as error:  # the codecs raise many kinds, and none says which picture it was
                raise DataError(f"Image {index} of {self.description} cannot be read: {error}.") from error
            image[i] = imaging.pyramid(square, [resolution])[resolution]
            if self._label_key is not None:
                label[i] = example[self._label_key]
        return {"image": image, "label": label}


def _open_tfds(name: str, data_dir: str | None, split: str) -> Any:
    import tensorflow_datasets as tfds

    where = f"data.path = {data_dir!r}" if data_dir else "TFDS's default folder (data.path is not set)"
    try:
        builder = tfds.builder(name, data_dir=data_dir)
    except (tfds.core.DatasetNotFoundError, ImportError, ValueError) as error:
        raise DataError(f"data.tfds_name = {name!r}: {where} holds no such data set.") from error
    if not builder.info.splits:
        raise DataError(f"data.tfds_name = {name!r}: {where} does not hold it prepared; build it with TFDS first.")
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
    """Keys of the picture and of its label, if there is one."""
    import tensorflow_datasets as tfds

    images = [key for key, f in features.items() if isinstance(f, tfds.features.Image)]
    tensors = [k for k, f in features.items() if isinstance(f, tfds.features.Tensor) and len(f.shape) == 3]
    candidates = images or tensors
    if len(candidates) != 1 and "image" not in candidates:
        raise DataError(f"data.tfds_name = {name!r}: it has {len(candidates)} image features, one is needed.")
    labels = [key for key, f in features.items() if isinstance(f, tfds.features.ClassLabel)]
    image = "image" if "image" in candidates else candidates[0]
    return image, labels[0] if len(labels) == 1 else None
