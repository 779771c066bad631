"""One pass over a set of images for all metrics that want something of them."""

import abc
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from stylegen.evaluation.image_sets import ImageSet
from stylegen.metrics.extractors import Extractor
from stylegen.metrics.moments import Moments
from stylegen.metrics.swd import PatchSampler

DEFAULT_BATCH = 64  # images read at once, where neither the set nor the extractor says

Progress = Callable[[Iterable[Any], int, str], Iterator[Any]]


class Collector(abc.ABC):
    """Keeps what one metric needs of the images at certain places."""

    output: str | None  # of the extractor: features, logits, or None for the pictures themselves
    count: int  # places that it wants lie below this

    @property
    @abc.abstractmethod
    def key(self) -> tuple[Any, ...]:
        """Collectors with equal keys keep the same."""

    def wanted(self) -> np.ndarray:
        """The places, sorted."""
        return np.arange(self.count)

    @abc.abstractmethod
    def add(self, places: np.ndarray, values: np.ndarray) -> None:
        """Take in what was found at some of the wanted places; they come in order."""

    def as_arrays(self) -> dict[str, np.ndarray] | None:
        """All that was kept, for a file; None, as here, if that would be too large to be of use."""
        return None

    def restore(self, arrays: dict[str, np.ndarray]) -> None:
        """Take what ``as_arrays`` gave; ValueError if that is nothing."""
        raise ValueError(f"a {type(self).__name__} keeps nothing in files.")


class MomentsCollector(Collector):
    """Mean and covariance of the first ``count`` images' features."""

    output = "features"

    def __init__(self, count: int) -> None:
        self.count, self.moments = count, Moments()

    @property
    def key(self) -> tuple[Any, ...]:
        return "moments", self.count

    def add(self, places: np.ndarray, values: np.ndarray) -> None:
        del places
        self.moments.update(values)

    def as_arrays(self) -> dict[str, np.ndarray]:
        return self.moments.as_arrays()

    def restore(self, arrays: dict[str, np.ndarray]) -> None:
        self.moments = Moments.from_arrays(arrays)


class RowsCollector(Collector):
    """Features (or logits) of the images at certain places."""

    def __init__(self, rows: np.ndarray, output: str = "features") -> None:
        self.rows, self.output = np.unique(rows), output
        self.count = int(self.rows[-1]) + 1
        self._parts: list[np.ndarray] = []

    @property
    def key(self) -> tuple[Any, ...]:
        return "rows", self.output, self.rows.tobytes()

    def wanted(self) -> np.ndarray:
        return self.rows

    def add(self, places: np.ndarray, values: np.ndarray) -> None:
        del places  # they are the rows, in order
        self._parts.append(values)

    @property
    def values(self) -> np.ndarray:
        """[rows, D], in the order of ``rows``."""
        self._parts = [np.concatenate(self._parts)]
        return self._parts[0]

    def at(self, places: np.ndarray) -> np.ndarray:
        """Where in ``values`` the images at some places are; any shape."""
        return np.searchsorted(self.rows, places)

    def as_arrays(self) -> dict[str, np.ndarray]:
        return {"values": self.values}

    def restore(self, arrays: dict[str, np.ndarray]) -> None:
        self._parts = [arrays["values"]]


class PatchCollector(Collector):
    """Patches of the first ``count`` images at all levels: half a gigabyte a level, and quick to draw, so not kept."""

    output = None

    def __init__(self, count: int, resolution: int, channels: int, seed: int) -> None:
        self.count, self._seed = count, seed
        self.sampler = PatchSampler(resolution, channels, seed)

    @property
    def key(self) -> tuple[Any, ...]:
        return "patches", self.count, self._seed

    def add(self, places: np.ndarray, values: np.ndarray) -> None:
        del places
        self.sampler.update(values)


def collect(
    images: ImageSet,
    collectors: Sequence[Collector],
    extractor: Extractor | None,
    progress: Progress | None = None,
    what: str = "images",
) -> None:
    """Read every image that any of the collectors wants, once, extract its features if they are wanted, and hand out.

    Args:
        images: the set.
        collectors: those that take part.
        extractor: needed if a collector wants its output.
        progress: passes batches on and shows how far it is; called with the number of images and ``what``.
        what: for the progress line.
    """
    if not collectors:
        return
    places = np.unique(np.concatenate([collector.wanted() for collector in collectors]))
    size = images.batch or (extractor.batch if extractor else DEFAULT_BATCH)
    batches: Iterator[np.ndarray] = (places[i : i + size] for i in range(0, len(places), size))
    for batch in progress(batches, len(places), what) if progress else batches:
        pictures = images.read(batch)
        wanted = [np.isin(batch, collector.wanted(), assume_unique=True) for collector in collectors]
        takers = [(collector, which) for collector, which in zip(collectors, wanted, strict=True) if which.any()]
        found = _outputs(pictures, {collector.output for collector, _ in takers}, extractor)
        for collector, which in takers:
            collector.add(batch[which], found[collector.output][which])


def _outputs(pictures: Any, wanted: set[str | None], extractor: Extractor | None) -> dict[str | None, np.ndarray]:
    """By output of the extractor, in one pass; None are the pictures themselves."""
    found: dict[str | None, np.ndarray] = {None: np.asarray(pictures)} if None in wanted else {}
    names = sorted(name for name in wanted if name is not None)
    if names:
        assert extractor is not None
        found.update(extractor.outputs(pictures, names))
    return found
