"""From a configuration to its image source: find the data, prepare it where it is raw, check that it fits."""

import os
from pathlib import Path

from stylegen.config import Config, DataConfig
from stylegen.data.prepared.manifest import MANIFEST_NAME, read_manifest
from stylegen.data.settings import check_used
from stylegen.data.source import DataError, ImageSource
from stylegen.io.progress import counted


def open_source(config: Config) -> ImageSource:
    """The image source that ``config.data`` names.

    Raw data (an LSUN archive, a folder or zip of images, the CIFAR-10 archive) is prepared first, which may take hours;
    the same call takes up where it was interrupted. With several processes, prepare beforehand.

    Raises:
        DataError: the data is missing, empty, damaged or does not fit the configuration; the message names the field.
        ConfigError: there is a path that the source does not use.
    """
    data = config.data
    source: ImageSource
    # Imported where used: TFDS alone takes longer to import than a toy run to draw its first rooms.
    if data.source == "toy_bedrooms":
        from stylegen.data.toy.source import ToySource

        check_used(data, "path")
        source = ToySource(data.num_images, config.resolution, labeled=config.num_classes > 0)
    elif data.source == "tfds":
        from stylegen.data.tfds_source import TfdsSource

        assert data.tfds_name is not None  # checked by Config
        source = TfdsSource(data.tfds_name, data.path, data.split, config.resolution, config.image_channels, data.crop)
    else:
        from stylegen.data.prepared.source import PreparedSource

        folder = _prepared_folder(config)
        _check_prepared(data, folder)
        source = PreparedSource(folder)
    _check_fit(config, source)
    return source


def _prepared_folder(config: Config) -> Path:
    """The folder of prepared data, made now where ``data.path`` is raw."""
    data = config.data
    if data.path is None:
        raise DataError(f"data.path is not set: data.source {data.source} needs it; say where the data lies.")
    path = Path(data.path).expanduser()
    if not path.exists():
        raise DataError(f"data.path = {data.path!r}: there is no such file or folder.")
    if (path / MANIFEST_NAME).is_file():
        return path
    out = _default_folder(data, path, config.resolution)
    if not (out / MANIFEST_NAME).is_file():
        _prepare(config, path, out)
    return out


def _default_folder(data: DataConfig, path: Path, resolution: int) -> Path:
    if data.prepared is not None:
        return Path(data.prepared).expanduser()
    # Archives of several categories and splits lie side by side.
    prefix = f"{data.category}-{data.split}-" if data.source == "lsun" else ""
    return (path if path.is_dir() else path.parent) / f"stylegen-{prefix}{resolution}"


def _prepare(config: Config, path: Path, out: Path) -> None:
    from stylegen.data.prepared.prepare import Options, prepare
    from stylegen.data.raw.opening import open_raw

    data = config.data
    labeled = config.num_classes > 0
    dataset = open_raw(data.source, path, category=data.category, split=data.split, labels_from_folders=labeled)
    # Before the work, not after it: preparing may take hours.
    _check_kind(data, path, dataset.identity.get("category", data.category), dataset.split)
    parent = next(folder for folder in (out, *out.parents) if folder.exists())
    # Root may write anywhere; a folder that nobody has leave to write to is still not to be written to.
    if not os.access(parent, os.W_OK) or not parent.stat().st_mode & 0o222:
        raise DataError(f"{out} cannot be written; set data.prepared to a folder for the prepared data.")
    prepare(dataset, out, Options(config.resolution, image_channels=config.image_channels, crop=data.crop))


def _check_kind(data: DataConfig, location: Path, category: str, split: str) -> None:
    if data.source == "lsun" and category != data.category:
        raise DataError(
            f"data.category = {data.category!r}: {location} holds {category}; set data.category {category}."
        )
    if split != data.split:
        raise DataError(f"data.split = {data.split!r}: {location} holds {split}; set data.split {split}.")


def _check_prepared(data: DataConfig, folder: Path) -> None:
    manifest = read_manifest(folder)
    _check_kind(data, folder, manifest.settings.identity.get("category", data.category), manifest.split)
    if manifest.settings.crop != data.crop:
        raise DataError(
            f"data.crop = {data.crop!r}: {folder} was prepared with {manifest.settings.crop};"
            " set data.crop to that, or prepare it anew."
        )


def _check_fit(config: Config, source: ImageSource) -> None:
    largest = source.resolutions[-1]
    if largest < config.resolution:
        raise DataError(
            f"resolution = {config.resolution}: {source.description} has {largest} pixels a side;"
            f" prepare it with --resolution {config.resolution}, or set resolution {largest}."
        )
    if source.channels != config.image_channels:
        raise DataError(
            f"image_channels = {config.image_channels}: {source.description} has {source.channels};"
            f" set image_channels {source.channels}, or prepare it with --image-channels {config.image_channels}."
        )
    classes = len(source.class_names)
    if config.num_classes and not classes:
        raise DataError(
            f"num_classes = {config.num_classes}: {source.description} has no labels;"
            " set num_classes 0, or prepare it with labels (--labels-from-folders)."
        )
    if config.num_classes and config.num_classes != classes:
        raise DataError(
            f"num_classes = {config.num_classes}: {source.description} has {counted(classes, 'class')};"
            f" set num_classes {classes}, or 0 to leave the labels out."
        )
