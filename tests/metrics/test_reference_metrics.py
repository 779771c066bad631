"""The networks and distances against torch-fidelity and pytorch-fid with the same random weights and pictures.

The numbers in tests/references/metrics are written by tests/references/make_metrics.py, which needs those packages;
weights and pictures are drawn again here from the same seeds.
"""

import functools

import jax
import numpy as np
import pytest

from stylegen.metrics.extractors import Extractor
from stylegen.metrics.fid import frechet_distance
from stylegen.metrics.inception_score import inception_score
from stylegen.metrics.kid import kernel_distance
from stylegen.metrics.moments import Moments
from stylegen.metrics.precision_recall import precision_recall
from stylegen.pretrained import inception, lpips, vgg16
from tests.references import inputs
from tests.support.paths import REFERENCES

FOLDER = REFERENCES / "metrics"
EXPECTED = dict(np.load(FOLDER / "torch.npz"))


def assert_relatively_close(values, name, tolerance=1e-4):
    """Within ``tolerance`` of the largest number of each picture."""
    expected = EXPECTED[name]
    error = np.abs(np.asarray(values) - expected).max(axis=-1) / np.abs(expected).max(axis=-1)
    assert values.shape == expected.shape and error.max() < tolerance


@functools.cache
def inception_params():
    return inception.fold(inputs.tensors(inception.tensor_shapes()))


@functools.cache
def inception_extractor() -> Extractor:
    def forward(params, images):
        pooled = inception.features(params, inception.preprocess(images))
        return {"features": pooled, "logits": inception.logits(params, pooled)}

    return Extractor("inception", inception.FEATURES, {}, forward, inception_params())


def subsets():
    """KID's subsets as torch-fidelity draws them: one generator, fakes and reals in turn."""
    rng = np.random.RandomState(inputs.KID_SEED)

    def draw(n_fakes, n_reals):
        sizes = [(n_fakes, n_reals)] * inputs.KID_SUBSETS
        pairs = [[rng.choice(n, inputs.KID_SIZE, replace=False) for n in pair] for pair in sizes]
        return (np.stack(column) for column in zip(*pairs, strict=True))

    return draw


def check_distances(fakes, reals, prefix):
    distance = frechet_distance(Moments.of([fakes]), Moments.of([reals]))
    assert distance == pytest.approx(float(EXPECTED[f"{prefix}_fid"]), rel=1e-3)
    kid = kernel_distance(fakes, reals, *subsets()(len(fakes), len(reals)))
    assert kid == pytest.approx(float(EXPECTED[f"{prefix}_kid"]), abs=1e-6)
    precision, recall = precision_recall(fakes, reals, 3)
    assert precision == pytest.approx(float(EXPECTED[f"{prefix}_precision"]), rel=1e-3)
    assert recall == pytest.approx(float(EXPECTED[f"{prefix}_recall"]), rel=1e-3)


def test_distances_of_given_features():
    fakes, reals = inputs.features(**inputs.FAKE_FEATURES), inputs.features(**inputs.REAL_FEATURES)
    check_distances(fakes, reals, "features")
    assert inception_score(fakes)[0] == pytest.approx(float(EXPECTED["features_is"]), rel=1e-6)


def test_inception_and_its_resize():
    """Pictures that are made larger, with logits."""
    run = inception_extractor()._program
    outputs = run(inception_params(), inputs.images(**inputs.SMALL))
    assert_relatively_close(outputs["features"], "inception_small")
    assert_relatively_close(outputs["logits"], "logits_small")


def test_inception_against_pytorch_fid():
    """At its own size, where nothing is resized; pytorch-fid scales pixels by 2/255, TensorFlow by 1/128."""
    pictures = inputs.images(**inputs.EXACT).astype(np.float32)
    features = jax.jit(inception.features)(inception_params(), 2 * (pictures / 255) - 1)
    assert_relatively_close(features, "pytorch_fid_exact")


@pytest.mark.slow
def test_inception_of_pictures_made_smaller():
    outputs = inception_extractor()._program(inception_params(), inputs.images(**inputs.LARGE))
    assert_relatively_close(outputs["features"], "inception_large")


@pytest.mark.slow
def test_distances_of_pictures():
    """From pictures to numbers, on both sides."""
    run = inception_extractor()
    fakes, reals = (run(inputs.images(**x)) for x in (inputs.FAKES, inputs.REALS))
    with pytest.warns(UserWarning, match="24 samples are no more than the 2048 features"):
        check_distances(fakes, reals, "images")


def test_lpips():
    params = vgg16.arrange(inputs.tensors(vgg16.tensor_shapes(dense=False)))
    linear = [inputs.tensor(f"lin{i}.model.1.weight", (1, s[-1], 1, 1)).ravel() for i, s in enumerate(vgg16.STAGES)]
    pictures = inputs.images(**inputs.SMALL).astype(np.float32) / 127.5 - 1
    network = lpips.Network(params["conv"], linear)
    distances = jax.jit(lpips.distance)(network, pictures, np.roll(pictures, 1, axis=0))
    np.testing.assert_allclose(distances, EXPECTED["lpips_small"], rtol=1e-4)


@pytest.mark.slow
def test_vgg16():
    """With its dense layers, whose weights take half a gigabyte."""
    params = vgg16.arrange(inputs.tensors(vgg16.tensor_shapes()))
    features = jax.jit(lambda p, x: vgg16.features(p, vgg16.preprocess(x)))(params, inputs.images(**inputs.SMALL))
    assert_relatively_close(features, "vgg_small")
