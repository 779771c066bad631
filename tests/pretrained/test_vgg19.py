"""Files of VGG-19 in every layout give the same network; others are refused. Channels are an eighth, for speed."""

import sys

import numpy as np
import pytest
from safetensors.numpy import save_file

from stylegen.formats import WeightsError, keras_files
from stylegen.pretrained import vgg19, weights


@pytest.fixture(autouse=True)
def a_smaller_network(monkeypatch):
    monkeypatch.setattr(vgg19, "CHANNELS", (3, *(c // 8 for c in vgg19.CHANNELS[1:])))


def drawn(shapes, seed=0):
    rng = np.random.default_rng(seed)
    return {name: rng.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}


@pytest.fixture
def torchvision():
    return drawn(vgg19.layouts()["torchvision"]) | {"classifier.0.weight": np.zeros((2, 2), np.float32)}


def as_keras(tensors):
    """The same convolutions by Keras' names and in its order of axes."""
    places = zip(vgg19._KERAS, vgg19._TORCHVISION, strict=True)
    return {
        name: (tensors[f"features.{i}.weight"].transpose(2, 3, 1, 0), tensors[f"features.{i}.bias"])
        for name, i in places
    }


def convolutions(params):
    return {name: x for name, x in params.items() if name.startswith("conv")}


def test_places_are_those_of_the_published_files():
    """As naoto0804/pytorch-AdaIN's net.py and torchvision's vgg19().features number them."""
    assert list(vgg19.layouts()["pytorch-AdaIN"])[::2] == [f"{i}.weight" for i in (0, 2, 5, 9, 12, 16, 19, 22, 25, 29)]
    expected = [f"features.{i}.weight" for i in (0, 2, 5, 7, 10, 12, 14, 16, 19)]
    assert list(vgg19.layouts()["torchvision"])[::2] == expected
    assert list(vgg19.decoder_shapes())[::2] == [f"{i}.weight" for i in (1, 5, 8, 11, 14, 18, 21, 25, 28)]


def test_layouts(torchvision, tmp_path):
    np.savez(tmp_path / "tv.npz", **torchvision)
    save_file(drawn(vgg19.layouts()["pytorch-AdaIN"]), tmp_path / "an.safetensors")
    layout, params = vgg19.load_encoder(tmp_path / "tv.npz")
    assert layout == "torchvision"
    np.testing.assert_array_equal(params["conv3.kernel"][0, 2], torchvision["features.7.weight"][:, :, 0, 2].T)
    layout, params = vgg19.load_encoder(tmp_path / "an.safetensors")
    assert layout == "pytorch-AdaIN" and params["preprocess.kernel"].shape == (1, 1, 3, 3)


def test_preprocessing(torchvision):
    """Of red, green and blue in [0, 1], as each library does it by itself."""
    pixel = np.array([0.2, 0.5, 0.9], np.float32)

    def through(params):
        return pixel @ params["preprocess.kernel"][0, 0] + params["preprocess.bias"]

    expected = (pixel - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    np.testing.assert_allclose(through(vgg19.from_torchvision(torchvision)), expected, rtol=1e-5)
    expected = 255 * pixel[::-1] - [103.939, 116.779, 123.68]
    np.testing.assert_allclose(through(vgg19.from_keras(as_keras(torchvision))), expected, rtol=1e-5)


@pytest.mark.parametrize("form", ["old", "nested", "whole model"])
def test_keras(torchvision, tmp_path, form):
    h5py = pytest.importorskip("h5py")
    path = tmp_path / "vgg19.h5"
    with h5py.File(path, "w") as file:
        root = file.create_group("model_weights") if form == "whole model" else file
        for name, (kernel, bias) in as_keras(torchvision).items():
            names = (f"{name}_W_1:0", f"{name}_b_1:0") if form == "old" else (f"{name}/kernel:0", f"{name}/bias:0")
            for array_name, array in zip(names, (kernel, bias), strict=True):
                root.create_group(name) if name not in root else None
                root[name].create_dataset(array_name, data=array)
    layout, params = vgg19.load_encoder(path)
    assert layout == "Keras"
    for name, x in convolutions(vgg19.from_torchvision(torchvision)).items():
        np.testing.assert_array_equal(params[name], x)
    with h5py.File(path, "a") as file:
        del (file["model_weights"] if form == "whole model" else file)["block3_conv4"]
    with pytest.raises(WeightsError, match="the layer block3_conv4 is missing; these are the weights of another"):
        vgg19.load_encoder(path)


def test_keras_without_h5py(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(WeightsError, match=r"need the package h5py.*pip install 'stylegen\[keras\]'"):
        keras_files.read_layers(tmp_path / "vgg19.h5", {})


def test_other_networks(torchvision, tmp_path):
    """VGG-16 has no fourth convolution of 256 channels."""
    del torchvision["features.16.weight"]
    np.savez(tmp_path / "vgg16.npz", **torchvision)
    with pytest.raises(WeightsError, match="the weights of another network; wanted is VGG-19 as vgg_normalised.pth"):
        vgg19.load_encoder(tmp_path / "vgg16.npz")
    np.savez(tmp_path / "other.npz", **drawn(vgg19.layouts()["torchvision"] | {"features.5.weight": (4, 4, 3, 3)}))
    with pytest.raises(WeightsError, match=r"features\.5\.weight is \(4, 4, 3, 3\); wanted \(16, 8, 3, 3\)"):
        vgg19.load_encoder(tmp_path / "other.npz")


def test_the_published_file_has_the_digits_of_its_name():
    """No more of its hash is published; torch.hub checks the same."""
    entry = weights.PUBLISHED["vgg19"]
    assert entry.filename == f"vgg19-{entry.sha256}.pth" and entry.url.endswith(entry.filename)
    assert weights.is_published("vgg19", "dcbb9e9d" + "0" * 56) and not weights.is_published("vgg19", "0" * 64)
