"""One pass over a set of images for all metrics together, by all processes together."""

import abc
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import jax
import numpy as np

from stylegen.evaluation import EvaluationError
from stylegen.evaluation.image_sets import ImageSet
from stylegen.metrics.extractors import Extractor
from stylegen.metrics.moments import Moments
from stylegen.metrics.swd import PatchSampler
from stylegen.runtime import processes

DEFAULT_BATCH = 64  # images read at once, where neither the set nor the extractor says

Progress = Callable[[Iterable[Any], int, str], Iterator[Any]]


class Collector(abc.ABC):
    """Collects the data that one metric needs, from the images at certain positions of the order."""

    output: str | None  # of the extractor: features, logits, or None for the images themselves
    count: int  # all its positions lie below this

    @property
    @abc.abstractmethod
    def key(self) -> tuple[Any, ...]:
        """Collectors with equal keys collect the same data."""

    def positions(self) -> np.ndarray:
        """The positions of the images that it needs, sorted."""
        return np.arange(self.count)

    @abc.abstractmethod
    def add(self, positions: np.ndarray, values: np.ndarray) -> None:
        """Take the values of some of its positions; they come in order."""

    def as_arrays(self) -> dict[str, np.ndarray] | None:
        """All collected data, for a file; None, as here, if it would be too large to be of use."""
        return None

    def restore(self, arrays: dict[str, np.ndarray]) -> None:
        """Restore the result of ``as_arrays``; ValueError if the collector has no file form."""
        raise ValueError(f"a {type(self).__name__} cannot be restored from a file.")


class MomentsCollector(Collector):
    """Mean and covariance of the first ``count`` images' features."""

    output = "features"

    def __init__(self, count: int) -> None:
        self.count, self.moments = count, Moments()

    @property
    def key(self) -> tuple[Any, ...]:
        return "moments", self.count

    def add(self, positions: np.ndarray, values: np.ndarray) -> None:
        del positions
        self.moments.update(values)

    def as_arrays(self) -> dict[str, np.ndarray]:
        return self.moments.as_arrays()

    def restore(self, arrays: dict[str, np.ndarray]) -> None:
        self.moments = Moments.from_arrays(arrays)


class RowsCollector(Collector):
    """Features (or logits) of the images at certain positions."""

    def __init__(self, rows: np.ndarray, output: str = "features") -> None:
        self.rows, self.output = np.unique(rows), output
        self.count = int(self.rows[-1]) + 1
        self._parts: list[np.ndarray] = []

    @property
    def key(self) -> tuple[Any, ...]:
        return "rows", self.output, self.rows.tobytes()

    def positions(self) -> np.ndarray:
        return self.rows

    def add(self, positions: np.ndarray, values: np.ndarray) -> None:
        del positions  # they are the rows, in order
        self._parts.append(values)

    @property
    def values(self) -> np.ndarray:
        """[rows, D], in the order of ``rows``."""
        self._parts = [np.concatenate(self._parts)]
        return self._parts[0]

    def at(self, positions: np.ndarray) -> np.ndarray:
        """Rows of ``values`` that hold the images at some positions; any shape."""
        return np.searchsorted(self.rows, positions)

    def as_arrays(self) -> dict[str, np.ndarray]:
        return {"values": self.values}

    def restore(self, arrays: dict[str, np.ndarray]) -> None:
        self._parts = [arrays["values"]]


class PatchCollector(Collector):
    """Patches of the first ``count`` images at all levels: half a gigabyte a level, and quick to draw, so not kept."""

    output = None

    def __init__(self, count: int, shape: int | tuple[int, int], channels: int, seed: int) -> None:
        self.count, self._seed = count, seed
        self.sampler = PatchSampler(shape, channels, seed)

    @property
    def key(self) -> tuple[Any, ...]:
        return "patches", self.count, self._seed

    def add(self, positions: np.ndarray, values: np.ndarray) -> None:
        del positions
        self.sampler.update(values)


