"""StyleGAN2's generator block: modulation and demodulation by their definition, and which style goes where."""

import jax.numpy as jnp
import numpy as np
import pytest

from stylegen import ops
from stylegen.config import Config, DataConfig, DiscriminatorConfig, GeneratorConfig, ScheduleConfig
from stylegen.networks import fir
from stylegen.networks.build import build_networks
from stylegen.networks.layers import Initializer, num_noise
from stylegen.networks.stylegan2 import ModulatedConv, NoisyActivation, demodulation
from stylegen.networks.trees import by_path, count_parameters
from stylegen.training.state import abstract_state, init_state
from tests.support.configs import tiny_config
from tests.support.states import shaken

CONFIG = tiny_config(16, generator={"block": "demod", "z_dim": 6, "w_dim": 6})


@pytest.fixture(scope="module")
def inputs():
    rng = np.random.default_rng(0)
    return rng.standard_normal((3, 5, 5, 4), np.float32), rng.standard_normal((3, 6), np.float32)


def grouped(layer, x, w):
    """The definition: a weight of each image's own, scaled and brought to unit length (StyleGAN2, Eq. 1 and 3)."""
    affine = layer.affine.weight[...] / np.sqrt(w.shape[1])
    results = []
    for image, style in zip(x, np.asarray(w @ affine) + 1 + np.asarray(layer.affine.bias[...]), strict=True):
        weight = np.asarray(layer.weight[...]) * layer.scale * style[:, None]
        if layer.bias is None:
            weight = weight / np.sqrt(np.square(weight).sum((0, 1, 2)) + 1e-8)
        results.append(ops.conv(image[None], jnp.asarray(weight))[0])
    return np.stack(results)


@pytest.mark.parametrize("demodulate", [True, False])
def test_scaling_input_and_output_is_scaling_the_weight(inputs, demodulate):
    x, w = inputs
    layer = ModulatedConv(4, 7, w_dim=6, demodulate=demodulate, dtype=jnp.float32, init=Initializer(0))
    layer.affine.bias[...] = jnp.linspace(-1, 1, 4)
    np.testing.assert_allclose(layer(x, w), grouped(layer, x, w), rtol=1e-4, atol=1e-5)


def test_only_torgb_has_a_bias_of_its_own(inputs):
    x, w = inputs
    layer = ModulatedConv(4, 3, 1, w_dim=6, demodulate=False, dtype=jnp.float32, init=Initializer(0))
    before = np.asarray(layer(x, w))
    layer.bias[...] = jnp.arange(3.0)
    np.testing.assert_allclose(
        np.asarray(layer(x, w)) - before, np.broadcast_to(np.arange(3.0), before.shape), atol=1e-6
    )
    assert ModulatedConv(4, 3, w_dim=6, dtype=jnp.float32, init=Initializer(0)).bias is None


def test_demodulation_takes_the_size_of_a_style_away():
    """Inputs of unit variance give outputs of unit variance, whatever the styles (StyleGAN2, Sec. 2.2)."""
    rng = np.random.default_rng(1)
    style = rng.uniform(0.1, 3, (2, 16)).astype(np.float32)
    weight = rng.standard_normal((3, 3, 16, 8), np.float32)
    factor = demodulation(weight, style)
    np.testing.assert_allclose(demodulation(weight, 10 * style), factor / 10, rtol=1e-5)
    x = rng.standard_normal((2, 64, 64, 16), np.float32)
    y = np.asarray(ops.conv(x * style[:, None, None], jnp.asarray(weight)) * factor[:, None, None])
    np.testing.assert_allclose(y[:, 1:-1, 1:-1].std((1, 2)), 1, rtol=0.1)


def test_noise_has_one_strength_and_comes_before_the_bias():
    layer = NoisyActivation(3, 4, init=Initializer(0))
    assert layer.noise.noise_strength[...].shape == ()
    layer.noise.noise_strength[...] = jnp.float32(0.5)
    layer.bias[...] = jnp.array([-1.0, 0.0, 2.0])
    rng = np.random.default_rng(2)
    x, noise = rng.standard_normal((2, 4, 4, 3), np.float32), rng.standard_normal((2, 4, 4, 1), np.float32)
    y = x + 0.5 * noise + np.array([-1, 0, 2], np.float32)
    np.testing.assert_allclose(layer(x, noise), np.where(y < 0, 0.2 * y, y) * np.sqrt(2), rtol=1e-5, atol=1e-6)


@pytest.fixture(scope="module")
def network():
    state, rng = init_state(CONFIG, seed=2), np.random.default_rng(3)
    return build_networks(CONFIG).generator(shaken(state.g, rng), state.noise_const)


