"""Metrics during training: when, recorded, plotted, the best snapshot kept, and never the end of a run."""

import dataclasses
import re

import jax
import numpy as np
import pytest
from PIL import Image

import stylegen
from stylegen import data
from stylegen.config import (
    Config,
    ConfigError,
)
from stylegen.data.toy.source import ToySource
from stylegen.evaluation import EvaluationError, during_training, evaluate_run, plot, run_tables
from stylegen.evaluation.during_training import RunMetrics
from stylegen.evaluation.measure import Result
from stylegen.formats import WeightsError
from stylegen.metrics import MetricError
from stylegen.train import train
from tests.support.configs import tiny_config
from tests.support.hooks import LastState


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def config(folder, **run) -> Config:
    """Ten steps at 8 pixels."""
    settings = {"metrics": "swd8", "metrics_every": 0.016, "tick_kimg": 0.02, "grid": (2, 2), **run}
    return tiny_config(
        data={"num_images": 20},
        generator={"channel_base": 32},
        discriminator={"channel_base": 32},
        schedule={"start_resolution": 8, "total_kimg": 0.04},
        run={"dir": str(folder), **settings},
    )


def test_a_run_with_metrics(tmp_path, capsys):
    folder = train(config(tmp_path / "run"))
    lines = evaluate_run.read_record(evaluate_run.record_path(folder, "swd8"))
    assert [line["nimg"] for line in lines] == [16, 32, 40]
    best = min(lines, key=lambda line: line["value"])
    G = stylegen.load(folder / during_training.BEST_NAME)
    assert G.kimg == best["kimg"] and lines[0]["provenance"]["fakes"]["kimg"] == 0.016
    text, series = run_tables.compare([folder])
    assert series["swd8 (pixels)"][str(folder)] == [(line["kimg"], line["value"]) for line in lines]
    assert f"{best['value']:.6g}" in text and text.splitlines()[-1].split()[-1] == "0.04"
    with Image.open(folder / during_training.PLOT_NAME) as plotted:
        assert plotted.size == (plot.WIDTH, plot.HEIGHT)
    out = capsys.readouterr().out
    assert "Every 0.016 kimg, swd8: 8 fakes, 8 reals\n" in out
    assert len(re.findall(r"^kimg \S+ +swd8 ", out, re.MULTILINE)) == out.count("Measuring swd8") == 3
    assert out.count(" s last time) ...") == 2, "nothing is known of the first time"
    assert "the best so far: best.safetensors" in out
    assert list((folder / "tensorboard").iterdir())
    # What is measured is what can be measured afterwards.
    again = stylegen.load(folder)
    source = ToySource(20, 8)
    metrics = RunMetrics(config(folder), folder, source).metrics
    (result,) = evaluate_run.evaluate_generator(again, metrics, source, extractor=None)
    assert result.value == pytest.approx(lines[-1]["value"], rel=1e-4)


@pytest.mark.slow
def test_training_is_the_same_with_and_without(tmp_path):
    """Metrics only look."""
    states = []
    for name, metrics in (("with", {}), ("without", {"metrics": ""})):
        last = LastState()
        train(config(tmp_path / name, **metrics), last)
        states.append(last.state)
    plain = [dataclasses.replace(state, key=jax.random.key_data(state.key)) for state in states]
    for a, b in zip(*map(jax.tree.leaves, plain), strict=True):
        np.testing.assert_array_equal(a, b)
    assert not list((tmp_path / "without").glob("metric*"))


@pytest.fixture
def measured(tmp_path, monkeypatch, make_generator):
    """Measures given values in turn, in a run directory; returns the log lines."""
    G = make_generator()
    settings = config(tmp_path, metrics="pr1k3,swd8", metrics_extractor="random_vgg")
    metrics = RunMetrics(settings, tmp_path, ToySource(20, 8))
    values: list = []
    psi = [1.0]

    def results(_):
        value = values.pop(0)
        if isinstance(value, Exception):
            raise value
        provenance = {"extractor": {"extractor": "random_vgg"}, "metric": {}, "fakes": {"psi": psi[0]}}
        names = ("pr1k3_precision", "pr1k3_recall", "swd8")
        return [Result(name, number, provenance) for name, number in zip(names, value, strict=True)]

    monkeypatch.setattr(metrics, "_results", results)

    def measure(nimg, *value, truncated=1.0):
        psi[0] = truncated
        values.append(value[0] if isinstance(value[0], Exception) else value)
        return metrics.measure(G, nimg)

    return measure, metrics, tmp_path


def test_the_best_is_of_the_first_metric_in_its_own_direction(measured):
    measure, _, folder = measured
    best = []
    for nimg, precision in ((1000, 0.3), (2000, 0.5), (3000, 0.4), (4000, 0.5)):
        scalars, text = measure(nimg, precision, 0.1, 9.0 - nimg / 1000)
        assert scalars["Metrics/pr1k3_precision"] == precision
        best.append("best so far" in text)
        assert stylegen.load(folder / during_training.BEST_NAME).kimg == min(nimg / 1000, 2)
    assert best == [True, True, False, False]
    with Image.open(folder / during_training.PLOT_NAME) as plotted:
        assert plotted.size == (2 * plot.WIDTH, 2 * plot.HEIGHT)


