"""The files that make a folder of shards a TFDS data set, which ``tfds.builder_from_directory`` opens."""

from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
from tensorflow_datasets.core.dataset_info import DatasetIdentity

from stylegen.data.prepared.manifest import Manifest, Settings
from stylegen.io import files
from stylegen.shapes import shape_at

_VERSION = "1.0.0"


def tfds_features(settings: Settings, resolution: int) -> Any:
    """The features of an example as ``records.serialize`` writes it."""
    shape = (*shape_at(resolution, settings.const_shape), settings.image_channels)
    encoding = settings.encodings[resolution]
    image: Any
    if encoding == "raw":
        image = tfds.features.Tensor(shape=shape, dtype=np.uint8, encoding="bytes")
    elif encoding == "float32":
        image = tfds.features.Tensor(shape=shape, dtype=np.float32, encoding="bytes")
    else:
        # TFDS knows JPEG and PNG by name; WebP has none, and is decoded like the others.
        formats = {"jpeg": "jpeg", "lossless": None if settings.image_channels == 3 else "png"}
        image = tfds.features.Image(shape=shape, encoding_format=formats[encoding])
    features = {"key": tfds.features.Text(), "image": image}
    if settings.class_names:
        features["label"] = tfds.features.ClassLabel(names=list(settings.class_names))
    return tfds.features.FeaturesDict(features)


def write_metadata(folder: Path, manifest: Manifest, resolution: int, num_bytes: int) -> None:
    """Write dataset_info.json and features.json for the shards of one resolution."""
    identity = DatasetIdentity(
        name=manifest.name,
        version=tfds.core.Version(_VERSION),
        data_dir=str(folder),
        module_name="stylegen.data",
        config_name=None,
    )
    info = tfds.core.DatasetInfo(builder=identity, features=tfds_features(manifest.settings, resolution))
    template = tfds.core.ShardedFileTemplate(
        dataset_name=manifest.name, data_dir=str(folder), split=manifest.split, filetype_suffix="array_record"
    )
    split = tfds.core.SplitInfo(
        name=manifest.split, shard_lengths=manifest.shard_lengths, num_bytes=num_bytes, filename_template=template
    )
    info.set_file_format("array_record")
    info.set_splits(tfds.core.splits.SplitDict([split]))
    info.write_to_directory(str(folder))
    files.sync_tree(folder)  # which TFDS does not; the manifest, written next, says that all is there