def test_which_layer_takes_which_style(network):
    """Convolutions 4: 0; 8: 1, 2; 16: 3, 4. ToRGB 4: 1; 8: 3; 16: 5. ToRGB and the layer after it share a style."""
    synthesis = network.synthesis
    ws = np.random.default_rng(4).standard_normal((2, 6, 6), np.float32)
    x, image = None, 0
    for r, first, second, torgb in ((4, None, 0, 1), (8, 1, 2, 3), (16, 3, 4, 5)):
        block = synthesis.blocks[f"b{r}"]
        if first is None:
            x = jnp.repeat(block.const[...], 2, axis=0)
        else:
            x = block.act0(block.conv0(x, ws[:, first], fir.upsample_conv), block.act0.noise.noise_const[...])
            image = fir.upsample(image)
        x = block.act1(block.conv1(x, ws[:, second]), block.act1.noise.noise_const[...])
        image = image + block.torgb(x, ws[:, torgb])
    np.testing.assert_allclose(synthesis(ws, resolution=16), image, rtol=1e-4, atol=1e-5)


def test_a_lower_resolution_is_the_sum_so_far(network):
    """Stopping early is what the sum of images gives for nothing; alpha weighs the newest part of the sum."""
    ws = np.random.default_rng(4).standard_normal((2, 6, 6), np.float32)
    small = network.synthesis(ws, resolution=8)
    large, old = (np.asarray(network.synthesis(ws, resolution=16, alpha=alpha)) for alpha in (1.0, 0.0))
    np.testing.assert_allclose(old, fir.upsample(small), atol=1e-5)
    half = network.synthesis(ws, resolution=16, alpha=jnp.float32(0.5))
    np.testing.assert_allclose(half, (old + large) / 2, atol=1e-5)


def test_noise_is_laid_out_as_in_the_other_block(network):
    """The first 16 numbers are those of a layer that is not there."""
    ws, rng = np.zeros((1, 6, 6), np.float32), np.random.default_rng(5)
    noise = rng.standard_normal((1, num_noise(16)), np.float32)
    image = np.asarray(network.synthesis(ws, resolution=16, noise=noise))
    other = noise.copy()
    other[:, :16] = 0
    np.testing.assert_array_equal(network.synthesis(ws, resolution=16, noise=other), image)
    other[:, 16] += 1
    assert not np.allclose(network.synthesis(ws, resolution=16, noise=other), image)


def test_labels_are_normalized_apart_from_z():
    config = tiny_config(num_classes=3, generator={"block": "demod", "z_dim": 5, "w_dim": 6, "mapping_layers": 1})
    state = init_state(config, seed=0)
    mapping = build_networks(config).generator(state.g, state.noise_const).mapping
    z, c = np.random.default_rng(0).standard_normal((3, 5), np.float32), np.eye(3, dtype=np.float32)
    embedded = np.asarray(mapping.label_embedding(c))
    x = np.concatenate([v / np.sqrt(np.square(v).mean(1, keepdims=True) + 1e-8) for v in (z, embedded)], 1)
    np.testing.assert_allclose(mapping(100 * z, c), mapping(z, c), rtol=1e-4, atol=1e-6)
    dense = mapping.dense["dense0"]
    y = x @ np.asarray(dense.weight[...]) * 0.01 / np.sqrt(11)
    np.testing.assert_allclose(mapping(z, c), np.where(y < 0, 0.2 * y, y) * np.sqrt(2), rtol=1e-4, atol=1e-6)


def test_what_starts_as_what():
    params = by_path(init_state(CONFIG, seed=0).g)
    for name, value in params.items():
        if name.endswith(("bias", "noise_strength")):
            assert not np.asarray(value).any(), name  # the scale of a new network is 1 + 0
        else:
            multiplier = 100 if name.startswith("mapping.") else 1
            assert 0.5 * multiplier < np.asarray(value).std() < 2 * multiplier, name


@pytest.mark.parametrize(("resolution", "g", "d"), [(1024, 30_370_060, 29_012_513)])
def test_as_many_parameters_as_published(resolution, g, d):
    """Config F: what the public implementation prints of itself."""
    config = Config(
        resolution=resolution,
        data=DataConfig(source="images"),
        generator=GeneratorConfig(block="demod", channel_base=32_768),
        discriminator=DiscriminatorConfig(channel_base=32_768),
        schedule=ScheduleConfig(start_resolution=resolution),
    )
    state = abstract_state(config)
    assert (count_parameters(state.g), count_parameters(state.d)) == (g, d)
