"""The verb ``prepare``: raw images to a folder that training reads at full speed."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from stylegen import shapes
from stylegen.cli import arguments, common
from stylegen.data.raw.base import RawDataset
from stylegen.data.source import DataError
from stylegen.io.progress import counted
from stylegen.shapes import Shape

_DESCRIPTION = """Prepare images for training: crop them, make every resolution from 8 pixels up, and store each
as a TFDS data set of its own.

  prepare lsun DIR/bedroom_train_lmdb.zip --out DATA --resolution 256
  prepare images FOLDER_OR_ZIP --out DATA --resolution 64 --labels auto
  prepare cifar10 cifar-10-binary.tar.gz --out DATA
  prepare arrays FIELDS.npy --out DATA --resolution 64
  prepare toy_bedrooms --out DATA --resolution 64 --num-images 20000
  prepare copy gs://BUCKET/bedroom --out DATA

Then train with --data.path DATA. A command that was interrupted continues where it was when given again.
"""

Resolution = Annotated[str, tyro.conf.arg(metavar="PIXELS")]


@dataclass(frozen=True, kw_only=True)
class Output:
    """What all kinds of data have in common."""

    out: Annotated[Path, tyro.conf.arg(metavar="DATA")]  # folder to write to: new, empty, or to be continued.
    resolution: Resolution = "256"  # largest resolution, a power of two; or width and height, as in 512x384.
    start_resolution: int = 8  # smallest resolution that is stored, in pixels; training averages still smaller ones.
    image_channels: Literal[1, 2, 3, 4] = 3  # 1 gray, 2 gray and alpha, 3 RGB, 4 RGB and alpha.
    # The largest part in the middle that has the resolution's proportions, a square for squares; or the largest 4:3
    # image between black bars (for cars, as the original did).
    crop: Literal["center-crop", "center-crop-wide"] = "center-crop"
    # How images are stored; auto is raw below 256 pixels and JPEG of quality 95, 4:4:4 from there up.
    encoding: Literal["auto", "raw", "jpeg", "lossless"] = "auto"
    # Convert images by their ICC profiles to sRGB, or leave their numbers as-is.
    color: Literal["srgb", "as-is"] = "srgb"
    workers: Annotated[int | None, arguments.Bounds(1)] = None  # processes; default: all cores.
    max_images: Annotated[int | None, arguments.Bounds(1)] = None
    """Use only so many, the first ones; of folders as labels, as many of each class."""
    overwrite: bool = False  # start anew, deleting what was prepared in DATA before.


@dataclass(frozen=True, kw_only=True)
class Lsun(Output):
    """An LSUN archive as downloaded: CATEGORY_SPLIT_lmdb.zip (scenes) or CATEGORY.zip (objects), or unpacked.

    Example: stylegen prepare lsun DIR/bedroom_train_lmdb.zip --out DATA --resolution 256
    """

    archive: tyro.conf.Positional[Path]  # the zip, or the folder with data.mdb.


@dataclass(frozen=True, kw_only=True)
class Images(Output):
    """A folder, zip or tar of images, nested or flat, or a folder of StyleGAN's TFRecords.

    Example: stylegen prepare images FOLDER_OR_ZIP --out DATA --resolution 64 --labels auto
    """

    images: tyro.conf.Positional[Path]  # the folder, zip, tar or tar.gz.
    labels: Annotated[str, tyro.conf.arg(metavar="auto|folders|json|csv:FILE|none")] = "auto"
    """Classes: auto takes NVIDIA's dataset.json if it has labels, else top folders that look like classes, else none;
    csv:FILE is a table of file,label."""
    align: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """Align faces as FFHQ's by five points an image, in JSON: {file: [[x, y], ...]}; eyes, nose, corners of the mouth,
    the left one of each first."""
    labels_from_folders: bool = False  # the same as --labels folders.


@dataclass(frozen=True, kw_only=True)
class Cifar10(Output):
    """CIFAR-10's archive, in binary form or the one for Python.

    Example: stylegen prepare cifar10 cifar-10-binary.tar.gz --out DATA
    """

    archive: tyro.conf.Positional[Path]  # cifar-10-binary.tar.gz or cifar-10-python.tar.gz.
    resolution: Resolution = "32"  # largest resolution, a power of two.
    split: Literal["train", "test"] = "train"  # 50,000 images to train on, or 10,000 to test.


@dataclass(frozen=True, kw_only=True)
class Arrays(Output):
    """Arrays of measured values, of 1 to 16 channels: .npy or .npz of [N, h, w, C], or a folder with a file of each.

    Example: stylegen prepare arrays FIELDS.npy --out DATA --resolution 64
    """

    arrays: tyro.conf.Positional[Path]  # the file or folder; values become float32, in units of their deviation.


@dataclass(frozen=True, kw_only=True)
class ToyBedrooms(Output):
    """Drawn rooms, which need no download; training can also draw them by itself.

    Example: stylegen prepare toy_bedrooms --out DATA --resolution 64 --num-images 20000
    """

    resolution: Resolution = "64"  # largest resolution, 8 to 256.
    num_images: int = 20_000  # how many rooms.


@dataclass(frozen=True, kw_only=True)
class Copy:
    """Prepared data of another folder or of an object store, to a disk of this machine; verified, and resumable.

    Example: stylegen prepare copy gs://BUCKET/bedroom --out DATA
    """

    source: tyro.conf.Positional[str]  # folder that prepare wrote, or the gs:// or s3:// URL of one.
    out: Annotated[Path, tyro.conf.arg(metavar="DATA")]  # folder to copy to: new, empty, or to be continued.
    resolution: Annotated[int | None, tyro.conf.arg(metavar="PIXELS"), arguments.Bounds(4, 1024)] = None
    """Largest resolution that is copied, that of the training; default: all."""


Command = (
    Annotated[Lsun, tyro.conf.subcommand("lsun")]
    | Annotated[Images, tyro.conf.subcommand("images")]
    | Annotated[Cifar10, tyro.conf.subcommand("cifar10")]
    | Annotated[Arrays, tyro.conf.subcommand("arrays")]
    | Annotated[ToyBedrooms, tyro.conf.subcommand("toy_bedrooms")]
    | Annotated[Copy, tyro.conf.subcommand("copy")]
)


def parse_resolution(text: str) -> tuple[int, Shape]:
    """The resolution and the constant's rows and columns of a size: ``256`` or ``512x384`` (``stylegen.shapes``).

    Raises:
        DataError: no size that a network can have.
    """
    size = shapes.parse(text)
    if isinstance(size, str):
        raise DataError(f"resolution = {text}: {size}.")
    return size


def run(command: Lsun | Images | Cifar10 | Arrays | ToyBedrooms | Copy) -> None:
    """Do what was asked.

    Raises:
        DataError: it cannot be done.
    """
    # Here, because TFDS takes a second or two to import, which --help does not need.
    from stylegen.data.prepared.copy import copy
    from stylegen.data.prepared.prepare import Options, prepare

    if isinstance(command, Copy):
        manifest = copy(command.source, command.out, resolution=command.resolution, progress=common.with_progress)
        print(f"{command.out}: {counted(manifest.num_images, 'image')}, verified. Train with --data.path {command.out}")
        return
    resolution, const_shape = parse_resolution(command.resolution)
    options = Options(
        resolution,
        const_shape=const_shape,
        start_resolution=command.start_resolution,
        image_channels=command.image_channels,
        crop=command.crop,
        encoding=command.encoding,
        color=command.color,
    )
    dataset = _opened(command, max(shapes.shape_at(resolution, const_shape)))
    if isinstance(command, Arrays):
        options = dataclasses.replace(options, arrays=True, image_channels=dataset.channels)
    prepare(dataset, command.out, options, workers=command.workers, overwrite=command.overwrite)


def _opened(command: Lsun | Images | Cifar10 | Arrays | ToyBedrooms, side: int) -> RawDataset:
    """The raw data that a command names; ``side`` is that of drawn images, in pixels."""
    from stylegen.data.raw.opening import ToyDataset, aligned, open_raw

    most = command.max_images
    match command:
        case Lsun():
            return open_raw("lsun", command.archive, max_images=most)
        case Images():
            labels = "folders" if command.labels_from_folders else command.labels
            dataset = open_raw("images", command.images, labels=labels, max_images=most)
            return dataset if command.align is None else aligned(dataset, command.align)
        case Cifar10():
            return open_raw("cifar10", command.archive, split=command.split, max_images=most)
        case Arrays():
            return open_raw("arrays", command.arrays, max_images=most)
        case ToyBedrooms():
            return ToyDataset(min(command.num_images, most or command.num_images), side)


INTERRUPTED = "The same command goes on."


def main(argv: list[str] | None = None) -> int:
    """Entry point; the exit status is 0, 2 for what the user can fix, or 130 after Ctrl-C."""
    kind: Any = Command
    return common.run(lambda: run(arguments.parse(kind, argv, prog="prepare", description=_DESCRIPTION)), INTERRUPTED)
