"""The one input pipeline: an image source in, an endless stream of uint8 batches out.

Which picture is shown when is a pure function of (seed, number of images shown so far), whatever the batch size,
the resolution or the number of processes, so the clock of a run is all that has to be saved to resume it exactly.
"""

import functools
from collections.abc import Iterator

import numpy as np

from stylegen.data.source import Batch, DataError, ImageSource


class EpochOrder:
    """The order in which a run shows its pictures: one random permutation of all of them after another."""

    def __init__(self, num_images: int, seed: int) -> None:
        self.num_images = num_images
        self.seed = seed
        self._permutation = functools.lru_cache(maxsize=2)(self._draw)

    def _draw(self, epoch: int) -> np.ndarray:
        # RandomState, because its stream is frozen: a newer numpy must not change the order of a run that is resumed.
        # One draw an epoch; grain's own shuffle costs 5 us an index, and 300 us where there are but few images.
        return np.random.RandomState([self.seed % 2**32, epoch]).permutation(self.num_images)

    def __call__(self, start: int, stop: int) -> np.ndarray:
        """Indices int64 [stop - start] of the pictures shown from position ``start`` on, before ``stop``."""
        parts = []
        while start < stop:
            epoch, offset = divmod(start, self.num_images)
            count = min(stop - start, self.num_images - offset)
            parts.append(self._permutation(epoch)[offset : offset + count])
            start += count
        return np.concatenate(parts)


def make_pipeline(
    source: ImageSource,
    resolution: int,
    batch: int,
    *,
    start: int = 0,
    seed: int = 0,
    shard_index: int = 0,
    shard_count: int = 1,
    workers: int = 2,
    prefetch: int = 8,
) -> Iterator[Batch]:
    """Stream shuffled batches for ever, without repeats within an epoch.

    Args:
        source: where the pictures come from.
        resolution: pixels a side of the batches.
        batch: global batch size, all processes together.
        start: images that the run has seen already, all processes together.
        seed: of the order.
        shard_index: this process; it gets the ``shard_index``-th contiguous block of every global batch, so that the
            blocks of all processes, put one after another, are the global batch.
        shard_count: number of processes.
        workers: reader threads; 0 reads in the calling thread.
        prefetch: batches read ahead.

    Returns:
        A grain iterator with ``close()``, which stops its threads. Its elements are dicts with ``image`` uint8
        [batch / shard_count, resolution, resolution, channels], C-contiguous, and ``label`` int32
        [batch / shard_count].

    Raises:
        DataError: the batch does not divide by the processes, or the source is smaller than ``resolution``.
    """
    import grain  # imports jax, which preparing data has no use for

    if batch < 1 or batch % shard_count != 0:
        raise DataError(f"A global batch of {batch} cannot be divided evenly among {shard_count} processes.")
    if resolution > source.resolutions[-1]:
        raise DataError(f"{source.description} has at most {source.resolutions[-1]} pixels a side, not {resolution}.")
    order = EpochOrder(source.num_images, seed)
    share = batch // shard_count
    first = start + shard_index * share

    def read(step: int) -> Batch:
        position = first + step * batch
        return source.read(order(position, position + share), resolution)

    # A whole batch is one element: grain's cost of some 50 us an element is then paid once a batch.
    steps = grain.MapDataset.range(2**62 // batch).map(read)
    buffer = prefetch if workers else 0
    return iter(steps.to_iter_dataset(grain.ReadOptions(num_threads=workers, prefetch_buffer_size=buffer)))
