"""Metrics during training: measured at times, recorded, plotted, and the best snapshot kept."""

import dataclasses
import math
import time
import warnings
from pathlib import Path
from typing import Any

import jax
import numpy as np

from stylegen.config import Config, ConfigError
from stylegen.data.source import ImageSource
from stylegen.evaluation import (
    EvaluationError,
    evaluate_run,
    measure_ppl,
    metric_names,
    reference_cache,
    run_tables,
    set_sizes,
)
from stylegen.evaluation.measure import Result
from stylegen.io import json_lines
from stylegen.io.progress import duration, in_kimg
from stylegen.metrics import MetricError
from stylegen.metrics.extractors import open_distance, open_extractor
from stylegen.networks.generator import Generator
from stylegen.runs.load import LoadError, load, save_generator
from stylegen.runtime import processes
from stylegen.training import schedule

PLOT_NAME, BEST_NAME = "metrics.png", "best.safetensors"


class RunMetrics:
    """The metrics that ``run.metrics`` asks for, of a run's moving-average generator."""

    def __init__(self, config: Config, folder: Path, source: ImageSource) -> None:
        """Prepare; nothing is written.

        Args:
            config: of the run.
            folder: the run directory.
            source: the data.

        Raises:
            EvaluationError: a name is no metric, or a metric does not fit the extractor, the data or the generator.
            WeightsError: weights are missing.
        """
        run = config.run
        self.metrics = check(config)
        self._folder, self._source, self._mirror = folder, source, config.data.mirror
        kinds = {metric.kind for metric in self.metrics}
        weights = run.metrics_weights
        needed = any(metric.needs_features for metric in self.metrics)
        self._extractor = open_extractor(run.metrics_extractor, weights) if needed else None
        network = "random_vgg" if run.metrics_extractor == "random_vgg" else "vgg16"
        self._distance = open_distance(network) if "ppl" in kinds else None
        self._seconds: float | None = None  # that the last measurement took
        self._every, self._total = round(run.metrics_every * 1000), schedule.total_nimg(config)

    def due(self, before: int, now: int) -> bool:
        """Whether a multiple of ``run.metrics_every``, or the end of the run, lies between two numbers of images."""
        return now // self._every > before // self._every or before < self._total <= now

    def expected(self) -> list[str]:
        """Lines for the log: how many images each measurement takes, and where these numbers spoil its value."""
        available = self._source.num_images * (2 if self._mirror else 1)
        features = self._extractor.size if self._extractor is not None else None
        lines = []
        for metric in self.metrics:
            assert metric.fakes is not None
            fakes, reals = metric.fakes, set_sizes.reals_taken(metric, available)
            notes = set_sizes.size_warnings(metric, fakes, reals, features)
            lines.append(f"Every {in_kimg(self._every)} kimg, {set_sizes.describe(metric, fakes, reals)}")
            lines += [f"Warning: {metric.name}: {note}" for note in notes]
        return lines

    def forget_after(self, nimg: int) -> list[str]:
        """Drop the values beyond ``nimg`` that a killed run recorded: they will be measured again.

        The best snapshot goes too if it was one of these: its value is no longer in the record.

        Returns:
            A sentence for each record that had lines which cannot be read.
        """
        values = [name for metric in self.metrics for name in metric.values]
        paths = [evaluate_run.record_path(self._folder, name) for name in values]
        notes = [json_lines.set_aside(path, evaluate_run.is_value) for path in paths]
        dropped = [json_lines.drop_after(path, nimg) for path in paths]
        best = self._folder / BEST_NAME
        if any(dropped) and (self._best_nimg() or 0) > nimg:
            best.unlink()
        return [note for note in notes if note]

    def announcement(self) -> str:
        """A line for the log, before ``measure``: what is measured, and how long that took the last time."""
        names = ", ".join(metric.name for metric in self.metrics)
        last = "" if self._seconds is None else f" ({duration(self._seconds)} last time)"
        return f"Measuring {names}{last} ..."

    def measure(self, G: Generator, nimg: int) -> tuple[dict[str, float], str]:
        """Measure, record, plot, and keep the generator if it is the best by the first metric; all processes call this.

        A metric that cannot be measured now, such as one of images that are not finite, does not end the run.

        Returns:
            Scalars by ``Metrics/<name>``, and a line for the log; those of process 0, which alone writes.
        """
        # On the host, so that they can go to the devices as the metrics want them.
        G = dataclasses.replace(jax.tree.map(np.asarray, G), kimg=nimg / 1000, source=str(self._folder))
        started = time.monotonic()
        try:
            results = self._results(G)
            if not processes.is_main():
                return {}, ""
            evaluate_run.record(self._folder, nimg, results)
            best = self._keep_best(G, results[0])
            run_tables.plot_run(self._folder, results, self._folder / PLOT_NAME)
        except (MetricError, EvaluationError, OSError) as error:
            return {}, f"kimg {nimg / 1000:<8g} metrics were not measured: {error}"
        self._seconds = time.monotonic() - started
        values = ", ".join(f"{result.name} {result.value:.4g}" for result in results)
        return {f"Metrics/{result.name}": result.value for result in results}, f"kimg {nimg / 1000:<8g} {values}{best}"

    def _results(self, G: Generator) -> list[Result]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # they stand in the provenance; once a time they would fill the log
            return evaluate_run.evaluate_generator(
                G,
                self.metrics,
                self._source,
                extractor=self._extractor,
                distance=self._distance,
                cache=reference_cache.default_folder(),
            )

    def _keep_best(self, G: Generator, result: Result) -> str:
        """Write the generator if no kept one, measured by the same protocol, is as good; returns text for the log."""
        if not math.isfinite(result.value):
            return ""
        sign = 1 if self.metrics[0].lower_is_better else -1
        values = {line["nimg"]: line["value"] for line in self._comparable_lines(result)}
        best_nimg = self._best_nimg()
        if best_nimg in values and sign * values[best_nimg] <= sign * result.value:
            return ""
        save_generator(G, self._folder / BEST_NAME)
        return f", the best so far: {BEST_NAME}"

    def _best_nimg(self) -> int | None:
        """The best snapshot so far, by images shown; None if there is none, or none that can be read."""
        path = self._folder / BEST_NAME
        try:
            return round(load(path).kimg * 1000) if path.exists() else None
        except (LoadError, ConfigError):
            return None

    def _comparable_lines(self, result: Result) -> list[dict[str, Any]]:
        """The lines of the record that can be compared with a result."""
        lines = run_tables.record(self._folder, result.name)
        return run_tables.comparable(lines, evaluate_run.protocol(result.provenance))


def check(config: Config) -> list[metric_names.Metric]:
    """The metrics that ``run.metrics`` asks for.

    Raises:
        EvaluationError: a name is no metric, or a metric does not fit the extractor or the generator.
    """
    metrics = metric_names.parse_list(config.run.metrics) if config.run.metrics else []
    for metric in metrics:
        _check(metric, config)
    return metrics


def _check(metric: metric_names.Metric, config: Config) -> None:
    prefix = f"run.metrics = {config.run.metrics!r}: {metric.name}"
    if metric.kind == "is" and config.run.metrics_extractor != "inception":
        raise EvaluationError(f"{prefix} needs run.metrics_extractor inception.")
    if metric.kind != "swd" and config.is_arrays:
        raise EvaluationError(f"{prefix} is of images of colors; arrays are measured by swd alone.")
    if metric.kind == "ppl":
        try:
            measure_ppl.check(metric, classes=config.num_classes, resolution=min(config.shape_at(config.resolution)))
        except EvaluationError as error:
            raise EvaluationError(f"run.metrics = {config.run.metrics!r}: {error}") from error
