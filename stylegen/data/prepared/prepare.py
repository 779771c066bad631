"""From raw images to a folder of array_record shards at every resolution, on all cores, resumable."""

import hashlib
import math
import multiprocessing
import shutil
import tempfile
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from stylegen.config import MAX_ARRAY_CHANNELS, MAX_RESOLUTION, is_resolution
from stylegen.data import imaging
from stylegen.data.prepared import shards
from stylegen.data.prepared.manifest import (
    MANIFEST_NAME,
    SETTINGS_NAME,
    WORK_FOLDER,
    Manifest,
    Settings,
    checksum,
    existing_settings,
    read_manifest,
    resolution_folder,
    settings_to_json,
)
from stylegen.data.prepared.shards import Job, ShardResult
from stylegen.data.raw.base import RawDataset
from stylegen.data.source import DataError, class_text, usable_cores
from stylegen.io import signals
from stylegen.io.files import exclusive, printable, remove_partial, why, write_json
from stylegen.io.progress import Progress, Rate, counted, size
from stylegen.paths import expanded
from stylegen.shapes import LARGEST, MAX_SIDE, SMALLEST, SQUARE, Shape, shape_at, size_text

JPEG_RESOLUTION = 256  # with encoding "auto", this and larger are JPEG, smaller are raw
_SHARDS = 128  # wanted; enough to keep all cores busy to the end
_IMAGES_PER_SHARD = 64, 16_384  # fewest and most: small files waste 64 kB each, many files are slow to open
_SAMPLE = 96  # images measured beforehand
_SHARD_BYTES = 2**16  # that a file takes beyond its records
_FREE_MARGIN = 2**26  # bytes left free
_POLL_SECONDS = 0.5
UNPACKED = ("data.mdb", "images.tar")  # what raw datasets unpack


