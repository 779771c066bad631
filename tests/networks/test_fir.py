"""StyleGAN2's filtering against sums written out, in numpy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from stylegen.convolution import spread_convolve, tracing_for
from stylegen.networks import fir

TAPS = np.array([1, 3, 3, 1]) / 8


def filtered(x, before, after, gain=1.0):
    """[H, W] padded by zeros and correlated with the filter, by its definition."""
    kernel = np.outer(TAPS, TAPS) * gain**2
    x = np.pad(x, ((before, after), (before, after)))
    h, w = (size - 3 for size in x.shape)
    return np.array([[(x[i : i + 4, j : j + 4] * kernel).sum() for j in range(w)] for i in range(h)])


def spread(x):
    """[H, W] with a zero behind every pixel."""
    out = np.zeros((2 * x.shape[0], 2 * x.shape[1]))
    out[::2, ::2] = x
    return out


def correlated(x, kernel):
    """[H, W, C] with [k, k, C, D], without padding."""
    k = kernel.shape[0]
    h, w = (size - k + 1 for size in x.shape[:2])
    return np.array(
        [[np.tensordot(x[i : i + k, j : j + k], kernel, 3) for j in range(w)] for i in range(h)], dtype=np.float64
    )


def by_channel(function, x):
    """A function of [H, W] on every image and channel of [N, H, W, C]."""
    return np.stack([np.stack([function(x[n, :, :, c]) for c in range(x.shape[-1])], -1) for n in range(len(x))])


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).standard_normal((2, 4, 6, 3), np.float32)


@pytest.fixture(scope="module")
def weight():
    return np.random.default_rng(1).standard_normal((3, 3, 3, 5), np.float32)


@pytest.fixture(autouse=True, params=["cpu", "gpu"])
def platform(request):
    """Everything in the forms of both kinds of platforms."""
    with tracing_for(request.param):
        yield


@pytest.mark.parametrize(
    "operation",
    [lambda x: fir.smooth(x, 1, gain=2), lambda x: fir.smooth(x, 2), fir.upsample] + [fir.downsample],
)
def test_derivatives_are_those_of_the_matrix(images, operation):
    """The operation is linear: its matrix gives its gradient, and that one's gradient, which R1 needs."""
    shape = operation(images).shape
    columns = np.eye(images[0].size, dtype=np.float32).reshape(-1, *images.shape[1:])
    matrix = np.stack([np.ravel(operation(column[None])) for column in columns], -1)
    flat = images.reshape(2, -1)
    outputs = np.random.default_rng(2).standard_normal(shape).astype(np.float32).reshape(2, -1)

    def first(x):
        return jnp.sum(jnp.square(operation(x)) * outputs.reshape(shape))

    def second(x):
        return jnp.sum(jax.grad(first)(x) ** 2)

    gradient = (2 * (flat @ matrix.T) * outputs) @ matrix
    np.testing.assert_allclose(np.reshape(jax.grad(first)(images), (2, -1)), gradient, rtol=1e-3, atol=1e-4)
    twice = 2 * ((2 * (gradient @ matrix.T) * outputs) @ matrix)
    np.testing.assert_allclose(np.reshape(jax.grad(second)(images), (2, -1)), twice, rtol=1e-3, atol=1e-3)


def test_smooth(images):
    np.testing.assert_allclose(
        fir.smooth(images, 2, gain=2.0), by_channel(lambda x: filtered(x, 2, 2, 2.0), images), atol=1e-5
    )


def test_upsample(images):
    expected = by_channel(lambda x: filtered(spread(x), 2, 1, 2.0), images)
    np.testing.assert_allclose(fir.upsample(images), expected, atol=1e-5)


def test_downsample(images):
    expected = by_channel(lambda x: filtered(x, 1, 1)[::2, ::2], images)
    np.testing.assert_allclose(fir.downsample(images), expected, atol=1e-5)


def test_filters_keep_the_mean_color(images):
    flat = jnp.ones((1, 8, 8, 1))
    for function in (fir.upsample, fir.downsample):
        inner = np.asarray(function(flat))[:, 1:-1, 1:-1]
        np.testing.assert_allclose(inner, 1, atol=1e-6)


def test_upsample_conv(images, weight):
    """A zero behind every pixel; the convolution wherever it meets the image; the filter, with a border of one."""
    wide = [np.stack([spread(image[:, :, c]) for c in range(3)], -1)[:-1, :-1] for image in images]
    convolved = np.stack([correlated(np.pad(x, ((2, 2), (2, 2), (0, 0))), weight) for x in wide])
    assert convolved.shape == (2, 9, 13, 5)
    np.testing.assert_allclose(spread_convolve(images, weight), convolved, atol=1e-4)
    expected = by_channel(lambda x: filtered(x, 1, 1, 2.0), convolved)
    np.testing.assert_allclose(fir.upsample_conv(images, weight), expected, atol=1e-4)


def test_conv_downsample(images, weight):
    smooth = by_channel(lambda x: filtered(x, 2, 2), images)
    expected = np.stack([correlated(x, weight)[::2, ::2] for x in smooth])
    assert expected.shape == (2, 2, 3, 5)
    np.testing.assert_allclose(fir.conv_downsample(images, weight), expected, atol=1e-4)


def test_downsample_conv(images, weight):
    small = weight[:1, :1]
    expected = by_channel(lambda x: filtered(x, 1, 1)[::2, ::2], images) @ small[0, 0]
    np.testing.assert_allclose(fir.downsample_conv(images, small), expected, atol=1e-4)


def test_other_devices_have_the_form_with_zeros_between(images, weight, monkeypatch):
    ours = spread_convolve(images, weight)
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    np.testing.assert_allclose(spread_convolve(images, weight), ours, atol=1e-5)


def test_the_second_derivative_of_an_enlargement_is_that_of_the_plain_form(images, weight, monkeypatch):
    """What path-length regularization takes: the gradient of a gradient."""

    def twice(x, weight):
        def length(x):
            return jnp.sum(jnp.sin(fir.upsample_conv(x, weight)))

        return jnp.sum(jnp.square(jax.grad(length)(x)))

    ours = jax.grad(twice, (0, 1))(images, weight)
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    for a, b in zip(ours, jax.grad(twice, (0, 1))(images, weight), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-3)


def test_bfloat16_stays(images, weight):
    x = jnp.asarray(images, jnp.bfloat16)
    for result in (
        fir.upsample(x),
        fir.downsample(x),
        fir.upsample_conv(x, weight),
        fir.conv_downsample(x, weight),
    ):
        assert result.dtype == jnp.bfloat16
