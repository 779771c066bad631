"""Metrics of a generator against its own training data, and the record of them in a run directory."""

import json
import math
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from stylegen.data.source import ImageSource
from stylegen.evaluation import EvaluationError, set_sizes
from stylegen.evaluation.collect import Progress
from stylegen.evaluation.generated_set import Drawing, GeneratedSet
from stylegen.evaluation.image_sets import SourceSet
from stylegen.evaluation.measure import SEED, Result, measure
from stylegen.evaluation.measure_ppl import check as check_ppl
from stylegen.evaluation.measure_ppl import measure_ppl
from stylegen.evaluation.metric_names import Metric
from stylegen.io import json_lines
from stylegen.metrics.extractors import Distance, Extractor
from stylegen.metrics.ppl import Crop
from stylegen.networks.generator import Generator
from stylegen.runtime import processes

# How generated images were drawn. A value recorded before it named its precision does not compare with newer ones.
DRAWN_BY = ("psi", "cutoff", "noise", "first_seed", "count", "resolution", "compute_dtype", "precision")


def evaluate_generator(
    G: Generator,
    metrics: Sequence[Metric],
    source: ImageSource | None,
    *,
    extractor: Extractor | None,
    distance: Distance | None = None,
    drawing: Drawing | None = None,
    crop: Crop = "none",
    cache: Path | None = None,
    progress: Progress | None = None,
    say: Callable[[str], None] | None = None,
) -> list[Result]:
    """All of these metrics of one generator, in the order of their names.

    Images are compared at the configuration's full resolution, to which those of an earlier stage are enlarged. Several
    processes, which all call this, share the work, but for path lengths: process 0 measures those, and has the results.

    Args:
        G: the generator.
        metrics: what to measure.
        source: its training data; None if no metric compares with it.
        extractor: of features; None if no metric takes any.
        distance: of path lengths; None if there are none among the metrics.
        drawing: truncation, noise and seeds of the fakes; the default is none, random, and from 0 on.
        crop: of path lengths.
        cache: folder of statistics of reals; None keeps none.
        progress: passes batches on and shows how far it is.
        say: is told, before the work, how many images each metric takes.

    Raises:
        EvaluationError: a metric does not fit the generator, or wants more images than there are; before any is drawn.
    """
    config = G.config
    _check(G, metrics, distance, crop)  # before anything is measured, which may take hours
    compared = [metric for metric in metrics if metric.kind != "ppl"]
    results: list[Result] = []
    if compared:
        reals = SourceSet(source, config.resolution, config.data.mirror, config.data.crop) if source else None
        labels = None
        if G.c_dim and reals is not None:
            labels = reals.labels(max(metric.fakes or 0 for metric in compared), SEED)
        fakes = GeneratedSet(G, drawing or Drawing(), config.resolution, labels)
        results += measure(compared, fakes, reals, extractor, cache=cache, progress=progress, say=say)
    for metric in metrics:
        if metric.kind == "ppl" and processes.is_main():
            assert distance is not None and metric.fakes is not None
            if say is not None:
                say(set_sizes.describe(metric, metric.fakes, 0))
            results.append(measure_ppl(metric, G, distance, crop=crop, progress=progress))
    order = [name for metric in metrics for name in metric.values]
    return sorted(results, key=lambda result: order.index(result.name))


def _check(G: Generator, metrics: Sequence[Metric], distance: Distance | None, crop: Crop) -> None:
    """Raise EvaluationError if a metric cannot be that of this generator."""
    config = G.config
    for metric in metrics:
        if metric.kind == "ppl":
            network = distance.network.name if distance is not None else "vgg16"
            side = min(config.shape_at(config.resolution))
            check_ppl(metric, classes=G.c_dim, resolution=side, crop=crop, network=network)
    for metric in metrics:
        if config.is_arrays and metric.kind != "swd":
            raise EvaluationError(f"{metric.name}: is of images of colors; arrays are measured by swd alone.")


def record_path(run_dir: Path, name: str) -> Path:
    """The file with all values of a metric in a run, a line of JSON each."""
    return run_dir / f"metric-{name}.jsonl"


def record(run_dir: Path, nimg: int, results: Sequence[Result]) -> None:
    """Add results to the run's files; a line of the same snapshot and the same protocol is replaced.

    Values that are not finite are left out.
    """
    for result in results:
        if not math.isfinite(result.value):
            continue
        path = record_path(run_dir, result.name)
        if note := json_lines.set_aside(path, is_value):
            warnings.warn(note, stacklevel=2)
        line = {"nimg": nimg, "kimg": nimg / 1000, "value": result.value, "measured_by": measured_by(result.provenance)}
        line["provenance"] = result.provenance
        lines = [old for old in read_record(path) if not _is_same_measurement(old, line)]
        lines.append(line)
        lines.sort(key=lambda entry: entry["nimg"])
        json_lines.write(path, lines)


def read_record(path: Path) -> list[dict[str, Any]]:
    """The lines of such a file that hold a finite value; half a line, left by a killed process, is passed over."""
    return json_lines.read(path, is_value)


def is_value(line: dict[str, Any]) -> bool:
    """Whether a line of such a file is whole, and its value finite."""
    return (
        type(line.get("nimg")) is int
        and all(type(line.get(name)) in (int, float) and math.isfinite(line[name]) for name in ("kimg", "value"))
        and isinstance(line.get("provenance"), dict)
        and all(isinstance(line["provenance"].get(side, {}), dict) for side in ("fakes", "reals"))
    )


def measured_by(provenance: dict[str, Any]) -> str:
    """The network behind a number, in a word or two."""
    if "extractor" in provenance:
        return str(provenance["extractor"]["extractor"])
    return str(provenance["distance"]["distance"]) if "distance" in provenance else "pixels"


def _is_same_measurement(a: dict[str, Any], b: dict[str, Any]) -> bool:
    return a["nimg"] == b["nimg"] and protocol(a["provenance"]) == protocol(b["provenance"])


def protocol(provenance: dict[str, Any]) -> str:
    """How a value was measured, without the time and the snapshot: only values of one protocol can be compared."""
    fields = {name: value for name, value in provenance.items() if name in ("metric", "extractor", "distance", "crop")}
    fakes = provenance.get("fakes", {})
    fields["fakes"] = {name: fakes.get(name) for name in DRAWN_BY}
    fields["reals"] = provenance.get("reals", {}).get("fingerprint")
    return json.dumps(fields, sort_keys=True)
