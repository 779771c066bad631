"""Layers against numpy: what is scaled at run time, what starts where, and in which order things happen."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from stylegen.networks.layers import (
    AdaINStyle,
    EqualConv,
    EqualDense,
    Initializer,
    MinibatchStd,
    NoiseConst,
    NoiseInjection,
    StyledActivation,
)


def random(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def randomized(module):
    """The module with random numbers in all its parameters, so that none can be left out unseen."""
    rng = np.random.default_rng(7)
    for _, parameter in sorted(nnx.to_flat_state(nnx.state(module, nnx.Param)), key=lambda item: str(item[0])):
        parameter[...] = jnp.asarray(rng.standard_normal(parameter.shape, dtype=np.float32))
    return module


def instance_norm(x):
    return (x - x.mean((1, 2), keepdims=True)) / np.sqrt(x.var((1, 2), keepdims=True) + 1e-8)


@pytest.mark.parametrize("gain, lr_multiplier", [(np.sqrt(2), 0.01), (1.0, 1.0)])
def test_dense_scales_weight_and_bias_at_run_time(gain, lr_multiplier):
    layer = randomized(EqualDense(5, 3, gain=gain, lr_multiplier=lr_multiplier, init=Initializer(0)))
    x = random(2, 5)
    weight, bias = np.asarray(layer.weight[...]), np.asarray(layer.bias[...])
    expected = x @ weight * gain / np.sqrt(5) * lr_multiplier + bias * lr_multiplier
    np.testing.assert_allclose(layer(x), expected, rtol=1e-5, atol=1e-7)


def test_dense_has_the_gain_of_a_leaky_relu_unless_told():
    layer = EqualDense(8, 3, use_bias=False, init=Initializer(0))
    assert layer.bias is None
    np.testing.assert_allclose(layer(np.eye(8, dtype=np.float32)), np.asarray(layer.weight[...]) / 2, rtol=1e-6)


@pytest.mark.parametrize("lr_multiplier", [1.0, 0.01])
def test_dense_weights_start_as_large_as_they_are_scaled_down(lr_multiplier):
    layer = EqualDense(100, 100, lr_multiplier=lr_multiplier, init=Initializer(0))
    assert np.std(layer.weight[...]) * lr_multiplier == pytest.approx(1, rel=0.03)
    np.testing.assert_array_equal(layer.bias[...], 0)
    # So the output's size does not depend on the multiplier: sqrt(2) for inputs of size 1.
    assert np.std(layer(random(100, 100))) == pytest.approx(np.sqrt(2), rel=0.05)


@pytest.mark.parametrize("kernel, options, gain", [(3, {}, np.sqrt(2)), (1, {"gain": 1.0}, 1.0)])
def test_conv_scales_its_weight_at_run_time(kernel, options, gain):
    layer = randomized(EqualConv(3, 2, kernel, init=Initializer(0), **options))
    x = np.zeros((1, 3, 3, 3), np.float32)
    x[0, 1, 1] = random(3)
    # A point in the middle meets the kernel upside down.
    weight = np.asarray(layer.weight[...])[::-1, ::-1] * gain / np.sqrt(kernel * kernel * 3)
    expected = np.zeros((1, 3, 3, 2)) + np.asarray(layer.bias[...])
    reach = slice(1 - kernel // 2, 2 + kernel // 2)
    expected[0, reach, reach] += np.einsum("abcd,c->abd", weight, x[0, 1, 1])
    np.testing.assert_allclose(layer(x), expected, atol=1e-6)


def test_conv_starts_standard_normal_without_bias():
    layer = EqualConv(32, 32, init=Initializer(0))
    assert np.std(layer.weight[...]) == pytest.approx(1, rel=0.03)
    np.testing.assert_array_equal(layer.bias[...], 0)
    assert EqualConv(3, 2, use_bias=False, init=Initializer(0)).bias is None


@pytest.mark.parametrize(
    "layer, x",
    [
        (EqualDense(4, 3, dtype=jnp.bfloat16, init=Initializer(0)), random(2, 4)),
        (EqualConv(4, 3, dtype=jnp.bfloat16, init=Initializer(0)), random(1, 4, 4, 4)),
    ],
)
def test_layers_compute_in_bfloat16_with_float32_parameters(layer, x):
    assert {p.dtype for p in jax.tree.leaves(nnx.state(layer))} == {jnp.dtype("float32")}
    exact = layer(x)
    assert exact.dtype == jnp.bfloat16
    layer.dtype = jnp.float32
    np.testing.assert_allclose(np.asarray(exact, np.float32), layer(x), atol=0.05)


def test_noise_starts_without_effect():
    layer = NoiseInjection(3, 4, init=Initializer(0))
    x = random(2, 4, 4, 3)
    assert layer.noise_strength.shape == (3,)
    np.testing.assert_array_equal(layer(x, random(2, 4, 4, 1)), x)


def test_noise_is_scaled_per_channel():
    layer = randomized(NoiseInjection(3, 4, init=Initializer(0)))
    x, noise = random(2, 4, 4, 3), random(2, 4, 4, 1, seed=1)
    np.testing.assert_allclose(layer(x, noise), x + noise * np.asarray(layer.noise_strength[...]), atol=1e-6)
    np.testing.assert_allclose(layer(x, noise[:1]), x + noise[:1] * np.asarray(layer.noise_strength[...]), atol=1e-6)
    np.testing.assert_array_equal(layer(x, None), x)


def test_constant_noise_is_one_standard_normal_map():
    noise = np.asarray(NoiseInjection(3, 32, init=Initializer(0)).noise_const[...])
    assert noise.shape == (1, 32, 32, 1) and noise.std() == pytest.approx(1, abs=0.1)


def test_constant_noise_is_no_parameter():
    layer = NoiseInjection(3, 4, init=Initializer(0))
    assert set(nnx.state(layer, nnx.Param)) == {"noise_strength"}
    assert set(nnx.state(layer, NoiseConst)) == {"noise_const"}


def test_adain_starts_as_an_affine_of_unit_gain_without_bias():
    layer = AdaINStyle(100, 50, init=Initializer(0))
    np.testing.assert_array_equal(layer.affine.bias[...], 0)
    assert np.std(layer.affine(random(100, 100))) == pytest.approx(1, rel=0.05)
    # A zero style leaves the normalized content: the scale is 1 + s.
    scale, shift = layer(np.zeros((2, 100), np.float32))
    np.testing.assert_array_equal(scale, np.ones((2, 50)))
    np.testing.assert_array_equal(shift, np.zeros((2, 50)))


def test_adain_takes_scales_first_and_shifts_second():
    layer = randomized(AdaINStyle(5, 3, init=Initializer(0)))
    w = random(2, 5, seed=1)
    style = w @ np.asarray(layer.affine.weight[...]) / np.sqrt(5) + np.asarray(layer.affine.bias[...])
    scale, shift = layer(w)
    np.testing.assert_allclose(scale, 1 + style[:, :3], atol=1e-5)
    np.testing.assert_allclose(shift, style[:, 3:], atol=1e-5)


def test_styled_activation_is_noise_bias_leaky_relu_norm_style():
    layer = randomized(StyledActivation(5, 3, 4, dtype=jnp.float32, init=Initializer(0)))
    x, w = random(2, 4, 4, 3), random(2, 5, seed=1)
    noise = random(2, 4, 4, 1, seed=2)
    y = x + noise * np.asarray(layer.noise.noise_strength[...])
    y = y + np.asarray(layer.bias[...])
    y = instance_norm(np.where(y >= 0, y, 0.2 * y))
    style = w @ np.asarray(layer.adain.affine.weight[...]) / np.sqrt(5) + np.asarray(layer.adain.affine.bias[...])
    expected = y * (1 + style[:, None, None, :3]) + style[:, None, None, 3:]
    np.testing.assert_allclose(layer(x, w, noise), expected, atol=1e-5)


def test_styled_activation_starts_at_zero_bias_and_noise():
    layer = StyledActivation(5, 3, 4, dtype=jnp.float32, init=Initializer(0))
    np.testing.assert_array_equal(layer.bias[...], 0)
    np.testing.assert_array_equal(layer.noise.noise_strength[...], 0)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_minibatch_std_is_the_last_channel(dtype):
    x = jnp.asarray(random(4, 2, 2, 3), dtype)
    result = MinibatchStd(2)(x)
    assert result.shape == (4, 2, 2, 4) and result.dtype == dtype
    np.testing.assert_array_equal(np.asarray(result[..., :3], np.float32), np.asarray(x, np.float32))
    pairs = np.asarray(x, np.float32).reshape(2, 2, 2, 2, 3)
    expected = np.sqrt(pairs.var(1) + 1e-8).mean((1, 2, 3)).repeat(2)
    last = np.asarray(result[..., 3], np.float32)
    np.testing.assert_allclose(last, np.broadcast_to(expected[:, None, None], (4, 2, 2)), rtol=1e-2)


def test_initializer_repeats_itself_from_a_seed():
    first, second = Initializer(3), Initializer(3)
    numbers = first.normal((4, 5))
    assert numbers.dtype == jnp.float32
    np.testing.assert_array_equal(numbers, second.normal((4, 5)))
    assert not np.allclose(numbers, first.normal((4, 5)))
    assert not np.allclose(numbers, Initializer(4).normal((4, 5)))


def test_structure_alone_costs_no_numbers():
    np.testing.assert_array_equal(Initializer(None).normal((2, 3)), np.zeros((2, 3)))
    layer = nnx.eval_shape(lambda: EqualConv(10**5, 10**5, init=Initializer(None)))
    assert layer.weight.shape == (3, 3, 10**5, 10**5)