def collect(
    images: ImageSet,
    collectors: Sequence[Collector],
    extractor: Extractor | None,
    progress: Progress | None = None,
    unit: str = "images",
) -> None:
    """Read every image that a collector needs once, extract the features that are needed, and pass them on.

    Several processes, which all call this, take the batches in turn. Process 0 fills its collectors with all of them,
    in the same order and to the bit as it would by itself; those of the other processes stay empty.

    Args:
        images: the set.
        collectors: the collectors to fill.
        extractor: needed if a collector wants its output.
        progress: passes batches on and shows how far it is; called with the number of images and ``unit``.
        unit: of the progress line.

    Raises:
        EvaluationError: another process could not read or extract; its own message is the one to look at.
    """
    if not collectors:
        return
    positions = np.unique(np.concatenate([collector.positions() for collector in collectors]))
    size = images.batch or (extractor.batch if extractor else DEFAULT_BATCH)
    batches = [positions[i : i + size] for i in range(0, len(positions), size)]

    def compute(batch: np.ndarray, names: set[str | None]) -> dict[str | None, np.ndarray]:
        return _outputs(images.read(batch), names, extractor)

    if jax.process_count() == 1:
        for batch in progress(iter(batches), len(positions), unit) if progress else batches:
            _feed(collectors, batch, compute(batch, _needed(collectors, [batch])))
        return
    shown = progress(iter(batches), len(positions), unit) if progress and processes.is_main() else iter(batches)
    _collect_in_turn(collectors, batches, compute, size, shown)


def _collect_in_turn(
    collectors: Sequence[Collector],
    batches: Sequence[np.ndarray],
    compute: Callable[[np.ndarray, set[str | None]], dict[str | None, np.ndarray]],
    size: int,
    shown: Iterator[np.ndarray],
) -> None:
    """Each process computes every so-manieth batch; process 0 takes all of them, in order.

    A process that fails says so where all can hear it, since it cannot leave the others waiting for its batch.
    """
    from jax.experimental.multihost_utils import process_allgather

    failure: Exception | None = None
    count, me = jax.process_count(), jax.process_index()
    for start in range(0, len(batches), count):
        turn = batches[start : start + count]
        outputs: dict[str | None, np.ndarray] = {}
        try:
            if failure is None:  # where too few are left, the last one is computed by several
                outputs = compute(turn[min(me, len(turn) - 1)], _needed(collectors, turn))
        except Exception as error:
            failure = error
        _agree(failure)
        names = sorted(outputs, key=str)
        gathered = {name: process_allgather(_filled(outputs[name], size)) for name in names}
        if not processes.is_main():
            continue
        try:
            for i, batch in enumerate(turn):
                next(shown, None)
                _feed(collectors, batch, {name: values[i][: len(batch)] for name, values in gathered.items()})
        except Exception as error:
            failure = error
    _agree(failure)


def _agree(failure: Exception | None) -> None:
    """Raise in all processes what one of them could not do."""
    from jax.experimental.multihost_utils import process_allgather

    failed = np.flatnonzero(process_allgather(np.int32(failure is not None)))
    if failure is not None:
        if not processes.is_main():
            print(f"error: {failure}", file=sys.stderr, flush=True)
        raise failure
    if failed.size:
        raise EvaluationError(f"process {failed[0]} could not take part; what it wrote last says why.")


def _filled(values: np.ndarray, size: int) -> np.ndarray:
    """Rows up to ``size``, because all processes give arrays of one shape."""
    return np.concatenate([values, np.zeros((size - len(values), *values.shape[1:]), values.dtype)])


def _active(collectors: Sequence[Collector], batch: np.ndarray) -> list[tuple[Collector, np.ndarray]]:
    """The collectors that need some of a batch's positions, each with the mask of these."""
    masks = [np.isin(batch, collector.positions(), assume_unique=True) for collector in collectors]
    return [(collector, mask) for collector, mask in zip(collectors, masks, strict=True) if mask.any()]


def _needed(collectors: Sequence[Collector], batches: Sequence[np.ndarray]) -> set[str | None]:
    """The outputs that these batches are needed for."""
    return {collector.output for batch in batches for collector, _ in _active(collectors, batch)}


def _feed(collectors: Sequence[Collector], batch: np.ndarray, outputs: dict[str | None, np.ndarray]) -> None:
    for collector, mask in _active(collectors, batch):
        collector.add(batch[mask], outputs[collector.output][mask])


def _outputs(pixels: Any, names: set[str | None], extractor: Extractor | None) -> dict[str | None, np.ndarray]:
    """Outputs of the extractor by name, in one pass; None is the images themselves."""
    outputs: dict[str | None, np.ndarray] = {None: np.asarray(pixels)} if None in names else {}
    of_extractor = sorted(name for name in names if name is not None)
    if of_extractor:
        assert extractor is not None
        outputs.update(extractor.outputs(pixels, of_extractor))
    return outputs
