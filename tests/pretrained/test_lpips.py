"""LPIPS with the weights that an installed package carries, against the package lpips, and without them."""

import pickle

import jax.numpy as jnp
import numpy as np
import pytest

from stylegen.formats import WeightsError
from stylegen.formats.pickle_arrays import read_tree
from stylegen.io import files
from stylegen.metrics import MetricError
from stylegen.metrics.extractors import open_distance, open_extractor
from stylegen.metrics.lpips import lpips
from stylegen.pretrained import alexnet, installed, vgg16, weights
from stylegen.pretrained import lpips as networks
from stylegen.projection.loss import open_perceptual
from tests.support.paths import REFERENCES

EXPECTED = dict(np.load(REFERENCES / "metrics" / "lpips.npz"))  # written by tests/references/make_lpips.py


@pytest.mark.parametrize("kind", ["blurred", "noised", "other"])
@pytest.mark.parametrize("network", ["vgg16", "alexnet"])
def test_lpips_of_photographs_is_that_of_the_package_lpips(real_weights, network, kind):
    distances = lpips(EXPECTED["images"], EXPECTED[f"images_{kind}"], network)
    np.testing.assert_allclose(distances, EXPECTED[f"{network}_{kind}"], rtol=1e-4)


def test_images_are_equal_to_themselves_and_floats_to_bytes(real_weights):
    images = EXPECTED["images"]
    assert (lpips(images, images) == 0).all()
    floats, others = (x.astype(np.float32) / 127.5 - 1 for x in (images, EXPECTED["images_noised"]))
    np.testing.assert_allclose(lpips(floats, others, "alexnet"), EXPECTED["alexnet_noised"], rtol=1e-4)


def test_installed_weights_are_the_published_ones(real_weights):
    for network, digest in installed.SHA256.items():
        assert files.sha256(installed.find(network)) == digest
    network, provenance = networks.load("vgg16")
    # The first biases of torchvision's VGG-16.
    np.testing.assert_allclose(network.conv[0]["bias"][:4], [0.4034, 0.3778, 0.4644, -0.3228], atol=5e-5)
    assert provenance["distance"] == "LPIPS 0.1, VGG-16"
    assert provenance["weights_sha256"] == installed.SHA256["vgg16"]


def test_installed_weights_are_those_of_the_downloaded_files(real_weights):
    files = [weights.folder() / weights.PUBLISHED[name].filename for name in ("vgg16", "lpips")]
    if not all(file.is_file() for file in files):
        pytest.skip("nothing was downloaded: evaluate.py --download vgg16, and lpips")
    mine, _ = networks.load("vgg16")
    conv, linear = installed.read(installed.find("vgg16"), *networks.layout("vgg16"))
    for a, b in zip(mine.conv, conv, strict=True):
        assert (a["kernel"] == b["kernel"]).all() and (a["bias"] == b["bias"]).all()
    for a, b in zip(mine.linear, linear, strict=True):
        assert (a == b).all()


def test_features_of_photographs_are_nearer_to_those_of_their_copies_than_to_others(real_weights):
    extractor = open_extractor("vgg16_conv")
    features = {kind: extractor(EXPECTED[f"images{kind}"]) for kind in ("", "_blurred", "_noised", "_other")}
    assert features[""].shape == (3, 512) and extractor.provenance["layer"].startswith("relu5_3")
    distances = {kind: np.linalg.norm(features[""] - x, axis=1) for kind, x in features.items()}
    assert (np.maximum(distances["_blurred"], distances["_noised"]) < distances["_other"]).all()


def test_other_layers_by_name(real_weights):
    extractor = open_extractor("vgg16_conv:relu2_1")
    assert extractor(EXPECTED["images"]).shape == (3, 128) and extractor.size == 128
    with pytest.raises(MetricError, match=r"layer 'relu6_1' of vgg16_conv: must be one of relu1_1"):
        open_extractor("vgg16_conv:relu6_1")


def test_projection_takes_the_network_that_is_there(real_weights):
    assert open_perceptual("auto").provenance["distance"] == "LPIPS 0.1, VGG-16"
    assert open_perceptual("alexnet").network.name == "alexnet"


