"""From metrics and image sets to numbers, each with all that it depends on."""

import abc
import dataclasses
import datetime
import importlib.metadata
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from stylegen.evaluation import EvaluationError, set_sizes
from stylegen.evaluation.collect import Collector, MomentsCollector, PatchCollector, Progress, RowsCollector, collect
from stylegen.evaluation.image_sets import ImageSet, StatisticsSet
from stylegen.evaluation.metric_names import Metric
from stylegen.evaluation.reference_cache import collect_cached
from stylegen.io.progress import counted
from stylegen.metrics import kid, precision_recall, swd
from stylegen.metrics.extractors import Extractor
from stylegen.metrics.fid import frechet_distance
from stylegen.metrics.inception_score import SPLITS, inception_score
from stylegen.runtime import processes
from stylegen.version import version

ON_WHITE = "laid on white"  # what networks see of images with alpha
SEED = 0  # of KID's subsets, of patches and directions of SWD, of the latents of PPL

_C = TypeVar("_C", bound=Collector)


@dataclass(frozen=True)
class Result:
    """A number and where it comes from."""

    name: str
    value: float
    provenance: dict[str, Any]

    def as_json(self) -> dict[str, Any]:
        """Value and provenance."""
        return {"value": self.value, "provenance": self.provenance}


class _Job(abc.ABC):
    """One metric: the data that it needs of fakes and reals, and the computation of its value."""

    def __init__(self, metric: Metric, fakes: ImageSet, reals: ImageSet | None) -> None:
        self.metric = metric
        self.n_fakes = _count(metric, fakes)
        self.n_reals = _reals(metric, reals) if metric.needs_reals else 0
        self.settings: dict[str, Any] = {}  # for the provenance
        self.fakes: Collector
        self.reals: Collector | None = None
        self.prepare(fakes, reals)
        self.warnings: list[str] = []  # known before the work

    @abc.abstractmethod
    def prepare(self, fakes: ImageSet, reals: ImageSet | None) -> None:
        """Make the collectors."""

    @abc.abstractmethod
    def finish(self) -> tuple[float, ...]:
        """The numbers, one for each of ``metric.values``; further facts for the provenance go into ``settings``."""


class _Fid(_Job):
    def prepare(self, fakes: ImageSet, reals: ImageSet | None) -> None:
        self.fakes, self.reals = MomentsCollector(self.n_fakes), MomentsCollector(self.n_reals)

    def finish(self) -> tuple[float, ...]:
        a, b = self.fakes, self.reals
        assert isinstance(a, MomentsCollector) and isinstance(b, MomentsCollector)
        return (frechet_distance(a.moments, b.moments),)


class _Kid(_Job):
    def prepare(self, fakes: ImageSet, reals: ImageSet | None) -> None:
        size = min(kid.SUBSET_SIZE, self.n_fakes, self.n_reals)
        self.settings = {"subsets": kid.SUBSETS, "subset_size": size, "subset_seeds": [SEED, SEED + 1]}
        self._subsets = [
            kid.draw_subsets(n, kid.SUBSETS, size, SEED + i) for i, n in enumerate((self.n_fakes, self.n_reals))
        ]
        self.fakes, self.reals = (RowsCollector(rows) for rows in self._subsets)

    def finish(self) -> tuple[float, ...]:
        a, b = self.fakes, self.reals
        assert isinstance(a, RowsCollector) and isinstance(b, RowsCollector)
        subsets = [x.at(rows) for x, rows in zip((a, b), self._subsets, strict=True)]
        return (kid.kernel_distance(a.values, b.values, *subsets),)


class _NearestNeighbors(_Job):
    def prepare(self, fakes: ImageSet, reals: ImageSet | None) -> None:
        self.settings = {"k": self.metric.k}
        for n, kind in ((self.n_fakes, "generated"), (self.n_reals, "real")):
            if n <= self.metric.k:
                raise EvaluationError(
                    f"{self.metric.name} needs more than {self.metric.k} {kind} images; there are {n}."
                )
        self.fakes, self.reals = RowsCollector(np.arange(self.n_fakes)), RowsCollector(np.arange(self.n_reals))

    def finish(self) -> tuple[float, ...]:
        a, b = self.fakes, self.reals
        assert isinstance(a, RowsCollector) and isinstance(b, RowsCollector)
        function = precision_recall.precision_recall if self.metric.kind == "pr" else precision_recall.density_coverage
        return function(a.values, b.values, self.metric.k)


