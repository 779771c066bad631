"""From a path to an image set: whatever training can read, arrays, and statistics of features."""

import hashlib
import json
import shutil
import tempfile
import warnings
import weakref
import zipfile
from pathlib import Path
from typing import NoReturn

import numpy as np

from stylegen.data import imaging, open_source
from stylegen.data.prepared.manifest import MANIFEST_NAME
from stylegen.data.raw.base import RawDataset
from stylegen.data.raw.cifar10 import Cifar10Dataset, is_cifar10
from stylegen.data.raw.lsun import LsunDataset
from stylegen.data.raw.opening import open_raw
from stylegen.evaluation import EvaluationError
from stylegen.evaluation.image_sets import ArraySet, ImageSet, RawSet, SourceSet, StatisticsSet
from stylegen.io.progress import Progress, size
from stylegen.metrics import MetricError
from stylegen.metrics.moments import Moments
from stylegen.paths import expanded
from stylegen.runs import settings
from stylegen.runs.load import is_exported
from stylegen.shapes import Shape, shape_at, size_text
from stylegen.untrusted import FileError, archives, json_text, npz, shown

TAR = (".tar", ".gz", ".tgz")
CACHED = ("key", "count", "mean", "scatter")  # arrays of the statistics that this package keeps
PUBLISHED = ("mu", "sigma")  # of pytorch-fid's and TTUR's


def open_images(
    path: Path,
    resolution: int | tuple[int, int] | None = None,
    crop: imaging.Crop = "center-crop",
    color: imaging.Color = "srgb",
) -> ImageSet:
    """Images at a path, of any kind that training reads, or arrays.

    It may be a folder, zip or tar of images, TFRecords, an LSUN archive (zipped or not), CIFAR-10's archive, or a
    folder that ``prepare`` wrote. A run's directory stands for its training data. A .npy or .npz file holds uint8
    [N, h, w, C]. A .npz file with the statistics that this package keeps in its cache, or with mu and sigma as
    pytorch-fid writes them, is a ``StatisticsSet``.

    Args:
        path: of a file or folder.
        resolution: crop and resize raw images to so many pixels a side, or to rows and columns; or take prepared ones
            at it.
        crop: of raw images.
        color: convert ICC profiles of raw images to sRGB, or leave them out.

    Raises:
        EvaluationError: there is no such thing, or it holds no images that can be used.
        DataError: no images in the folder or zip, or data that is damaged.
        ConfigError: the configuration of a run cannot be read.
    """
    path = expanded(path)
    if not path.exists():
        raise EvaluationError(f"{path}: there is no such folder or file.")
    if path.suffix in (".npy", ".npz"):
        return _open_arrays(path, resolution)
    if (path / MANIFEST_NAME).is_file():
        return _open_prepared(path, resolution)
    if (path / settings.CONFIG_NAME).is_file() and not is_exported(path):
        return _open_data_of_run(path, resolution)
    if (path / "data.mdb").is_file() or _is_zipped_lsun(path):
        return _LsunSet(LsunDataset(path), resolution, crop, color)
    if path.is_file() and path.suffix in TAR and is_cifar10(path):
        return RawSet(Cifar10Dataset(path), resolution, crop, color=color)
    if path.is_dir() and (archives := _lsun_archives(path)):
        if len(archives) > 1:
            _refuse_several(path, archives)
        return _LsunSet(LsunDataset(archives[0]), resolution, crop, color)
    return _ImagesSet(open_raw("images", path), resolution, crop, color=color)


def _open_prepared(path: Path, resolution: int | tuple[int, int] | None) -> ImageSet:
    from stylegen.data.prepared.source import PreparedSource

    source = PreparedSource(path)
    side = _stored_resolution(path, source.resolutions[-1], source.const_shape, resolution)
    return SourceSet(source, side, mirror=False, crop=source.manifest.settings.crop)


def _open_data_of_run(path: Path, resolution: int | tuple[int, int] | None) -> ImageSet:
    config = settings.read(path, lambda line: warnings.warn(line, stacklevel=2))
    side = _stored_resolution(path, config.resolution, config.const_shape, resolution)
    return SourceSet(open_source(config), side, config.data.mirror, config.data.crop)


def _stored_resolution(path: Path, largest: int, const: Shape, wanted: int | tuple[int, int] | None) -> int:
    """The level of the pyramid whose images have the size that is wanted; the largest if None."""
    if wanted is None:
        return largest
    rows, columns = imaging.sides(wanted)
    sizes = {shape_at(largest >> i, const): largest >> i for i in range(largest.bit_length()) if largest >> i >= 4}
    if (rows, columns) not in sizes:
        asked = rows if rows == columns else f"{columns}x{rows}"
        raise EvaluationError(
            f"--resolution {asked}: {path} has images of {size_text(largest, const)} pixels; take that, or a power of"
            " two below it."
        )
    return sizes[rows, columns]