def test_without_the_package_there_is_a_sentence(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    for network in ("vgg16", "alexnet"):
        assert not networks.is_here(network)
        with pytest.raises(WeightsError, match=r"pip install 'stylegen\[perceptual\]'"):
            open_distance(network)
    with pytest.raises(WeightsError, match="perceptual"):
        open_extractor("vgg16_conv")
    assert open_perceptual("auto").provenance["distance"].startswith("random_vgg")


def test_images_that_do_not_fit_are_refused(unchecked):
    images = np.zeros((1, 32, 32, 3), np.uint8)
    for a, b, network, message in [
        (images, images[:, :16], "vgg16", "both must be alike"),
        (images, images.astype(np.float32), "vgg16", "both must be alike"),
        (images[..., :0], images[..., :0], "vgg16", "both must be alike"),
        (images[:0], images[:0], "vgg16", "there must be some"),
        (images[:, :24, :24], images[:, :24, :24], "alexnet", "at least 31 pixels for alexnet"),
    ]:
        with pytest.raises(MetricError, match=message):
            lpips(a, b, network)


def test_alexnet_against_plain_loops():
    rng = np.random.RandomState(0)
    kernels = [(11, 11, 3, 2), (5, 5, 2, 3), (3, 3, 3, 2), (3, 3, 2, 2), (3, 3, 2, 2)]
    conv = [{"kernel": rng.randn(*k).astype(np.float32), "bias": rng.randn(k[-1]).astype(np.float32)} for k in kernels]
    x = rng.randn(1, 35, 35, 3).astype(np.float32)

    def convolved(x, layer, stride, padding):
        x = np.pad(x, ((padding, padding), (padding, padding), (0, 0)))
        k = len(layer["kernel"])
        places = range(0, x.shape[0] - k + 1, stride)
        rows = [[np.tensordot(x[i : i + k, j : j + k], layer["kernel"], 3) for j in places] for i in places]
        return np.maximum(np.array(rows) + layer["bias"], 0)

    def pooled(x):
        places = range(0, x.shape[0] - 2, 2)
        return np.array([[x[i : i + 3, j : j + 3].max((0, 1)) for j in places] for i in places])

    expected = [convolved(x[0], conv[0], 4, 2)]
    expected.append(convolved(pooled(expected[0]), conv[1], 1, 2))
    expected.append(convolved(pooled(expected[1]), conv[2], 1, 1))
    expected += [convolved(expected[2], conv[3], 1, 1)]
    expected += [convolved(expected[3], conv[4], 1, 1)]
    for mine, other in zip(alexnet.maps({"conv": conv}, jnp.asarray(x)), expected, strict=True):
        np.testing.assert_allclose(mine[0], other, rtol=1e-4, atol=1e-4)


def test_activations_end_with_the_maps_of_the_stages(narrow_vgg):
    params, _ = vgg16.random_params()
    x = np.random.RandomState(0).randn(1, 32, 32, 3).astype(np.float32)
    given = vgg16.activations(params, x)
    assert len(given) == 13
    for mine, end in zip(vgg16.maps(params, x), (1, 3, 6, 9, 12), strict=True):
        np.testing.assert_array_equal(mine, given[end])


@pytest.mark.parametrize(
    "content, message",
    [
        ({"AlexNet_0": {"Conv_0": {"kernel": np.zeros((3, 3))}}}, "Conv_0/kernel is .3, 3.; wanted"),
        ({"NetLinLayer_0": {"Conv_0": {"kernel": np.zeros(3)}}}, "Conv_0/kernel is missing"),
        ({"VGG16_0": {"Conv_0": "text"}}, "no array of weights"),
        ([1, 2], "no array of weights"),
    ],
)
def test_other_files_are_refused(tmp_path, content, message):
    path = tmp_path / "vgg16.ckpt"
    path.write_bytes(pickle.dumps(content, protocol=4))
    with pytest.raises(WeightsError, match=message):
        installed.read(path, *networks.layout("vgg16"))


def test_nested_arrays_are_read_by_path(tmp_path):
    arrays = {"a": {"b": np.arange(6.0).reshape(2, 3), "c": {"d": np.float32([1])}}}
    (tmp_path / "x.ckpt").write_bytes(pickle.dumps(arrays, protocol=2))
    found = read_tree(tmp_path / "x.ckpt")
    assert sorted(found) == ["a/b", "a/c/d"] and (found["a/b"] == arrays["a"]["b"]).all()
