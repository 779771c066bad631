"""From a configuration to its image source: find the data, prepare it where it is raw, check that it fits."""

import dataclasses
import os
from pathlib import Path

from stylegen.config import Config, DataConfig
from stylegen.data.prepared.manifest import MANIFEST_NAME, existing_settings, read_manifest
from stylegen.data.raw.base import ArchiveMissingError, RawDataset
from stylegen.data.settings import check_used
from stylegen.data.source import DataError, ImageSource
from stylegen.io.files import printable
from stylegen.io.progress import Progress, counted
from stylegen.shapes import size_text

MAX_NAMES = 1_000_000  # letters of all names of classes together; ImageNet-21k's have 300,000


def open_source(config: Config, *, renew: bool = False) -> ImageSource:
    """The image source that ``config.data`` names.

    Raw data (an LSUN archive, a folder or zip of images, the CIFAR-10 archive) is prepared first, which may take hours;
    the same call takes up where it was interrupted. With several processes, prepare beforehand.

    Args:
        config: the run.
        renew: prepare raw data anew where it has changed since; otherwise that is an error, as for a run that is
            resumed.

    Raises:
        DataError: the data is missing, empty, damaged, has changed or does not fit the configuration; the message names
            the field.
        ConfigError: there is a path that the source does not use.
    """
    data = config.data
    source: ImageSource
    # Imported where used: TFDS alone takes longer to import than a toy run to draw its first rooms.
    if data.source == "toy_bedrooms":
        from stylegen.data.toy.source import ToySource

        check_used(data, "path")
        labeled = config.num_classes > 0
        source = ToySource(data.num_images, config.resolution, labeled=labeled, const_shape=config.const_shape)
    elif data.source == "tfds":
        from stylegen.data.tfds_source import TfdsSource

        assert data.tfds_name is not None  # checked by Config
        source = TfdsSource(
            data.tfds_name,
            data.path,
            data.split,
            config.resolution,
            config.image_channels,
            data.crop,
            labeled=config.num_classes > 0,
            const_shape=config.const_shape,
        )
    else:
        from stylegen.data.prepared.source import PreparedSource

        folder = _prepared_folder(config, renew)
        _check_prepared(data, folder, config.resolution)
        source = PreparedSource(folder)
    _check_fit(config, source)
    return source


def with_class_names(config: Config, source: ImageSource) -> Config:
    """The configuration with the names of the data's classes, if it has classes and does not name them itself.

    Names that take more than ``MAX_NAMES`` letters are left out: classes go by their numbers then.
    """
    names = source.class_names
    if not config.num_classes or config.class_names or sum(map(len, names)) > MAX_NAMES:
        return config
    return dataclasses.replace(config, class_names=names)


def with_channel_stats(config: Config, source: ImageSource) -> Config:
    """The configuration with the means and deviations of the data's channels, if they are arrays."""
    return dataclasses.replace(config, channel_stats=source.channel_stats) if source.channel_stats else config


def _prepared_folder(config: Config, renew: bool) -> Path:
    """The folder of prepared data, made now where ``data.path`` is raw and was not prepared or has changed."""
    data = config.data
    if data.path is None:
        raise DataError(f"data.path is not set: data.source {data.source} needs it; say where the data lies.")
    path = Path(data.path)
    if not path.exists():
        raise DataError(f"data.path = {data.path!r}: there is no such file or folder.")
    if (path / MANIFEST_NAME).is_file():
        return path
    out = Path(data.prepared) if data.prepared else _default_folder(data, path, config.size_text(config.resolution))
    try:
        dataset = _open_raw(config, path)
    except ArchiveMissingError as error:
        if not (out / MANIFEST_NAME).is_file():
            raise
        Progress().say(f"{error} Taking what was prepared of it before: {out}.")
        return out
    existing = existing_settings(out)
    if existing is None and not data.prepared and (earlier := _earlier_folder(config, path, dataset, renew)):
        return earlier
    changes = existing.source_differences(dataset.kind, dataset.full_identity) if existing else []
    if changes and (data.prepared or not renew):
        raise DataError(_changed(data, path, out, changes))
    if changes:
        Progress().say(f"{path} has changed since {out} was prepared of it ({changes[0]}): preparing it anew.")
    if changes or not (out / MANIFEST_NAME).is_file():
        _prepare(config, dataset, out, overwrite=bool(changes))
    return out


def _changed(data: DataConfig, path: Path, out: Path, changes: list[str]) -> str:
    way_out = (
        "set data.prepared to another folder to train on what is there now"
        if data.prepared
        else "start a new run (another run.dir), which prepares what is there now in its place"
    )
    return (
        f"data.path = {data.path!r}: {path} is not what {out} was prepared of ({changes[0]})."
        f" Set data.path {out} to go on with what was prepared, or {way_out}."
    )


def _default_folder(data: DataConfig, path: Path, resolution: str) -> Path:
    """Beside the raw data, with its name: two zips in one folder are two data sets."""
    if data.source == "lsun":  # archives of several categories and splits lie side by side
        return (path if path.is_dir() else path.parent) / f"stylegen-{data.category}-{data.split}-{resolution}"
    path = Path(os.path.abspath(path))  # "." has no name of its own; a link keeps the one that the user knows
    split = f"-{data.split}" if data.source == "cifar10" else ""
    return path.parent / f"stylegen-{printable(path.name)}{split}-{resolution}"


