"""Metrics for programs: arrays or iterators of images in, floats out."""

import os
import tempfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from stylegen.evaluation import EvaluationError, metric_names
from stylegen.evaluation.collect import Progress
from stylegen.evaluation.image_sets import ArraySet, ImageSet
from stylegen.evaluation.measure import measure
from stylegen.evaluation.opening import open_images
from stylegen.metrics.extractors import Extractor, open_extractor

Images = np.ndarray | Iterable[np.ndarray] | str | os.PathLike[str]


def compare(
    images: Images,
    reference: Images | None = None,
    metrics: str = "fid,kid",
    *,
    extractor: str | Extractor = "inception",
    cache: Path | None = None,
    progress: Progress | None = None,
) -> dict[str, float]:
    """Metrics of images, by name; ``measure.measure`` gives them with their provenance.

    Args:
        images: uint8 [N, h, w, C], gray or RGB, or with alpha, which is laid on white. Or an iterator of such batches:
            only one batch is in memory, and all go through a temporary file. Or a path to a folder, a zip or an array.
        reference: real images, likewise; None if no metric compares with any.
        metrics: names, with commas between them: fid, kid, pr, dc, is, swd of all images, or fid1k of so many.
        extractor: inception or vgg16, whose weights ``evaluate --download`` fetches, vgg16_conv, which comes
            with the extra "perceptual", random_vgg, or one that is open.
        cache: folder of statistics of reals; None keeps none.
        progress: passes batches on and shows how far it is.

    Raises:
        EvaluationError: no images, images of several sizes, or metrics that do not fit them.
        MetricError: there is no such extractor.
        WeightsError: its weights are missing.
    """
    requested = metric_names.parse_list(metrics, everything=True)
    if any(metric.kind == "ppl" for metric in requested):
        raise EvaluationError("path lengths are of a generator: evaluate_run.evaluate_generator measures them.")
    if isinstance(extractor, str):
        network = open_extractor(extractor) if any(metric.needs_features for metric in requested) else None
    else:
        network = extractor
    fakes = image_set(images, "images")
    reals = image_set(reference, "reference") if reference is not None else None
    results = measure(requested, fakes, reals, network, cache=cache, progress=progress)
    return {result.name: result.value for result in results}


def image_set(images: Images, name: str) -> ImageSet:
    """Images as ``compare`` takes them, as an image set; ``name`` is for errors and the provenance."""
    if isinstance(images, str | os.PathLike):
        return open_images(Path(images))
    return ArraySet(images if isinstance(images, np.ndarray) else _stored(images, name), name)


def _stored(batches: Iterable[np.ndarray], name: str) -> np.ndarray:
    """All images of an iterator, in a file that goes with the array."""
    shape: tuple[int, ...] = ()
    count = 0
    with tempfile.TemporaryFile() as file:
        for batch in batches:
            batch = np.asarray(batch)
            if batch.dtype != np.uint8 or batch.ndim != 4:
                raise EvaluationError(f"{name}: a batch is {batch.dtype} {batch.shape}; wanted uint8 [N, h, w, C].")
            shape = shape or batch.shape[1:]
            if batch.shape[1:] != shape:
                raise EvaluationError(f"{name}: images are not all of one size ({batch.shape[1:]} and {shape}).")
            file.write(batch.tobytes())
            count += len(batch)
        if not count:
            raise EvaluationError(f"{name}: there are no images.")
        file.flush()
        return np.memmap(file, np.uint8, "r", shape=(count, *shape))
