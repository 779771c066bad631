"""Rows that go through a network in batches of few sizes, so that few programs are compiled."""

import dataclasses
from collections.abc import Callable, Iterator, Sequence

import jax
import numpy as np
from jax import Array

from stylegen.io import signals

# Images a batch, and their pixels in all, at most: a 256-pixel image keeps all cores of a CPU busy on its own. An
# accelerator needs many; 64 images of 256 pixels take about 1 GiB for each of the widest arrays of a full-size network.
CPU_BATCH, CPU_BATCH_PIXELS = 16, 2**18
ACCELERATOR_BATCH, ACCELERATOR_BATCH_PIXELS = 64, 2**22
MAX_PADDING = 1 / 4  # a last batch that is padded by more, as a share of all rows, is run at a smaller size


@dataclasses.dataclass(frozen=True)
class Batch:
    """Rows that go through the network together."""

    rows: slice
    size: int  # padding included

    @property
    def count(self) -> int:
        """Rows without the padding."""
        return self.rows.stop - self.rows.start

    def padded(self, *inputs: np.ndarray | None) -> list[np.ndarray]:
        """Arrays of ``count`` rows with the last one repeated up to ``size``; None is left out."""
        missing = self.size - self.count
        return [np.concatenate([x, np.repeat(x[-1:], missing, axis=0)]) for x in inputs if x is not None]


def default_batch(resolution: int) -> int:
    """Images that go through the network at once, at most, where the caller does not say."""
    on_cpu = jax.default_backend() == "cpu"
    images, pixels = (CPU_BATCH, CPU_BATCH_PIXELS) if on_cpu else (ACCELERATOR_BATCH, ACCELERATOR_BATCH_PIXELS)
    return max(1, min(images, pixels // resolution**2))


def split(n: int, size: int, *, fixed: bool) -> list[Batch]:
    """The batches that ``n`` rows are computed in: at most two sizes, so at most two programs.

    The sizes depend on ``n`` alone, so that the same call gives the same bits. Those of last batches are powers of two:
    for all ``n`` together, log2(size) + 1 programs at most.

    Args:
        n: rows in all.
        size: of a batch.
        fixed: pad the last batch to that size too.
    """
    parts = [Batch(slice(start, min(start + size, n)), size) for start in range(0, n, size)]
    last = parts[-1]
    if not fixed and size - last.count > MAX_PADDING * n:
        parts[-1] = dataclasses.replace(last, size=min(size, 2 ** (last.count - 1).bit_length()))
    return parts


def fetched(run: Callable[[Batch], Array], parts: Sequence[Batch]) -> Iterator[np.ndarray]:
    """Results of ``run`` without the padding; a batch is computed while the one before is fetched."""
    ahead: tuple[Array, int] | None = None
    for part in parts:
        signals.check()
        result = run(part)
        if ahead is not None:
            yield np.asarray(ahead[0])[: ahead[1]]
        ahead = result, part.count
    if ahead is not None:
        yield np.asarray(ahead[0])[: ahead[1]]