class _InceptionScore(_Job):
    def prepare(self, fakes: ImageSet, reals: ImageSet | None) -> None:
        if self.n_fakes < SPLITS:
            raise EvaluationError(f"{self.metric.name} needs at least {SPLITS} images; there are {self.n_fakes}.")
        self.settings = {"splits": SPLITS}
        self.fakes = RowsCollector(np.arange(self.n_fakes), "logits")

    def finish(self) -> tuple[float, ...]:
        assert isinstance(self.fakes, RowsCollector)
        mean, self.settings["deviation"] = inception_score(self.fakes.values)
        return (mean,)


class _Swd(_Job):
    def prepare(self, fakes: ImageSet, reals: ImageSet | None) -> None:
        assert reals is not None
        height, width = fakes.resolution
        if (fakes.resolution, fakes.channels) != (reals.resolution, reals.channels):
            raise EvaluationError(
                f"{self.metric.name} compares images of one size; these are {width}x{height}x{fakes.channels} "
                f"and {reals.resolution[1]}x{reals.resolution[0]}x{reals.channels}."
            )
        self.n_fakes = self.n_reals = min(self.n_fakes, self.n_reals)
        self.settings = {
            "patches_per_image": swd.PATCHES_PER_IMAGE,
            "directions": swd.REPEATS * swd.DIRECTIONS,
            "seeds": [SEED, SEED + 1],
        }
        self.fakes = PatchCollector(self.n_fakes, fakes.resolution, fakes.channels, SEED)
        self.reals = PatchCollector(self.n_reals, reals.resolution, reals.channels, SEED + 1)

    def finish(self) -> tuple[float, ...]:
        a, b = self.fakes, self.reals
        assert isinstance(a, PatchCollector) and isinstance(b, PatchCollector)
        levels = swd.compare(a.sampler, b.sampler, SEED)
        self.settings["by_resolution"] = {str(level): value for level, value in levels.items()}
        return (float(np.mean(list(levels.values()))),)


_JOBS: dict[str, type[_Job]] = {
    "fid": _Fid,
    "kid": _Kid,
    "pr": _NearestNeighbors,
    "dc": _NearestNeighbors,
    "is": _InceptionScore,
    "swd": _Swd,
}


def measure(
    metrics: Sequence[Metric],
    fakes: ImageSet,
    reals: ImageSet | None,
    extractor: Extractor | None,
    *,
    cache: Path | None = None,
    progress: Progress | None = None,
    say: Callable[[str], None] | None = None,
) -> list[Result]:
    """All of these metrics, with one pass over the fakes and at most one over the reals.

    Args:
        metrics: any but path lengths, which ``measure_ppl`` computes.
        fakes: generated images, or any that are to be judged.
        reals: what they are compared with; None if no metric compares.
        extractor: needed by all but SWD.
        cache: folder of statistics of reals; None keeps none.
        progress: passes batches on and shows how far it is.
        say: is told, before the work, how many images each metric takes.

    Several processes, which all call this, share the work: process 0 has the results, and the others an empty list.

    Warns, before the work too, where the sizes of the sets spoil a value (``set_sizes``); it stands in the provenance.

    Raises:
        EvaluationError: a metric wants more images than there are, or data that is missing; before any is read.
    """
    for metric in metrics:
        _check(metric, fakes, reals, extractor)
    jobs = [_JOBS[metric.kind](metric, fakes, reals) for metric in metrics]
    for job in jobs:
        _announce(job, extractor, say)
    _share(jobs)
    real_collectors = _distinct([job.reals for job in jobs if job.reals is not None])
    if isinstance(reals, StatisticsSet):
        for collector in real_collectors:
            assert isinstance(collector, MomentsCollector)
            collector.moments = reals.moments
    elif reals is not None:
        collect_cached(reals, real_collectors, extractor, cache, progress)
    collect(fakes, _distinct([job.fakes for job in jobs]), extractor, progress, "fakes")
    if not processes.is_main():
        return []
    return [result for job in jobs for result in _results(job, fakes, reals, extractor)]