def test_the_best_is_among_those_that_were_measured_alike(measured):
    """``evaluate`` writes to the same record, perhaps with truncation."""
    measure, metrics, folder = measured
    measure(1000, 0.9, 0.1, 9.0, truncated=0.5)
    (folder / during_training.BEST_NAME).unlink()
    measure(1000, 0.3, 0.1, 9.0)
    _, text = measure(2000, 0.5, 0.1, 9.0)
    assert "best so far" in text and stylegen.load(folder / during_training.BEST_NAME).kimg == 2
    newest = evaluate_run.read_record(evaluate_run.record_path(folder, "pr1k3_precision"))[-1]
    alike = metrics._comparable_lines(Result("pr1k3_precision", newest["value"], newest["provenance"]))
    assert [line["value"] for line in alike] == [0.3, 0.5]


def test_a_number_that_is_none_is_neither_recorded_nor_the_best(measured):
    measure, _, folder = measured
    for nimg, precision in ((1000, np.nan), (2000, 0.3), (3000, np.nan)):
        _, text = measure(nimg, precision, 0.1, 1.0)
        assert ("best so far" in text) == (nimg == 2000)
    assert [line["nimg"] for line in evaluate_run.read_record(evaluate_run.record_path(folder, "swd8"))] == [
        1000,
        2000,
        3000,
    ]
    assert "NaN" not in evaluate_run.record_path(folder, "pr1k3_precision").read_text()


def test_what_cannot_be_measured_does_not_end_the_run(measured):
    measure, _, folder = measured
    scalars, text = measure(1000, MetricError("features hold numbers that are not finite."))
    assert scalars == {} and "metrics were not measured: features hold numbers that are not finite." in text
    assert not list(folder.glob("metric-*"))


def test_values_beyond_the_checkpoint_are_dropped(measured):
    measure, metrics, folder = measured
    for nimg in (1000, 2000, 3000):
        measure(nimg, 0.5, 0.5, 1.0)
    metrics.forget_after(2000)
    assert [line["nimg"] for line in evaluate_run.read_record(evaluate_run.record_path(folder, "swd8"))] == [1000, 2000]
    assert stylegen.load(folder / during_training.BEST_NAME).kimg == 1


def test_the_best_goes_with_its_value(measured):
    """After going back, another one is kept as soon as one is measured."""
    measure, metrics, folder = measured
    for nimg, precision in ((1000, 0.4), (2000, 0.3), (3000, 0.9)):
        measure(nimg, precision, 0.5, 1.0)
    metrics.forget_after(2000)
    assert not (folder / during_training.BEST_NAME).exists()
    for nimg, precision, best in ((3000, 0.35, 3), (4000, 0.34, 3), (5000, 0.38, 5), (6000, 0.39, 6)):
        measure(nimg, precision, 0.5, 1.0)
        assert stylegen.load(folder / during_training.BEST_NAME).kimg == best, "of those after it, whatever was before"


def test_the_best_at_the_checkpoint_stays(measured):
    measure, metrics, folder = measured
    for nimg, precision in ((64_224, 0.4), (80_000, 0.3)):
        measure(nimg, precision, 0.5, 1.0)
    metrics.forget_after(64_224)
    assert round(stylegen.load(folder / during_training.BEST_NAME).kimg * 1000) == 64_224


def test_when(tmp_path):
    metrics = RunMetrics(config(tmp_path), tmp_path, ToySource(20, 8))
    assert [now for now in range(4, 44, 4) if metrics.due(now - 4, now)] == [16, 32, 40]


def test_a_name_that_asks_for_more_images_than_there_are_is_said_before_training(tmp_path):
    settings = {"metrics": "fid300,swd32", "metrics_extractor": "random_vgg"}
    lines = RunMetrics(config(tmp_path, **settings), tmp_path, ToySource(20, 8)).expected()
    assert lines[0] == "Every 0.016 kimg, fid300: 300 fakes, 20 reals"
    assert any(line.startswith("Warning: fid300: 20 samples are no more than the") for line in lines)
    assert "Warning: fid300: the name asks for 300 real images; there are 20, and all are taken." in lines
    assert "Warning: swd32: the name asks for 32 real images; there are 20, and all are taken." in lines
    fits = config(tmp_path, metrics="swd8")
    assert len(RunMetrics(fits, tmp_path, ToySource(20, 8)).expected()) == 1


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"metrics": "fud"}, EvaluationError, "metric 'fud': there is no such"),
        ({"metrics": "ppl1k_wend"}, EvaluationError, "run.metrics = 'ppl1k_wend': .* 16 pixels at least"),
        ({"metrics": "is1k", "metrics_extractor": "random_vgg"}, EvaluationError, "is1k needs run.metrics_extractor"),
        ({"metrics": "fid1k"}, WeightsError, "--download inception"),
    ],
)
def test_wrong_settings_leave_nothing_behind(changes, error, message, tmp_path, monkeypatch):
    if error is EvaluationError:  # said before data is prepared, which may take hours
        monkeypatch.setattr(data, "open_source", lambda config: pytest.fail("opened"))
    with pytest.raises(error, match=message):
        train(config(tmp_path / "run", **changes))
    assert not (tmp_path / "run").exists()


def test_wrong_interval(tmp_path):
    with pytest.raises(ConfigError, match=r"run\.metrics_every = 0: must be positive"):
        config(tmp_path, metrics_every=0)


def test_ticks():
    assert plot.ticks(0, 10) == [0, 2, 4, 6, 8, 10]
    assert plot.ticks(0.013, 0.029) == pytest.approx([0.01, 0.015, 0.02, 0.025, 0.03])
    for low, high in ((3, 3), (0, 0), (-5, 1e6), (1e-9, 2e-9)):
        ticks = plot.ticks(low, high)
        assert 2 <= len(ticks) <= 8 and ticks[0] <= low and ticks[-1] >= high
