"""StyleGAN2's discriminator: the shortcut, where images enter, and classes."""

import jax.numpy as jnp
import numpy as np
import pytest

from stylegen import ops
from stylegen.networks import fir
from stylegen.networks.build import build_networks
from stylegen.networks.layers import Initializer
from stylegen.networks.stylegan2 import ResidualBlock
from stylegen.networks.trees import by_path
from stylegen.training.state import abstract_state, init_state
from tests.support.configs import tiny_config
from tests.support.states import shaken


def make_config(classes=0, resolution=16):
    return tiny_config(
        resolution,
        num_classes=classes,
        generator={"block": "demod", "z_dim": 6, "w_dim": 6},
        discriminator={"channel_base": 64, "channel_max": 8},
    )


def test_a_block_is_two_convolutions_beside_a_shortcut():
    block = ResidualBlock(4, 6, 8, make_config(), init=Initializer(0))
    block.conv1.bias[...] = jnp.linspace(-1, 1, 6)
    x = np.random.default_rng(0).standard_normal((2, 8, 8, 4), np.float32)

    def active(y):
        return np.where(y < 0, 0.2 * y, y) * np.float32(np.sqrt(2))

    def weight(layer):
        return np.asarray(layer.weight[...]) / np.sqrt(np.prod(layer.weight[...].shape[:3]))

    y = active(np.asarray(ops.conv(x, weight(block.conv0))))
    y = active(np.asarray(fir.conv_downsample(y, weight(block.conv1))) + np.linspace(-1, 1, 6, dtype=np.float32))
    short = np.asarray(fir.downsample(x)) @ weight(block.skip)[0, 0]
    np.testing.assert_allclose(block(x), (y + short) / np.sqrt(2), rtol=1e-4, atol=1e-5)


def test_images_enter_at_full_resolution_alone():
    state = abstract_state(make_config())
    assert [name for name in by_path(state.d) if "fromrgb" in name] == [
        "blocks.b16.fromrgb.bias",
        "blocks.b16.fromrgb.weight",
    ]
    network = build_networks(make_config()).discriminator(init_state(make_config()).d)
    with pytest.raises(ValueError, match="takes images of 16 pixels"):
        network(jnp.zeros((2, 8, 8, 3)))


def test_the_smallest_network_is_the_last_block_alone():
    config = make_config(resolution=4)
    network = build_networks(config).discriminator(shaken(init_state(config).d, np.random.default_rng(1)))
    assert network(jnp.ones((2, 4, 4, 3))).shape == (2,)


def test_alpha_is_without_meaning():
    network = build_networks(make_config()).discriminator(shaken(init_state(make_config()).d, np.random.default_rng(1)))
    images = np.random.default_rng(0).standard_normal((4, 16, 16, 3), np.float32)
    np.testing.assert_array_equal(network(images, alpha=jnp.float32(0.3)), network(images))


def test_classes_are_directions_that_features_are_measured_along():
    config = make_config(classes=3)
    network = build_networks(config).discriminator(shaken(init_state(config).d, np.random.default_rng(1)))
    images = np.random.default_rng(0).standard_normal((4, 16, 16, 3), np.float32)
    c = np.eye(3, dtype=np.float32)
    directions = np.asarray(network.label_mapping(None, c))
    assert directions.shape == (3, 8) and network.label_mapping.num_layers == 8
    scores = np.stack([np.asarray(network(images, np.repeat(c[i : i + 1], 4, 0))) for i in range(3)], 1)
    features = ops.scaled_leaky_relu(network.blocks["b16"].fromrgb(images))
    for r in (16, 8, 4):
        features = network.blocks[f"b{r}"](features)
    np.testing.assert_allclose(scores, features @ directions.T / np.sqrt(8), rtol=1e-4, atol=1e-5)
    mixed = np.asarray(network(images, c[[0, 1, 2, 0]]))
    np.testing.assert_allclose(mixed, scores[np.arange(4), [0, 1, 2, 0]], rtol=1e-4, atol=1e-5)
    assert np.abs(np.diff(scores, axis=1)).min() > 0
    with pytest.raises(ValueError, match="needs labels"):
        network(images)
