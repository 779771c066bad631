"""Image sets, generators against their data, and the record in a run directory."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import stylegen
from stylegen.cli import evaluate
from stylegen.data.source import ImageSource
from stylegen.data.toy.source import ToySource
from stylegen.evaluation import EvaluationError, evaluate_run, image_sets, metric_names
from stylegen.evaluation.generated_set import Drawing, GeneratedSet
from stylegen.evaluation.image_sets import ArraySet, SourceSet
from stylegen.evaluation.measure import Result, measure
from stylegen.evaluation.measure_ppl import measure_ppl
from stylegen.metrics import extractors
from stylegen.metrics.extractors import Distance
from stylegen.pretrained.lpips import Network
from stylegen.runs.checkpoint import Checkpointer
from stylegen.runs.directory import write_config
from stylegen.training.schedule import at
from stylegen.training.state import init_state
from tests.support.configs import tiny_config


class Numbered(ImageSource):
    """Images whose pixels are their numbers, brighter to the right; classes by number."""

    num_images, resolutions, channels = 10, (4, 8), 3
    class_names = ("even", "odd")
    description, fingerprint = "numbers", "n-10"

    def _read(self, indices, resolution):
        ramp = np.arange(resolution, dtype=np.uint8)[None, None, :, None]
        images = np.broadcast_to(indices[:, None, None, None] * 10 + ramp, (len(indices), resolution, resolution, 3))
        return {"image": images.astype(np.uint8), "label": np.minimum(indices, 1).astype(np.int32)}


def test_source_in_a_random_order_with_mirror_images():
    plain, mirrored = SourceSet(Numbered(), 8, False, "center-crop"), SourceSet(Numbered(), 8, True, "center-crop")
    order = plain.read(np.arange(10))[:, 0, 0, 0] // 10
    assert sorted(order) == list(range(10)) and list(order) != list(range(10))
    np.testing.assert_array_equal(order, np.random.RandomState(0).permutation(10))
    with_mirrors = mirrored.read(np.arange(20))
    assert mirrored.count == 20 and plain.provenance != mirrored.provenance
    flipped = with_mirrors[:, 0, 0, 0] > with_mirrors[:, 0, 7, 0]
    assert flipped.sum() == 10
    assert (
        sorted(with_mirrors[flipped][:, 0, 7, 0] // 10)
        == sorted(with_mirrors[~flipped][:, 0, 0, 0] // 10)
        == list(range(10))
    )


def test_labels_are_as_frequent_as_in_the_data():
    labels = SourceSet(Numbered(), 8, False, "center-crop").labels(3000, seed=0)
    assert labels.mean() == pytest.approx(0.9, abs=0.03)  # one image of ten is of class 0


def test_generated_images_are_those_of_their_seeds(make_generator):
    G = make_generator()
    for drawing in (Drawing(), Drawing(psi=0.5, cutoff=2, noise="const", first_seed=7)):
        drawn = np.asarray(GeneratedSet(G, drawing).read(np.arange(3, 6)))
        seeds = range(drawing.first_seed + 3, drawing.first_seed + 6)
        expected = stylegen.sample(G, seeds, psi=drawing.psi, cutoff=drawing.cutoff, noise=drawing.noise)
        # Rounding to a whole number may fall either way.
        assert np.abs(drawn.astype(int) - expected).max() <= 1


def test_images_of_an_earlier_stage_are_enlarged(make_generator):
    G = make_generator(stage=8, alpha=0.3)
    drawn = np.asarray(GeneratedSet(G, Drawing(), 16).read(np.arange(2)))
    expected = stylegen.sample(G, [0, 1], noise="random").repeat(2, axis=1).repeat(2, axis=2)
    assert np.abs(drawn.astype(int) - expected).max() <= 1


def test_classes(make_generator):
    G = make_generator(classes=3)
    labels = np.array([2, 0, 1, 1])
    drawn = np.asarray(GeneratedSet(G, Drawing(), labels=labels).read(np.arange(4)))
    expected = stylegen.sample(G, range(4), labels=labels, noise="random")
    assert np.abs(drawn.astype(int) - expected).max() <= 1
    with pytest.raises(EvaluationError, match="3 classes; their frequencies are taken from the data"):
        GeneratedSet(G, Drawing())


def test_refusals_come_before_the_work(make_generator):
    fakes = ArraySet(np.zeros((4, 8, 8, 3), np.uint8))
    with pytest.raises(EvaluationError, match="fid compares with real images; there are none"):
        measure([metric_names.parse("fid", everything=True)], fakes, None, None)
    with pytest.raises(EvaluationError, match="fid needs a feature extractor"):
        measure([metric_names.parse("fid", everything=True)], fakes, fakes, None)
    with pytest.raises(EvaluationError, match="psi = nan"):
        GeneratedSet(make_generator(), Drawing(psi=float("nan")))


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((4, 8, 8, 5), r"array holds uint8 \(4, 8, 8, 5\); wanted \[N, h, w, C\] with 1 to 4 channels\.$"),
        ((4, 3, 8, 8), r"with 1 to 4 channels; channels come last here: transpose it, array.transpose\(0, 2, 3, 1\)"),
        ((64, 64, 3), r"which is one image; wanted are N of them"),
        ((8, 8), r"wanted uint8 \[N, h, w, C\] with N images"),
    ],
)
def test_arrays_that_are_no_images_are_refused_with_the_fix(shape, message):
    with pytest.raises(EvaluationError, match=message):
        ArraySet(np.zeros(shape, np.uint8))


def on_white(images: np.ndarray) -> np.ndarray:
    alpha = images[..., -1:] / np.float32(255)
    return np.repeat(np.rint(images[..., :-1] * alpha + 255 * (1 - alpha)), 3 if images.shape[-1] == 2 else 1, axis=-1)


@pytest.mark.parametrize("channels", [1, 2, 4])
def test_networks_see_transparency_on_white_and_gray_as_rgb(channels):
    images = np.random.default_rng(channels).integers(0, 256, (5, 4, 4, channels), np.uint8)

    def forward(params, x):
        return {"features": x.reshape(len(x), -1).astype(jnp.float32)}

    extractor = extractors.Extractor("inception", 48, {}, forward, None)
    seen = extractor(images).reshape(5, 4, 4, 3)
    expected = np.repeat(images, 3, axis=-1) if channels == 1 else on_white(images)
    np.testing.assert_array_equal(seen, expected)
    if channels == 1:
        return
    floats = np.asarray(extractors.to_rgb(jnp.asarray(images, jnp.float32) / 127.5 - 1))
    np.testing.assert_allclose((floats + 1) * 127.5, np.broadcast_to(on_white(images), (5, 4, 4, 3)), atol=0.6)
    invisible = np.zeros((1, 4, 4, channels), np.uint8)
    assert (extractor(invisible) == 255).all()


@pytest.mark.parametrize("channels", [1, 2, 4])
def test_generators_of_other_channels_are_measured(channels, make_generator, narrow_vgg, monkeypatch):
    monkeypatch.setattr(extractors, "BATCH", 8)
    G = make_generator(channels=channels)
    rooms = np.random.default_rng(0).integers(0, 256, (12, 16, 16, channels), np.uint8)
    extractor = extractors.open_extractor("random_vgg")
    metrics = metric_names.parse_list("fid12,swd12")
    fid, swd = measure(metrics, GeneratedSet(G, Drawing()), ArraySet(rooms), extractor)
    assert np.isfinite([fid.value, swd.value]).all() and fid.value > 0
    assert fid.provenance.get("transparency") == (None if channels == 1 else "laid on white")
    assert "transparency" not in swd.provenance  # which is of all channels
    (metric,) = metric_names.parse_list("ppl8_wend")
    length = measure_ppl(metric, G, extractors.open_distance("random_vgg"))
    assert np.isfinite(length.value)
    assert length.provenance.get("transparency") == (None if channels == 1 else "laid on white")


def test_images_of_a_wrong_layout_are_refused_before_a_network_sees_them():
    extractor = extractors.Extractor("inception", 3, {}, lambda params, images: {"features": images}, None)
    with pytest.raises(extractors.MetricError, match="channels come last here: transpose it, array.transpose"):
        extractor(np.zeros((2, 3, 8, 8), np.uint8))


def result(value, extractor="random_vgg", count=10) -> Result:
    provenance = {"metric": {"name": "fid10"}, "extractor": {"extractor": extractor}, "fakes": {"count": count}}
    return Result("fid10", value, provenance | {"reals": {"fingerprint": "x"}})


def test_record(tmp_path):
    evaluate_run.record(tmp_path, 2000, [result(5.0)])
    evaluate_run.record(tmp_path, 1000, [result(7.0)])
    evaluate_run.record(tmp_path, 2000, [result(6.0, "inception")])
    evaluate_run.record(tmp_path, 2000, [result(4.0)])  # measured again in the same way
    path = evaluate_run.record_path(tmp_path, "fid10")
    with path.open("a") as file:
        file.write('{"nimg": 3000, "val')  # a killed process
    lines = [(line["kimg"], line["value"], line["measured_by"]) for line in evaluate_run.read_record(path)]
    assert lines == [(1, 7, "random_vgg"), (2, 6, "inception"), (2, 4, "random_vgg")]
    assert json.loads(path.read_text().splitlines()[0])["provenance"]["fakes"] == {"count": 10}


@pytest.fixture
def run(tmp_path):
    """A run directory with two snapshots of untrained networks."""
    config = tiny_config(
        16,
        data={"num_images": 30},
        schedule={"start_resolution": 8, "stable_kimg": 2, "fade_kimg": 2, "total_kimg": 10},
    )
    folder = tmp_path / "run"
    folder.mkdir()
    write_config(folder, config)
    with Checkpointer(folder, config, keep_last=2) as checkpointer:
        for nimg in (1000, 5000):
            state = dataclasses.replace(init_state(config), nimg=jax.numpy.int32(nimg))
            checkpointer.save(state, at(config, nimg))
    return folder


def test_every_snapshot_of_a_run(run, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    command = f"--run {run} --metrics swd16 --json {tmp_path}/out.json"
    assert evaluate.main(command.split()) == 0
    newest = json.loads((tmp_path / "out.json").read_text())["swd16"]
    assert newest["kimg"] == 5 and newest["provenance"]["fakes"]["drawn_at"] == 16
    assert evaluate.main([*command.split(), "--all"]) == 0
    all_snapshots = json.loads((tmp_path / "out.json").read_text())["swd16"]
    assert [entry["kimg"] for entry in all_snapshots] == [1, 5] and all_snapshots[1]["value"] == newest["value"]
    assert all_snapshots[0]["provenance"]["fakes"]["drawn_at"] == 8  # enlarged to 16
    lines = evaluate_run.read_record(evaluate_run.record_path(run, "swd16"))
    assert [(line["nimg"], line["value"]) for line in lines] == [(e["kimg"] * 1000, e["value"]) for e in all_snapshots]


@pytest.mark.filterwarnings("ignore:.*(every subset holds all of it|the name asks for):UserWarning")
def test_features_and_images_in_one_pass(make_generator):
    """Metrics together give what each gives alone."""
    source = ToySource(20, 16)
    reals = SourceSet(source, 16, False, "center-crop")

    class Counting(GeneratedSet):
        read_so_far = 0

        def read(self, positions):
            self.read_so_far += len(positions)
            return super().read(positions)

    fakes = Counting(make_generator(), Drawing())

    class Means:
        """Stands in for an extractor: mean colors."""

        name, size, batch, provenance = "inception", 3, 8, {"extractor": "means"}
        passes = 0

        def outputs(self, images, names):
            self.passes += 1
            features = np.asarray(images, np.float32).mean(axis=(1, 2))
            return {name: features * (2 if name == "logits" else 1) for name in names}

    metrics = metric_names.parse_list("fid12,kid8,is12,swd4,pr,dc", everything=True)
    metrics = [dataclasses.replace(m, fakes=m.fakes or 10, reals=m.reals or 20) for m in metrics]
    extractor = Means()
    together = measure(metrics, fakes, reals, extractor)
    assert fakes.read_so_far == 12 and extractor.passes == 1 + 3, "of the fakes, and of the reals in batches of eight"
    alone = [r for metric in metrics for r in measure([metric], fakes, reals, Means())]
    assert [(r.name, r.value) for r in together] == [(r.name, pytest.approx(r.value, rel=1e-9)) for r in alone]
    assert len(together) == 8
    assert image_sets.shuffled(5).tolist() == np.random.RandomState(0).permutation(5).tolist()


def test_path_lengths_of_an_earlier_stage_are_of_enlarged_images(make_generator):
    """As those of a run's first stages are: of 4 pixels the distance's network would see nothing."""

    class Squares(Distance):
        def __call__(self, a, b):
            assert a.shape == b.shape == (len(a), 16, 16, 3)
            np.testing.assert_array_equal(a[:, ::4, ::4], a[:, 3::4, 3::4])
            return (a - b).__pow__(2).mean((1, 2, 3))

    G = make_generator()
    (metric,) = metric_names.parse_list("ppl8_wend")
    early = dataclasses.replace(G, resolution=4)
    result = measure_ppl(metric, early, Squares({}, Network([])))
    assert result.value > 0
    assert result.provenance["fakes"]["resolution"] == 16 and result.provenance["fakes"]["drawn_at"] == 4
    assert np.isfinite(measure_ppl(metric, early, extractors.open_distance("random_vgg")).value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"classes": 3}, "path lengths of class-conditional generators are not supported"),
        ({"resolution": 8}, "sees images of 16 pixels at least, and these have 8"),
    ],
)
def test_path_lengths_are_refused_before_anything_is_measured(changes, message, make_generator, monkeypatch):
    monkeypatch.setattr(evaluate_run, "measure", lambda *_, **__: pytest.fail("measured"))
    metrics = metric_names.parse_list("swd16,ppl8_wend")
    with pytest.raises(EvaluationError, match=message):
        evaluate_run.evaluate_generator(make_generator(**changes), metrics, ToySource(20, 16), extractor=None)


def test_path_lengths_by_alexnet_need_more_pixels_which_is_said_first(make_generator, monkeypatch):
    monkeypatch.setattr(evaluate_run, "measure", lambda *_, **__: pytest.fail("measured"))
    distance = extractors.Distance({}, Network([], name="alexnet"))
    metrics = metric_names.parse_list("swd16,ppl8_wend")
    with pytest.raises(EvaluationError, match="sees images of 31 pixels at least, and these have 16"):
        evaluate_run.evaluate_generator(make_generator(), metrics, ToySource(20, 16), extractor=None, distance=distance)


def test_several_outputs_of_one_pass():
    def forward(params, images):
        mean = images.mean((1, 2))
        return {"features": mean + params, "logits": mean * 2}

    images = np.random.default_rng(0).integers(0, 256, (extractors.BATCH + 3, 4, 4, 3), np.uint8)
    extractor = extractors.Extractor("inception", 3, {}, forward, np.float32(1))
    outputs = extractor.outputs(images, ["logits", "features"])
    np.testing.assert_allclose(outputs["features"], images.mean((1, 2)) + 1, rtol=1e-5)
    np.testing.assert_allclose(outputs["logits"], 2 * images.mean((1, 2)), rtol=1e-5)
    with pytest.raises(extractors.MetricError, match="has no scores"):
        extractor.outputs(images, ["features", "scores"])
