"""Writing one shard of a pyramid: the work of one process, whole or not at all, and the same bytes every time."""

import contextlib
import functools
import hashlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import CancelledError
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, ClassVar, NoReturn

import numpy as np

from stylegen.data import alignment, imaging
from stylegen.data.prepared.manifest import WORK_FOLDER, Settings, shard_name
from stylegen.data.prepared.records import serialize, writing_shard
from stylegen.data.raw.base import RawDataset, RawImage
from stylegen.io.files import write_json
from stylegen.untrusted import json_text
from stylegen.values import SPREAD

_KEYS_KEPT = 100  # unreadable images named in the manifest
HugeImage = Callable[[tuple[int, int]], contextlib.AbstractContextManager[None]]


@dataclass(frozen=True)
class Job:
    """The settings that all shards share; sent to every process once."""

    dataset: RawDataset
    settings: Settings
    folder: Path
    num_shards: int

    def shard_path(self, resolution: int, index: int) -> Path:
        """File of one shard at one resolution."""
        name = shard_name(self.dataset.name, self.dataset.split, resolution, index, self.num_shards)
        return self.folder / name

    def result_path(self, index: int) -> Path:
        """Where it is noted that a shard is done."""
        return self.folder / WORK_FOLDER / f"{index:05d}.json"


@dataclass(frozen=True)
class ShardResult:
    """The statistics of one shard; written beside it once it is complete."""

    index: int
    num_images: int
    record_bytes: list[int]  # by resolution, smallest first
    file_bytes: list[int]  # by resolution
    unreadable: int
    unreadable_keys: list[str]  # the first of them, each with the reason
    upscaled: int
    digest: str  # hash of all records
    class_counts: list[int] = field(default_factory=list)  # readable images by class


def read_result(job: Job, index: int) -> ShardResult | None:
    """The note of a finished shard, if it is there and its files are as it says."""
    try:
        result = ShardResult(**json_text.read_object(job.result_path(index)))
        sizes = [job.shard_path(r, index).stat().st_size for r in job.settings.resolutions]
    except (OSError, ValueError, TypeError):
        return None
    return result if sizes == result.file_bytes else None


def write_shard(job: Job, index: int, count_image: Callable[[], None]) -> ShardResult:
    """Read, convert and store the images of one shard, at all resolutions.

    Args:
        job: the whole job.
        index: of the shard.
        count_image: called after every image; may raise to give up.
    """
    settings = job.settings
    start = index * settings.images_per_shard
    stop = min(start + settings.images_per_shard, job.dataset.num_images)
    unreadable: list[str] = []
    num_images = num_upscaled = 0
    class_counts = [0] * len(settings.class_names)
    digest = hashlib.sha256()
    with contextlib.ExitStack() as stack:
        writers = {
            r: stack.enter_context(writing_shard(job.shard_path(r, index), settings.encodings[r] not in imaging.RAW))
            for r in settings.resolutions
        }
        for raw in job.dataset.read(start, stop):
            try:
                levels, upscaled = make_levels(raw, settings)
            except imaging.UnreadableImageError as error:
                unreadable.append(f"{raw.key}: {error}")
            else:
                num_images += 1
                num_upscaled += upscaled
                if raw.label is not None:
                    class_counts[raw.label] += 1
                for resolution, level in levels.items():
                    record = serialize(raw.key, level, raw.label)
                    digest.update(record)
                    writers[resolution].write(record)
            count_image()
    result = ShardResult(
        index=index,
        num_images=num_images,
        record_bytes=[writer.num_bytes for writer in writers.values()],
        file_bytes=[writer.file_bytes for writer in writers.values()],
        unreadable=len(unreadable),
        unreadable_keys=unreadable[:_KEYS_KEPT],
        upscaled=num_upscaled,
        digest=digest.hexdigest(),
        class_counts=class_counts,
    )
    write_json(job.result_path(index), asdict(result), indent=1)
    return result


def make_levels(raw: RawImage, settings: Settings, huge: HugeImage | None = None) -> tuple[dict[int, bytes], bool]:
    """Stored bytes by resolution, smallest first, and whether the image was too small for the largest.

    ``huge`` is as in ``imaging.decode``; by default, huge images are decoded one at a time over all processes.

    Raises:
        UnreadableImageError: the image is no image.
    """
    if raw.problem:
        raise imaging.UnreadableImageError(raw.problem)
    if settings.is_arrays:
        assert isinstance(raw.data, np.ndarray)
        return _levels_of_values(raw.data, settings)
    side = max(settings.shape)
    if isinstance(raw.data, bytes):
        image = imaging.decode(
            raw.data,
            settings.image_channels,
            color=settings.color or "srgb",
            smallest=side if raw.points is None else None,  # points are of the image at its full size
            huge=huge or functools.partial(_one_at_a_time, raw.key),
        )
    else:
        image = imaging.from_array(np.ascontiguousarray(raw.data), settings.image_channels)
    upscaled = imaging.is_upscaled(image, settings.shape, settings.crop)
    if raw.points is not None:
        upscaled = alignment.side_of(raw.points) < side
        image = alignment.align(image, raw.points, side)
    cropped = imaging.crop_and_resize(image, settings.shape, settings.crop)
    levels = imaging.pyramid(cropped, settings.resolutions, settings.resolution)
    stored = {r: imaging.encode_stored(levels[r], settings.encodings[r]) for r in settings.resolutions}
    return stored, upscaled