def _check(metric: Metric, fakes: ImageSet, reals: ImageSet | None, extractor: Extractor | None) -> None:
    if isinstance(fakes, StatisticsSet):
        fakes.read(np.arange(1))
    if metric.needs_reals and reals is None:
        raise EvaluationError(f"{metric.name} compares with real images; there are none.")
    if metric.needs_features and extractor is None:
        raise EvaluationError(f"{metric.name} needs a feature extractor.")
    if metric.kind == "is" and extractor is not None and extractor.name != "inception":
        raise EvaluationError(f"{metric.name} needs the classes of inception; {extractor.name} has none.")
    if metric.needs_reals and isinstance(reals, StatisticsSet):
        reals.check(metric.name, metric.kind, metric.reals, extractor)


def _announce(job: _Job, extractor: Extractor | None, say: Callable[[str], None] | None) -> None:
    """Say how many images a job takes, and warn where these numbers spoil its value."""
    if say is not None:
        say(set_sizes.describe(job.metric, job.n_fakes, job.n_reals))
    features = extractor.size if extractor is not None else None
    job.warnings = set_sizes.size_warnings(job.metric, job.n_fakes, job.n_reals, features)
    for note in job.warnings:
        warnings.warn(f"{job.metric.name}: {note}", stacklevel=3)


def _count(metric: Metric, fakes: ImageSet) -> int:
    """How many fakes a metric takes."""
    if metric.fakes is None and fakes.count is None:
        raise EvaluationError(f"{metric.name}: say how many images to draw, for example {metric.kind}1k.")
    if fakes.count is None:
        return metric.fakes or 0
    if metric.fakes is not None and metric.fakes > fakes.count:
        raise EvaluationError(
            f"{metric.name} takes {counted(metric.fakes, 'image')}; there are {fakes.count:,}. Write {metric.kind} for "
            "all of them, or a smaller number."
        )
    return metric.fakes or fakes.count


def _reals(metric: Metric, reals: ImageSet | None) -> int:
    assert reals is not None
    if isinstance(reals, StatisticsSet):
        return reals.count or 0
    assert reals.count is not None
    return set_sizes.reals_taken(metric, reals.count)


def _share(jobs: list[_Job]) -> None:
    """Collectors of the same data become one."""
    for side in ("fakes", "reals"):
        shared: dict[tuple[Any, ...], Collector] = {}
        for job in jobs:
            collector = getattr(job, side)
            # Patches are taken out when they are compared, so each comparison has its own.
            if collector is not None and not isinstance(collector, PatchCollector):
                setattr(job, side, shared.setdefault(collector.key, collector))


def _distinct(collectors: list[_C]) -> list[_C]:
    return list({id(collector): collector for collector in collectors}.values())


def _results(job: _Job, fakes: ImageSet, reals: ImageSet | None, extractor: Extractor | None) -> list[Result]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        values = job.finish()
    details = provenance(job.metric)
    if job.metric.needs_features and extractor is not None:
        details["extractor"] = extractor.provenance
        if any(images is not None and images.channels in (2, 4) for images in (fakes, reals)):
            details["transparency"] = ON_WHITE
    details["fakes"] = {**fakes.provenance, "count": job.n_fakes}
    if job.metric.needs_reals and reals is not None:
        details["reals"] = {**reals.provenance, "count": job.n_reals or None}
    details |= job.settings
    notes = [str(warning.message) for warning in caught if warning.category is UserWarning]
    new = [note for note in notes if note not in job.warnings]
    if job.warnings or new:
        details["warnings"] = [*job.warnings, *new]
    for note in new:
        warnings.warn(f"{job.metric.name}: {note}", stacklevel=3)
    return [Result(name, value, dict(details)) for name, value in zip(job.metric.values, values, strict=True)]


def provenance(metric: Metric) -> dict[str, Any]:
    """The part that all results share: the metric, versions, the time."""
    return {
        "metric": {name: value for name, value in dataclasses.asdict(metric).items() if value not in (0, None)},
        "versions": {"stylegen": version(), "jax": importlib.metadata.version("jax"), "numpy": np.__version__},
        "time": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }
