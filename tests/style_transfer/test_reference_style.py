"""The same weights and pictures give PyTorch's numbers (tests/references/make_style.py made them)."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from stylegen.pretrained import vgg19
from stylegen.style_transfer import color, losses, networks
from tests.references import inputs
from tests.support.paths import REFERENCES

EXPECTED = np.load(REFERENCES / "style" / "torch.npz")
CONTENT = {"seed": 11, "n": 2, "height": 41, "width": 54}
STYLE = {"seed": 12, "n": 2, "height": 48, "width": 37, "roughness": 2.0}


def first(array) -> np.ndarray:
    """[N, h, w, C] in torch's order."""
    return np.asarray(array).transpose(0, 3, 1, 2)


def close(values, name):
    expected = EXPECTED[name]
    np.testing.assert_allclose(values, expected, atol=2e-5 * np.abs(expected).max(), err_msg=name)


@pytest.fixture(scope="module")
def encoder():
    return vgg19.from_pytorch_adain(inputs.tensors(vgg19.layouts()["pytorch-AdaIN"]))


@pytest.fixture(scope="module")
def decoder():
    tensors = {name: inputs.tensor(f"decoder.{name}", shape) for name, shape in vgg19.decoder_shapes().items()}
    return vgg19._renamed(tensors, vgg19._DECODER, "")


@pytest.fixture(scope="module")
def encode():
    return jax.jit(lambda params, images: networks.encode(params, networks.VGG19, images / 255))


@pytest.fixture(scope="module")
def maps(encoder, encode):
    return [encode(encoder, inputs.images(**of).astype(np.float32)) for of in (CONTENT, STYLE)]


def test_encoder(maps):
    """vgg_normalised.pth's layers: the 1x1 convolution, reflection, pools that round up; all four maps."""
    for i, features in enumerate(maps[0]):
        step = 2 ** (3 - i)
        assert first(features).shape == tuple(EXPECTED[f"relu{i + 1}_1_shape"])
        close(first(features)[:1, ::4, ::step, ::step], f"relu{i + 1}_1")


def test_torchvisions_encoder(encode):
    """Its weights with the preprocessing as a convolution."""
    params = vgg19.from_torchvision(inputs.tensors(vgg19.layouts()["torchvision"]))
    features = encode(params, inputs.images(**CONTENT).astype(np.float32))[-1]
    close(first(features)[:1, ::4], "torchvision")


@pytest.mark.parametrize(("variance", "name"), [("unbiased", "port_adain"), ("biased", "authors_adain")])
def test_adain_of_each_source(maps, variance, name):
    """42 features a picture, so that n - 1 instead of n is a difference of a hundredth."""
    content, style = maps[0][-1], maps[1][-1]
    restyled = losses.adain(content, *losses.statistics(style, variance), variance)
    close(first(restyled)[:, ::8], name)
    other = "port_adain" if name == "authors_adain" else "authors_adain"
    assert np.abs(first(restyled)[:, ::8] - EXPECTED[other]).max() > 1e-3 * np.abs(EXPECTED[other]).max()


def test_decoder_and_losses(maps, encoder, decoder, encode):
    styles = [losses.statistics(x, "unbiased") for x in maps[1]]
    target = losses.adain(maps[0][-1], *styles[-1], "unbiased")
    result = jax.jit(lambda params, x: networks.decode(params, networks.VGG19, x))(decoder, target)
    close(first(result), "decoded")
    result_maps = encode(encoder, result * 255)
    content = jnp.mean(losses.content_loss(result_maps[-1], target))
    style = jnp.mean(losses.style_loss(result_maps, styles, "unbiased"))
    np.testing.assert_allclose([content, style], EXPECTED["losses"], rtol=1e-4)


def test_coral():
    content, style = (inputs.images(**of)[0].reshape(-1, 3) / 255 for of in (CONTENT, STYLE))
    recolored = color.coral_floats(style, content[: len(style)]).T[:, ::7]  # theirs needs as many pixels in both
    np.testing.assert_allclose(recolored, EXPECTED["coral"], atol=2e-4)