def _levels_of_values(field: np.ndarray, settings: Settings) -> tuple[dict[int, bytes], bool]:
    """As ``make_levels``, of values float64 [h, w, C]: in units of ``SPREAD`` deviations of their channel."""
    means, deviations = np.array(settings.channel_stats).T
    values = ((field - means) / (SPREAD * deviations)).astype(np.float32)
    cropped = imaging.crop_and_resize_values(values, settings.shape)
    levels = imaging.pyramid(cropped, settings.resolutions, settings.resolution)
    stored = {r: imaging.encode_stored(levels[r], settings.encodings[r]) for r in settings.resolutions}
    _, _, width, height = imaging.centered_box((field.shape[1], field.shape[0]), settings.shape)
    return stored, height < settings.shape[0] or width < settings.shape[1]


@dataclass(frozen=True)
class Shared:
    """What worker processes and their parent have in common; made by the context that starts them."""

    counter: Any  # integer, counts images
    stop: Any  # event that ends the work
    huge_lock: Any  # held while a huge image is in memory: one at a time, whatever the number of processes
    huge_name: Any  # bytes [HUGE_NAME_BYTES], the image for which it is held

    HUGE_NAME_BYTES: ClassVar[int] = 200

    @classmethod
    def make(cls, context: Any) -> "Shared":
        """Of a multiprocessing context."""
        name = context.Array("c", cls.HUGE_NAME_BYTES)
        return cls(context.Value("Q", 0), context.Event(), context.Lock(), name)

    def state(self) -> str:
        """The huge image that is being decoded, for the progress line; empty if there is none."""
        name = self.huge_name.value.decode(errors="replace")
        return f"; decoding {name}" if name else ""


class _Process:
    """State of a worker process, set up once."""

    job: Job
    shared: Shared | None = None


@contextlib.contextmanager
def _one_at_a_time(key: str, image_size: tuple[int, int]) -> Iterator[None]:
    """Held while a huge image is in memory; says which."""
    shared = _Process.shared
    if shared is None:  # this is the only process
        yield
        return
    text = f"{key}, {image_size[0]:,}x{image_size[1]:,} pixels".encode(errors="backslashreplace")
    with shared.huge_lock:
        shared.huge_name.value = text[-Shared.HUGE_NAME_BYTES :]
        try:
            yield
        finally:
            shared.huge_name.value = b""


def start_process(job: Job, shared: Shared) -> None:
    """Initializer of a worker process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent decides
    _Process.job, _Process.shared = job, shared
    parent = multiprocessing.parent_process()
    assert parent is not None

    def end_with_parent() -> None:
        # A parent that is killed cannot tell anyone; its children would wait for work for ever.
        parent.join()
        os._exit(1)

    threading.Thread(target=end_with_parent, daemon=True).start()


def run_in_process(index: int) -> ShardResult:
    """Write a shard in a worker process."""

    shared = _Process.shared
    assert shared is not None

    def count_image() -> None:
        with shared.counter.get_lock():
            shared.counter.value += 1
        if shared.stop.is_set():
            raise CancelledError  # the shard at hand is given up

    return write_shard(_Process.job, index, count_image)


def _not_in_samples(image_size: tuple[int, int]) -> NoReturn:
    raise imaging.UnreadableImageError(f"{image_size[0]}x{image_size[1]} pixels take too long for a sample")


def write_sample(job: Job, folder: Path, images: Iterable[RawImage]) -> tuple[int, dict[int, int]]:
    """Number of readable images among a sample, and the bytes on disk that they take, by resolution."""
    settings = job.settings
    count = 0
    with contextlib.ExitStack() as stack:
        writers = {
            r: stack.enter_context(writing_shard(folder / str(r), settings.encodings[r] not in imaging.RAW))
            for r in settings.resolutions
        }
        for raw in images:
            with contextlib.suppress(imaging.UnreadableImageError):
                for resolution, level in make_levels(raw, settings, _not_in_samples)[0].items():
                    writers[resolution].write(serialize(raw.key, level, raw.label))
                count += 1
    # Files are padded to 64 kB, which matters for small images, and compressed, which matters for large ones.
    return count, {r: min(writer.file_bytes, writer.num_bytes + 64 * count) for r, writer in writers.items()}
