"""The networks against plain loops, the losses against their definitions."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from stylegen import ops
from stylegen.style_transfer import losses, networks


def convolved(x, kernel, bias):
    """A 3x3 convolution with reflection by shifted sums, in numpy."""
    padded = np.pad(x, ((1, 1), (1, 1), (0, 0)), mode="reflect")
    h, w = x.shape[:2]
    return sum(padded[i : i + h, j : j + w] @ kernel[i, j] for i in range(3) for j in range(3)) + bias


def pooled(x):
    h, w = x.shape[:2]
    return np.array([[x[i : i + 2, j : j + 2].max(axis=(0, 1)) for j in range(0, w, 2)] for i in range(0, h, 2)])


def test_encoder_by_hand(model, make_picture):
    image = make_picture(0, 19, 22) / 255
    x = image @ np.asarray(model.encoder["preprocess.kernel"])[0, 0] + model.encoder["preprocess.bias"]
    expected, layer = [], 0
    for i, stage in enumerate(model.stages):
        x = pooled(x) if i else x
        for j in range(len(stage)):
            x = np.maximum(convolved(x, model.encoder[f"conv{layer}.kernel"], model.encoder[f"conv{layer}.bias"]), 0)
            layer += 1
            expected += [x] if j == 0 else []
    maps = networks.encode(model.encoder, model.stages, jnp.asarray(image, jnp.float32)[None])
    assert [x.shape[1:3] for x in maps] == [(19, 22), (10, 11), (5, 6), (3, 3)]
    for a, b in zip(maps, expected, strict=True):
        np.testing.assert_allclose(a[0], b, atol=1e-5)


def test_decoder_by_hand(model):
    features = np.random.default_rng(1).standard_normal((3, 4, 10)).astype(np.float32)
    x = features
    for layer in range(7):
        if layer in (1, 3, 5):
            x = x.repeat(2, 0).repeat(2, 1)
        x = convolved(x, model.decoder[f"conv{layer}.kernel"], model.decoder[f"conv{layer}.bias"])
        x = np.maximum(x, 0) if layer < 6 else x
    decoded = networks.decode(model.decoder, model.stages, jnp.asarray(features)[None])
    assert decoded.shape == (1, 24, 32, 3) and decoded.min() < 0.5 < decoded.max()
    np.testing.assert_allclose(decoded[0], x, atol=1e-5)


def test_channels_of_vgg():
    assert [b for _, b in networks.encoder_channels(networks.VGG19)] == [64, 64, 128, 128, 256, 256, 256, 256, 512]
    expected = [(512, 256), (256, 256), (256, 256), (256, 256), (256, 128), (128, 128), (128, 64), (64, 64), (64, 3)]
    assert networks.decoder_channels(networks.VGG19) == expected


def numbers(*shape, seed=0):
    return np.random.default_rng(seed).gamma(2.0, 1.0, shape).astype(np.float32)


@pytest.mark.parametrize("variance", losses.VARIANCES)
def test_statistics_are_those_of_the_source(variance):
    """Six features: n or n - 1, and epsilon or none, are far apart."""
    x = numbers(2, 2, 3, 4) * 0.01
    mean, std = losses.statistics(x, variance)
    flat = x.reshape(2, 6, 4)
    np.testing.assert_allclose(mean, flat.mean(1), rtol=1e-5)
    epsilon = 1e-5 if variance == "unbiased" else 0
    ddof = 1 if variance == "unbiased" else 0
    np.testing.assert_allclose(std, np.sqrt(flat.var(1, ddof=ddof) + epsilon), rtol=1e-3)


@pytest.mark.parametrize("variance", losses.VARIANCES)
def test_adain(variance):
    x, mean, std = numbers(2, 2, 3, 4) * 0.01, numbers(2, 4, seed=1), numbers(2, 4, seed=2)
    flat = x.reshape(2, 6, 4)
    spread = np.sqrt(flat.var(1, ddof=variance == "unbiased", keepdims=True) + 1e-5)
    expected = (flat - flat.mean(1, keepdims=True)) / spread * std[:, None] + mean[:, None]
    np.testing.assert_allclose(losses.adain(x, mean, std, variance).reshape(2, 6, 4), expected, rtol=2e-4)


def test_adain_is_the_operator_of_the_generator():
    x, mean, std = numbers(1, 4, 4, 3), numbers(1, 3, seed=1), numbers(1, 3, seed=2)
    np.testing.assert_array_equal(losses.adain(x, mean, std, "biased"), ops.adain(x, mean, std, 1e-5))


def test_losses_by_hand():
    a, b = numbers(2, 3, 3, 4), numbers(2, 3, 3, 4, seed=5)
    np.testing.assert_allclose(losses.content_loss(a, b), ((a - b) ** 2).mean((1, 2, 3)), rtol=1e-5)
    styles = [(numbers(2, 4, seed=3), numbers(2, 4, seed=4))] * 2
    expected = np.zeros(2)
    for x, (mean, std) in zip((a, b), styles, strict=True):
        expected += ((x.mean((1, 2)) - mean) ** 2).mean(1) + ((x.std((1, 2)) - std) ** 2).mean(1)
    np.testing.assert_allclose(losses.style_loss([a, b], styles, "biased"), expected, rtol=1e-4)


def test_style_loss_has_a_gradient_where_a_channel_is_dead():
    x = jnp.zeros((1, 4, 4, 2))
    gradient = jax.grad(lambda x: losses.style_loss([x], [(jnp.ones((1, 2)), jnp.ones((1, 2)))], "biased")[0])(x)
    assert np.isfinite(gradient).all()
