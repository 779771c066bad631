"""The one input pipeline: an image source in, an endless stream of uint8 batches out.

The order of images is a pure function of (seed, number of images shown so far). Batch size, resolution and number of
processes do not change it. So a run's clock is all that must be saved to resume it exactly.
"""

import functools
import math
from collections.abc import Iterator

import numpy as np

from stylegen.data.source import Batch, DataError, ImageSource, usable_cores

FEWEST_WORKERS = 2
HEADROOM = 1.5  # of what readers deliver over what training takes


class EpochOrder:
    """The order in which a run shows its images: one random permutation of all of them after another."""

    def __init__(self, num_images: int, seed: int) -> None:
        self.num_images = num_images
        self.seed = seed
        self._permutation = functools.lru_cache(maxsize=2)(self._draw)

    def _draw(self, epoch: int) -> np.ndarray:
        # RandomState, because its stream is frozen: a newer numpy must not change the order of a run that is resumed.
        # One draw an epoch; grain's own shuffle costs 5 us an index, and 300 us where there are but few images.
        return np.random.RandomState([self.seed % 2**32, epoch]).permutation(self.num_images)

    def __call__(self, start: int, stop: int) -> np.ndarray:
        """Indices int64 [stop - start] of the images shown from position ``start`` on, before ``stop``."""
        parts = []
        while start < stop:
            epoch, offset = divmod(start, self.num_images)
            count = min(stop - start, self.num_images - offset)
            parts.append(self._permutation(epoch)[offset : offset + count])
            start += count
        return np.concatenate(parts)


def images_per_second(resolution: int) -> float:
    """Images that an H100 takes in training, about: 30,000 of 8 pixels, 800 of 64, 300 of 256 and more.

    That is 40 % of its peak in bfloat16 over the operations of a full-width step (benchmarks/flops.py).
    """
    return 300 + 2e6 / resolution**2


def choose_workers(source: ImageSource, resolution: int, accelerators: int) -> int:
    """Reader threads that keep up with training: between 2 and all cores that this process may use.

    Args:
        source: what is read.
        resolution: pixels a side of the batches.
        accelerators: that this process feeds; 0 where training is on the CPU, which is slower than two readers.
    """
    workers = HEADROOM * accelerators * images_per_second(resolution) * source.read_seconds(resolution)
    return max(FEWEST_WORKERS, min(math.ceil(workers), usable_cores()))


def make_pipeline(
    source: ImageSource,
    resolution: int,
    batch: int,
    *,
    start: int = 0,
    seed: int = 0,
    positions: np.ndarray | None = None,
    workers: int = FEWEST_WORKERS,
    prefetch: int | None = None,
) -> Iterator[Batch]:
    """Stream shuffled batches for ever, without repeats within an epoch.

    Args:
        source: where the images come from.
        resolution: pixels a side of the batches.
        batch: global batch size, all processes together.
        start: images that the run has seen already, all processes together.
        seed: of the order.
        positions: int [n], which of every global batch this process reads, and in which order; None is the whole batch
            as it comes. Processes that divide a permutation of the batch among them read that batch together.
        workers: reader threads; 0 reads in the calling thread.
        prefetch: batches read ahead; None: 8, or two more than there are workers, each of which reads a batch.

    Returns:
        A grain iterator with ``close()``, which stops its threads. Its elements are dicts with ``image`` uint8
        ``[n, *source.shape_at(resolution), channels]``, C-contiguous, and ``label`` int32 [n].

    Raises:
        DataError: the positions are not of the batch, or the source is smaller than ``resolution``.
    """
    import grain  # imports jax, which preparing data has no use for

    chosen = np.arange(batch) if positions is None else np.asarray(positions)
    if chosen.size == 0 or np.min(chosen) < 0 or np.max(chosen) >= batch:
        raise DataError(f"positions = {chosen.tolist()}: a batch of {batch} has positions 0 to {batch - 1}.")
    if resolution > source.resolutions[-1]:
        raise DataError(f"{source.description} has at most {source.resolutions[-1]} pixels a side, not {resolution}.")
    order = EpochOrder(source.num_images, seed)

    def read(step: int) -> Batch:
        first = start + step * batch
        return source.read(order(first, first + batch)[chosen], resolution)

    # A whole batch is one element: grain's cost of some 50 us an element is then paid once a batch.
    steps = grain.MapDataset.range(2**62 // batch).map(read)
    buffer = (max(8, workers + 2) if prefetch is None else prefetch) if workers else 0
    return iter(steps.to_iter_dataset(grain.ReadOptions(num_threads=workers, prefetch_buffer_size=buffer)))