def _is_zipped_lsun(path: Path) -> bool:
    if not zipfile.is_zipfile(path):
        return False
    try:
        with archives.reading(str(path)), zipfile.ZipFile(path) as archive:
            return any(Path(name).name == "data.mdb" for name in archive.namelist())
    except FileError:
        return False  # a damaged one, which those who read it as images have a sentence for


def _lsun_archives(folder: Path) -> list[Path]:
    """LSUN's archives in a folder; all of them are named like this, but for those of objects."""
    return sorted(path for path in folder.glob("*_lmdb*") if (path / "data.mdb").is_file() or _is_zipped_lsun(path))


def _refuse_several(folder: Path, archives: list[Path]) -> NoReturn:
    names = ", ".join(path.name for path in archives)
    raise EvaluationError(f"{folder} holds several LSUN archives ({names}); give the path of one.")


def _unpack(owner: RawSet, dataset: RawDataset) -> None:
    """Unpack to a temporary folder what cannot be read otherwise; it goes with its owner."""
    if not dataset.unpacked_bytes:
        return
    folder = tempfile.mkdtemp(prefix=f"stylegen-{dataset.kind}-")
    weakref.finalize(owner, shutil.rmtree, folder, ignore_errors=True)  # also when Python ends
    free = shutil.disk_usage(folder).free
    if dataset.unpacked_bytes > free:
        raise EvaluationError(
            f"{dataset.path} takes {size(dataset.unpacked_bytes)} unpacked, and {folder} has {size(free)}; "
            "unpack it elsewhere and give that folder, or set TMPDIR."
        )
    dataset.unpack(Path(folder), Progress())


class _ImagesSet(RawSet):
    """Images of a folder or archive; a tar that is compressed is decompressed first."""

    def __init__(
        self,
        dataset: RawDataset,
        resolution: int | tuple[int, int] | None,
        crop: imaging.Crop,
        *,
        color: imaging.Color,
    ) -> None:
        _unpack(self, dataset)
        super().__init__(dataset, resolution, crop, color=color)


class _LsunSet(RawSet):
    """An LSUN archive; one that is zipped is unpacked to a temporary folder that goes with the set."""

    def __init__(
        self, dataset: LsunDataset, resolution: int | tuple[int, int] | None, crop: imaging.Crop, color: imaging.Color
    ) -> None:
        _unpack(self, dataset)
        # The keys are hashes, so their order is random; another one would take a pass over all keys for each image.
        identity = json.dumps(dataset.identity, sort_keys=True)
        digest = hashlib.sha256(identity.encode()).hexdigest()
        order = np.arange(dataset.num_images)
        super().__init__(dataset, resolution, crop, order=order, fingerprint=digest, color=color)


def _open_arrays(path: Path, resolution: int | tuple[int, int] | None) -> ImageSet:
    if resolution:
        raise EvaluationError(f"{path}: --resolution is for folders and archives; an array is taken as it is.")
    try:
        if path.suffix == ".npy":
            npz.read_npy_header(path)
            return ArraySet(np.load(path, mmap_mode="r", allow_pickle=False), str(path))
        with npz.Npz(path) as file:
            if statistics := _statistics(file):
                return statistics
            headers = {name: file.header(name) for name in sorted(file.names)}
            images = [name for name, head in headers.items() if head.dtype == np.uint8 and len(head.shape) == 4]
            if len(images) != 1:
                held = ", ".join(f"{shown(name)} {head.dtype} {head.shape}" for name, head in headers.items())
                raise EvaluationError(f"{path}: one array of images, uint8 [N, h, w, C], is wanted; it holds {held}.")
            return ArraySet(file.read(images[0]), str(path))
    except FileError as error:
        raise EvaluationError(str(error)) from error
    except (OSError, ValueError, EOFError) as error:
        if isinstance(error, EvaluationError):
            raise
        raise EvaluationError(f"{path}: cannot be read as an array ({error}).") from error


def _statistics(file: npz.Npz) -> ImageSet | None:
    """The statistics that a file holds; None if it holds none."""
    try:
        if set(PUBLISHED) <= file.names:
            return StatisticsSet(file.source, Moments.known(file.read("mu"), file.read("sigma")), None, None)
        if not set(CACHED) <= file.names:
            return None
        key = json_text.parse_object(file.text("key"), file.source)
        moments = Moments.from_arrays({name: file.read(name) for name in CACHED if name != "key"})
        Moments.known(moments.mean, moments.covariance)  # checks them
        return StatisticsSet(file.source, moments, moments.count, key["extractor"])
    except (MetricError, FileError, ValueError, TypeError, KeyError) as error:
        raise EvaluationError(f"{file.source}: its statistics cannot be used ({str(error).rstrip('.')}).") from error