@dataclass(frozen=True)
class Options:
    """The format of the prepared images.

    Raises:
        DataError: a value cannot be; the message says which and why.
    """

    resolution: int  # largest, in pixels a side
    start_resolution: int = 8  # smallest that is stored
    image_channels: int = 3  # 1 gray, 2 gray and alpha, 3 RGB, 4 RGB and alpha
    crop: imaging.Crop = "center-crop"
    encoding: Literal["auto", "raw", "jpeg", "lossless"] = "auto"
    color: imaging.Color = "srgb"  # convert by ICC profiles, or leave the numbers as-is
    arrays: bool = False  # numbers, stored as float32, of up to 16 channels; not colors
    const_shape: Shape = SQUARE  # rows and columns of images of resolution 4; see ``stylegen.shapes``

    def __post_init__(self) -> None:
        for name in ("resolution", "start_resolution"):
            if not is_resolution(getattr(self, name)):
                raise DataError(f"{name} = {getattr(self, name)}: must be a power of two from 4 to {MAX_RESOLUTION}.")
        most = MAX_ARRAY_CHANNELS if self.arrays else 4
        if not 1 <= self.image_channels <= most:
            raise DataError(f"image_channels = {self.image_channels}: must be from 1 to {most}.")
        if self.arrays and (self.encoding != "auto" or self.crop != "center-crop"):
            raise DataError(
                "arrays are stored as float32 and cropped in the middle; leave encoding and crop as they are."
            )
        if self.crop not in get_args(imaging.Crop):
            raise DataError(f"crop = {self.crop!r}: must be one of {', '.join(get_args(imaging.Crop))}.")
        if self.color not in get_args(imaging.Color):
            raise DataError(f"color = {self.color!r}: must be one of {', '.join(get_args(imaging.Color))}.")
        sides = *self.const_shape, max(shape_at(self.resolution, self.const_shape)) / (MAX_SIDE // LARGEST)
        if len(self.const_shape) != 2 or not (min(self.const_shape) >= SMALLEST and max(sides) <= LARGEST):
            raise DataError(f"const_shape = {self.const_shape}: must be two numbers from {SMALLEST} to {LARGEST}.")
        if self.crop != "center-crop" and self.const_shape[0] != self.const_shape[1]:
            raise DataError(f"crop = {self.crop!r}: is for squares; center-crop takes the images' proportions.")
        if self.encoding == "jpeg" and self.image_channels in (2, 4):
            raise DataError("encoding = 'jpeg': JPEG has no alpha channel; use lossless or raw.")
        if self.encoding == "lossless" and self.image_channels == 2:
            raise DataError("encoding = 'lossless': two channels are stored raw only; use raw.")

    @property
    def resolutions(self) -> tuple[int, ...]:
        """All that are stored, smallest first."""
        return imaging.pyramid_resolutions(self.resolution, self.start_resolution)

    def encoding_at(self, resolution: int) -> imaging.Encoding:
        """How one resolution is stored."""
        if self.arrays:
            return "float32"
        if self.encoding != "auto":
            return self.encoding
        if resolution < JPEG_RESOLUTION or self.image_channels == 2:
            return "raw"
        return "lossless" if self.image_channels == 4 else "jpeg"


def prepare(
    dataset: RawDataset,
    out: Path | str,
    options: Options,
    *,
    workers: int | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> Manifest:
    """Prepare a raw dataset in the folder ``out``, or finish an earlier call that was interrupted.

    The result is the same whatever the number of workers and however often the work was interrupted.

    Args:
        dataset: raw images.
        out: folder for the pyramid: one TFDS data set a resolution (``0008``, ``0016``, ...) and ``prepared.json``.
        options: the format of the images.
        workers: processes; default: all cores. With 1, everything is done in this process.
        overwrite: delete what was prepared in ``out`` before.
        progress: where messages go; default: standard error.

    Raises:
        DataError: the raw data is damaged or holds no readable image, ``out`` holds something else, or the disk is too
            small; the message says what to do.
    """
    out = expanded(out)
    progress = progress or Progress()
    if printable(out) != str(out):
        raise DataError(
            f"{printable(out)} is no printable UTF-8, which names of shards must be; choose another folder."
        )
    settings = _settings(dataset, options)
    job = Job(dataset, settings, out, math.ceil(dataset.num_images / settings.images_per_shard))
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"{out} cannot be written ({error.strerror}); choose another folder.") from error
    with exclusive(out, DataError(f"{out} is being prepared by another process; wait for it.")):
        _check_folder(out, settings, overwrite)
        if (out / MANIFEST_NAME).is_file():
            shutil.rmtree(out / WORK_FOLDER, ignore_errors=True)
            manifest = read_manifest(out)
            progress.say(
                f"{out} is prepared already: {counted(manifest.num_images, 'image')} at up to "
                f"{size_text(options.resolution, options.const_shape)} pixels"
            )
            return manifest
        return _work(job, workers or usable_cores(), progress)


def _work(job: Job, workers: int, progress: Progress) -> Manifest:
    """Write the shards that are not there yet, and what describes them; the folder is ours alone."""
    out, settings = job.folder, job.settings
    (out / WORK_FOLDER).mkdir(exist_ok=True)
    for folder in (out, out / WORK_FOLDER, *(out / resolution_folder(r) for r in settings.resolutions)):
        remove_partial(folder)  # of an earlier call that was killed
    write_json(out / WORK_FOLDER / SETTINGS_NAME, settings_to_json(settings), indent=1)
    results = {i: r for i in range(job.num_shards) if (r := shards.read_result(job, i)) is not None}
    try:
        _check_space(job, results, progress)
        job.dataset.unpack(out / WORK_FOLDER, progress)
        _write_shards(job, results, workers, progress)
    except KeyboardInterrupt:
        progress.say("stopped; what is done is kept, and the same command continues")
        raise
    except OSError as error:
        raise DataError(
            f"{out} could not be prepared: {why(error)}. What is done is kept, and the same command continues."
        ) from error
    finally:
        progress.clear()
    manifest = _finish(job, [results[i] for i in range(job.num_shards)], progress)
    shutil.rmtree(out / WORK_FOLDER)
    return manifest


def _settings(dataset: RawDataset, options: Options) -> Settings:
    least, most = _IMAGES_PER_SHARD
    return Settings(
        origin=dataset.kind,
        identity=dataset.full_identity,
        resolution=options.resolution,
        resolutions=options.resolutions,
        image_channels=options.image_channels,
        crop=options.crop,
        color=None if options.arrays else options.color,
        channel_stats=dataset.channel_stats,
        const_shape=options.const_shape,
        encodings={r: options.encoding_at(r) for r in options.resolutions},
        class_names=dataset.class_names,
        images_per_shard=min(max(math.ceil(dataset.num_images / _SHARDS), least), most),
    )


def _check_folder(out: Path, settings: Settings, overwrite: bool) -> None:
    """Make sure that ``out`` is empty, or holds this very preparation; with ``overwrite``, delete an earlier one."""
    work = out / WORK_FOLDER / SETTINGS_NAME
    own_names = {MANIFEST_NAME, WORK_FOLDER} | {resolution_folder(2**i) for i in range(2, 11)}
    other_files = sorted(path.name for path in out.iterdir() if path.name not in own_names)
    started = work.is_file() or (out / MANIFEST_NAME).is_file()
    if overwrite and started:
        (out / MANIFEST_NAME).unlink(missing_ok=True)
        for name in own_names:
            shutil.rmtree(out / name, ignore_errors=True)
    elif started:
        existing = existing_settings(out)
        if existing and (different := existing.differences(settings)):
            raise DataError(
                f"{out} holds another preparation: {'; '.join(different[:3])}; choose another folder, or start anew"
                " with --overwrite."
            )
    elif other_files:
        raise DataError(f"{out} holds other files, such as {other_files[0]}; choose an empty or a new folder.")


def _check_space(job: Job, results: dict[int, ShardResult], progress: Progress) -> None:
    """Say how much disk is needed and how much is free; refuse where it is not enough."""
    dataset = job.dataset
    sizes = _measure(job)
    pyramid = sum(sizes.values())
    items = [f"pyramid about {size(pyramid)} ({', '.join(f'{r}: {size(n)}' for r, n in sizes.items())})"]
    if dataset.unpacked_bytes:
        items.insert(0, f"unpacked {size(dataset.unpacked_bytes)}, deleted at the end")
    if dataset.path is not None and dataset.path.is_file():
        items.insert(0, f"archive {size(dataset.path.stat().st_size)}, there already")
    free = shutil.disk_usage(job.folder).free
    source = dataset.path if dataset.kind == "images" else f"{dataset.kind} {dataset.split}"
    progress.say(f"{counted(dataset.num_images, 'image')} of {source} to {job.folder}")
    if dataset.note:
        progress.say(dataset.note)  # at the end again: what is missing should be known before hours of work, too
    progress.say(f"disk: {'; '.join(items)}; free {size(free)}")
    written = sum(sum(result.file_bytes) for result in results.values())
    unpacked = [path for name in UNPACKED for path in (job.folder / WORK_FOLDER).rglob(name)]
    written += sum(path.stat().st_size for path in unpacked)
    needed = pyramid + dataset.unpacked_bytes - written + _FREE_MARGIN
    if needed > free:
        raise DataError(
            f"{job.folder} needs about {size(needed)} of disk and has {size(free)} free; choose another disk, a smaller"
            " resolution, or encoding jpeg."
        )


def _measure(job: Job) -> dict[int, int]:
    """Expected bytes on disk by resolution, from a sample that is stored as the rest will be."""
    settings = job.settings
    with tempfile.TemporaryDirectory(dir=job.folder / WORK_FOLDER, prefix="sample") as folder:
        count, stored = shards.write_sample(job, Path(folder), job.dataset.sample(_SAMPLE))
    if count == 0:  # nothing could be measured: count the pixels; JPEG takes some 15 % of them, the others at most all
        count = 1
        for r, encoding in settings.encodings.items():
            stored[r] = int(
                math.prod(shape_at(r, settings.const_shape))
                * settings.image_channels
                * (0.15 if encoding == "jpeg" else 1.0)
            )
    return {r: n * job.dataset.num_images // count + _SHARD_BYTES * job.num_shards for r, n in stored.items()}


def _write_shards(job: Job, results: dict[int, ShardResult], workers: int, progress: Progress) -> None:
    """Write the shards that are not in ``results`` yet, and add them there."""
    missing = [index for index in range(job.num_shards) if index not in results]
    done = sum(result.num_images + result.unreadable for result in results.values())
    if results and missing:
        progress.say(f"continuing after {counted(done, 'image')}")
    rate = Rate(job.dataset.num_images, done)
    if min(workers, len(missing)) > 1:
        workers = min(workers, len(missing))

        def show(count: int, state: str) -> None:
            progress.update(rate.line(done + count) + state)

        _write_in_parallel(job, missing, results, workers, show)
        return
    read = 0

    def count_image() -> None:
        nonlocal read
        read += 1
        signals.check()
        if read % 64 == 0:
            progress.update(rate.line(done + read))

    for index in missing:
        results[index] = shards.write_shard(job, index, count_image)


def _write_in_parallel(
    job: Job, missing: list[int], results: dict[int, ShardResult], workers: int, show: Callable[[int, str], None]
) -> None:
    context = multiprocessing.get_context("spawn")  # a fork of a process that runs JAX may hang
    shared = shards.Shared.make(context)
    pool = ProcessPoolExecutor(workers, context, shards.start_process, (job, shared))
    try:
        with signals.blocked():  # processes are started here, and import for seconds before they ignore Ctrl-C
            pending: set[Future[ShardResult]] = {pool.submit(shards.run_in_process, index) for index in missing}
        while pending:
            signals.check()
            finished, pending = wait(pending, _POLL_SECONDS, FIRST_COMPLETED)
            for future in finished:
                result = future.result()
                results[result.index] = result
            show(shared.counter.value, shared.state())
    except BrokenProcessPool as error:
        signals.check()  # a scheduler sends SIGTERM to all processes of a job
        raise DataError(
            "A worker process died, perhaps for want of memory or over a damaged archive; the same command continues,"
            " with fewer --workers if it happens again."
        ) from error
    finally:
        shared.stop.set()
        pool.shutdown(cancel_futures=True)


def _finish(job: Job, results: list[ShardResult], progress: Progress) -> Manifest:
    """Write the metadata of the TFDS data sets, and the manifest last."""
    from stylegen.data.prepared.tfds_metadata import write_metadata

    settings, dataset = job.settings, job.dataset
    keys = [key for result in results for key in result.unreadable_keys]
    paths = {r: [job.shard_path(r, result.index) for result in results] for r in settings.resolutions}
    counts = [sum(images) for images in zip(*(result.class_counts for result in results), strict=False)]
    manifest = Manifest(
        settings=settings,
        name=dataset.name,
        split=dataset.split,
        num_images=sum(result.num_images for result in results),
        shard_lengths=[result.num_images for result in results],
        bytes_on_disk={r: sum(x.file_bytes[i] for x in results) for i, r in enumerate(settings.resolutions)},
        unreadable=sum(result.unreadable for result in results),
        unreadable_keys=keys[:100],
        upscaled=sum(result.upscaled for result in results),
        fingerprint=hashlib.sha256("".join(result.digest for result in results).encode()).hexdigest()[:32],
        shard_checksums={r: [checksum(path) for path in shard_paths] for r, shard_paths in paths.items()},
        class_counts=counts,
    )
    if manifest.num_images == 0:
        raise DataError(f"None of the {counted(dataset.num_images, 'image')} could be read; the first was {keys[0]}.")
    for i, resolution in enumerate(settings.resolutions):
        num_bytes = sum(result.record_bytes[i] for result in results)
        write_metadata(job.folder / resolution_folder(resolution), manifest, resolution, num_bytes)
    manifest.write(job.folder)
    _report(manifest, job.folder, progress)
    if dataset.note:
        progress.say(dataset.note)
    return manifest


def _report(manifest: Manifest, folder: Path, progress: Progress) -> None:
    total = sum(manifest.bytes_on_disk.values())
    settings = manifest.settings
    first, last = (size_text(r, settings.const_shape) for r in (settings.resolutions[0], settings.resolutions[-1]))
    progress.say(f"{folder}: {counted(manifest.num_images, 'image')} at {first} to {last} pixels, {size(total)}")
    names = settings.class_names
    if names:
        progress.say(class_text(names, manifest.class_counts))
    if empty := [name for name, count in zip(names, manifest.class_counts, strict=False) if not count]:
        progress.say(
            f"warning: no image that can be read is in {', '.join(empty)}; a generator cannot learn that class"
        )
    if manifest.unreadable:
        progress.say(
            f"{counted(manifest.unreadable, 'image', ('was', 'were'))} left out, which could not be read, the first:"
            f" {manifest.unreadable_keys[0]} (more in {folder / MANIFEST_NAME})"
        )
    if manifest.upscaled:
        progress.say(
            f"warning: {counted(manifest.upscaled, 'image', ('is', 'are'))} smaller than {last} pixels; "
            "enlarging does not make images sharper, so consider a smaller resolution"
        )