def _earlier_folder(config: Config, path: Path, dataset: RawDataset, renew: bool) -> Path | None:
    """Where earlier versions prepared to, if that is there and of this very data."""
    folder = (path if path.is_dir() else path.parent) / f"stylegen-{config.resolution}"
    if config.data.source == "lsun" or not (folder / MANIFEST_NAME).is_file():
        return None
    changes = read_manifest(folder).settings.source_differences(dataset.kind, dataset.full_identity)
    if not changes:
        return folder
    if path.is_dir():  # beside a zip, it may be of another one
        if not renew:
            raise DataError(_changed(config.data, path, folder, changes))
        Progress().say(
            f"{folder}, which an earlier version prepared, holds other images than {path} does now ({changes[0]})."
            " It is not used any more and can be deleted."
        )
    return None


def _open_raw(config: Config, path: Path) -> RawDataset:
    from stylegen.data.raw.opening import open_raw

    data = config.data
    labels = data.labels if config.num_classes else "none"
    dataset = open_raw(data.source, path, category=data.category, split=data.split, labels=labels)
    # Before the work, not after it: preparing may take hours.
    _check_kind(data, path, dataset.identity.get("category", data.category), dataset.split)
    return dataset


def _prepare(config: Config, dataset: RawDataset, out: Path, overwrite: bool) -> None:
    from stylegen.data.prepared.prepare import Options, prepare

    if config.num_classes and config.data.source == "images" and not dataset.class_names:
        raise DataError(f"num_classes = {config.num_classes}: {_no_labels(str(dataset.path))}")  # before the work
    parent = next(folder for folder in (out, *out.parents) if folder.exists())
    # Root may write anywhere; a folder that nobody has leave to write to is still not to be written to.
    if not os.access(parent, os.W_OK) or not parent.stat().st_mode & 0o222:
        raise DataError(f"{out} cannot be written; set data.prepared to a folder for the prepared data.")
    options = Options(
        config.resolution,
        image_channels=config.image_channels,
        crop=config.data.crop,
        color=config.data.color,
        const_shape=config.const_shape,
        arrays=config.is_arrays,
    )
    prepare(dataset, out, options, overwrite=overwrite)


def _check_kind(data: DataConfig, location: Path, category: str, split: str) -> None:
    if data.source == "lsun" and category != data.category:
        raise DataError(
            f"data.category = {data.category!r}: {location} holds {category}; set data.category {category}."
        )
    if split != data.split:
        raise DataError(f"data.split = {data.split!r}: {location} holds {split}; set data.split {split}.")


def _check_prepared(data: DataConfig, folder: Path, resolution: int) -> None:
    manifest = read_manifest(folder)
    manifest.check_shards(folder, resolution)
    if not manifest.shard_checksums:
        Progress().say(
            f"{folder} was prepared by an earlier version, which noted no times and checksums: if files are replaced by"
            " others of the same names and sizes, that is not noticed. Prepare it anew to have it noticed."
        )
    _check_kind(data, folder, manifest.settings.identity.get("category", data.category), manifest.split)
    if manifest.settings.crop != data.crop:
        raise DataError(
            f"data.crop = {data.crop!r}: {folder} was prepared with {manifest.settings.crop};"
            " set data.crop to that, or prepare it anew."
        )
    if manifest.settings.color not in (None, data.color):
        raise DataError(
            f"data.color = {data.color!r}: {folder} was prepared with {manifest.settings.color};"
            " set data.color to that, or prepare it anew."
        )


def _no_labels(description: str) -> str:
    return f"{description} has no labels; set num_classes 0, or prepare it with labels (--labels folders or csv:FILE)."


def _check_fit(config: Config, source: ImageSource) -> None:
    largest = source.resolutions[-1]
    if source.const_shape != config.const_shape:
        found, wanted = (
            size_text(r, c) for r, c in ((largest, source.const_shape), (config.resolution, config.const_shape))
        )
        raise DataError(
            f"resolution = {wanted}: {source.description} has images of {found} pixels, of another shape;"
            f" prepare it with --resolution {wanted}, or set --resolution {found}."
        )
    if largest < config.resolution:
        raise DataError(
            f"resolution = {config.resolution}: {source.description} has {largest} pixels a side;"
            f" prepare it with --resolution {config.resolution}, or set resolution {largest}."
        )
    if bool(source.channel_stats) != config.is_arrays:
        held, wanted = ("arrays", "colors") if source.channel_stats else ("colors", "arrays")
        raise DataError(
            f"data.source = {config.data.source!r}: {source.description} holds {held}, not {wanted}; set data.source"
            f" {'arrays' if source.channel_stats else 'images'}."
        )
    if source.channels != config.image_channels:
        raise DataError(
            f"image_channels = {config.image_channels}: {source.description} has {source.channels};"
            f" set image_channels {source.channels}, or prepare it with --image-channels {config.image_channels}."
        )
    classes = len(source.class_names)
    if config.num_classes and not classes:
        raise DataError(f"num_classes = {config.num_classes}: {_no_labels(source.description)}")
    if config.num_classes and config.num_classes != classes:
        raise DataError(
            f"num_classes = {config.num_classes}: {source.description} has {counted(classes, 'class')};"
            f" set num_classes {classes}, or 0 to leave the labels out."
        )
