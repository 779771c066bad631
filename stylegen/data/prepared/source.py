"""A folder that ``prepare`` wrote as an image source."""

import threading
from pathlib import Path

import numpy as np

from stylegen.data import imaging
from stylegen.data.prepared import records
from stylegen.data.prepared.manifest import Manifest, read_manifest, resolution_folder
from stylegen.data.source import Batch, DataError, ImageSource
from stylegen.io.progress import counted
from stylegen.paths import expanded


class PreparedSource(ImageSource):
    """Prepared data: every resolution is stored, and read, by itself."""

    _OPEN_RESOLUTIONS = 2  # the stage that trains and the next one; a process may not keep too many files open

    def __init__(self, folder: Path | str) -> None:
        self.folder = expanded(folder)
        self.manifest: Manifest = read_manifest(self.folder)
        settings = self.manifest.settings
        self.num_images = self.manifest.num_images
        self.resolutions = settings.resolutions
        self.const_shape = settings.const_shape
        self.channels = settings.image_channels
        self.class_names = settings.class_names
        self.channel_stats = settings.channel_stats
        self.fingerprint = self.manifest.fingerprint
        self.description = (
            f"{self.manifest.name} {self.manifest.split} in {self.folder} ({counted(self.num_images, 'image')})"
        )
        self._readers: dict[int, records.ShardReader] = {}
        self._lock = threading.Lock()

    def _read(self, indices: np.ndarray, resolution: int) -> Batch:
        shard_records = self._reader(resolution).read(indices)
        try:
            return self._decode(shard_records, resolution)
        except Exception as error:  # protobuf, numpy and the decoders each raise their own kinds
            raise DataError(
                f"The shards in {self.folder / resolution_folder(resolution)} hold something else than was prepared"
                f" ({str(error)[:100] or type(error).__name__}); prepare the data again."
            ) from error

    def _decode(self, shard_records: list[bytes], resolution: int) -> Batch:
        examples = [records.deserialize(record) for record in shard_records]
        encoding = self.manifest.settings.encodings[resolution]
        kind = np.float32 if encoding == "float32" else np.uint8
        image = np.empty((len(examples), *self.shape_at(resolution), self.channels), kind)
        if encoding in imaging.RAW:
            for i, (data, _) in enumerate(examples):
                image[i] = np.frombuffer(data, kind).reshape(image.shape[1:])
        else:
            for i, (data, _) in enumerate(examples):
                image[i] = imaging.decode_stored(data, self.channels)
        return {"image": image, "label": np.array([label for _, label in examples], np.int32)}

    def read_seconds(self, resolution: int) -> float:
        """As ``ImageSource``; decoding takes 2 to 3 times as long as unpacking what is raw."""
        stored = max(resolution, self.resolutions[0])
        return super().read_seconds(resolution) * (1 if self.manifest.settings.encodings[stored] in imaging.RAW else 3)

    def _reader(self, resolution: int) -> records.ShardReader:
        with self._lock:
            if resolution not in self._readers:
                while len(self._readers) >= self._OPEN_RESOLUTIONS:
                    self._readers.pop(next(iter(self._readers)))
                paths = self.manifest.shard_paths(self.folder, resolution)
                self._readers[resolution] = records.ShardReader(
                    paths, self.manifest.shard_lengths, self.manifest.shard_checksums.get(resolution)
                )
            return self._readers[resolution]
