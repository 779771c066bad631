"""A transposed network on transposed data gives transposed images, scores and steps."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from stylegen.networks.build import build_networks
from stylegen.networks.layers import Initializer, num_noise
from stylegen.networks.structure import split_generator
from stylegen.training import augment
from stylegen.training import step as train_step
from stylegen.training.state import abstract_state, init_state
from stylegen.training.step import StepConfig
from tests.support.configs import tiny_config
from tests.support.marks import slow_but
from tests.support.states import shaken

WIDE, HIGH = (4, 6), (6, 4)


def config_of(const, block="adain", **changes):
    full = 16
    return tiny_config(
        full,
        const_shape=const,
        data={"source": "images", "batch": 4},
        generator={"block": block, "z_dim": 8, "w_dim": 8, "channel_max": 4, **changes},
        discriminator={"channel_max": 4},
        schedule={"start_resolution": full if block == "demod" else 8},
    )


def transposed(params, channels):
    """The weights of a network whose images are transposed."""

    def turn(path, leaf):
        name = jax.tree_util.keystr(path)
        leaf = np.asarray(leaf)
        if leaf.ndim == 4:  # kernels [h, w, in, out], and the constant and noise [1, h, w, c]
            return leaf.transpose(0, 2, 1, 3) if "const" in name else leaf.transpose(1, 0, 2, 3)
        if "dense0" in name and "b4" in name and leaf.ndim == 2:  # of the discriminator: rows are pixels by channels
            return leaf.reshape(*WIDE, channels, -1).transpose(1, 0, 2, 3).reshape(leaf.shape)
        return leaf

    return jax.tree_util.tree_map_with_path(turn, params)


def turned(images):
    return np.asarray(images).swapaxes(1, 2)


def state_of(block, seed=0, **changes):
    config = config_of(WIDE, block, **changes)
    state = init_state(config, seed=seed)
    g, d = shaken((state.g, state.d), np.random.default_rng(1), 0.1)
    return config, dataclasses.replace(state, g=g, g_ema=g, d=d)


@pytest.mark.parametrize("block", slow_but(["adain", "demod"], ["adain"]))
def test_images_and_scores(block):
    config, state = state_of(block)
    other = config_of(HIGH, block)
    networks, others = build_networks(config), build_networks(other)
    ws = np.random.default_rng(2).standard_normal((3, 6, 8), np.float32)
    g, d = transposed(state.g, 4), transposed(state.d, 4)
    noise = transposed(state.noise_const, 4)
    for resolution, alpha in [(16, 1.0)] if block == "demod" else [(16, 1.0), (16, 0.3), (8, 1.0)]:
        image = networks.generator(state.g, state.noise_const).synthesis(ws, resolution=resolution, alpha=alpha)
        image_turned = others.generator(g, noise).synthesis(ws, resolution=resolution, alpha=alpha)
        assert image.shape == (3, resolution, resolution * 6 // 4, 3)
        np.testing.assert_allclose(turned(image), image_turned, rtol=1e-4, atol=1e-4)
        assert np.std(image) > 1e-3
        scores = networks.discriminator(state.d)(image, alpha=alpha)
        turned_scores = others.discriminator(d)(turned(image), alpha=alpha)
        np.testing.assert_allclose(scores, turned_scores, rtol=1e-4, atol=1e-4)
        assert np.std(scores) > 1e-4


def test_images_of_another_shape_are_refused():
    config, state = state_of("adain")
    d = build_networks(config).discriminator(state.d)
    with pytest.raises(ValueError, match="this network takes images of 6x4, 12x8, 24x16 pixels"):
        d(np.zeros((2, 24, 16, 3), np.float32))
    with pytest.raises(ValueError, match="this network takes images"):
        d(np.zeros((2, 16, 16, 3), np.float32))


def test_a_training_step():
    """Without noise, which would have to be turned too: losses, penalties and norms of gradients are the same."""
    config, state = state_of("adain", use_noise=False)
    other = config_of(HIGH, "adain", use_noise=False)
    turned_state = dataclasses.replace(
        init_state(other, seed=0),  # for Adam's moments, which are zeros of the weights' shapes
        g=transposed(state.g, 4),
        g_ema=transposed(state.g_ema, 4),
        d=transposed(state.d, 4),
        noise_const=transposed(state.noise_const, 4),
    )
    images = np.random.default_rng(3).integers(0, 256, (4, 16, 24, 3), np.uint8)
    arguments = np.zeros(4, np.int32), jnp.float32(0.5), jnp.float32(0.001)
    results = []
    for c, before, batch in ((config, state, images), (other, turned_state, turned(images))):
        static = StepConfig(c, build_networks(c))
        _, metrics = jax.jit(functools.partial(train_step.train_step, static=static))(before, batch, *arguments)
        results.append(jax.device_get(metrics))
    assert results[0].keys() == results[1].keys() and "Loss/r1_penalty" in results[0]
    for name, value in results[0].items():
        np.testing.assert_allclose(value, results[1][name], rtol=2e-3, err_msg=name)


@pytest.mark.parametrize("block", ["adain", "demod"])
def test_a_step_of_a_large_constant_can_be_traced(block):
    config = config_of((15, 32), block)
    state = abstract_state(config)
    images = jax.ShapeDtypeStruct((4, 60, 128, 3), np.uint8)
    labels, scalar = jax.ShapeDtypeStruct((4,), np.int32), jax.ShapeDtypeStruct((), np.float32)
    step = functools.partial(train_step.train_step, static=StepConfig(config, build_networks(config)))
    after, _ = jax.eval_shape(step, state, images, labels, scalar, scalar)
    assert jax.tree.map(lambda leaf: leaf.shape, after) == jax.tree.map(lambda leaf: leaf.shape, state)


def test_noise_inputs():
    assert num_noise(8, WIDE) == 2 * 4 * 6 + 2 * 8 * 12
    _, _, noise = split_generator(config_of(WIDE), Initializer(0))
    shapes = {leaf.shape for leaf in jax.tree.leaves(noise)}
    assert shapes == {(1, 4, 6, 1), (1, 8, 12, 1), (1, 16, 24, 1)}


@pytest.mark.parametrize("group", ["blit", "geometric", "cutout"])
def test_augmentation_keeps_the_shape(group):
    groups = {name: name == group for name in ("blit", "geometric", "color", "noise", "cutout")}
    config = dataclasses.replace(config_of(WIDE).augment, mode="fixed", p=1.0, **groups)
    images = np.random.default_rng(0).standard_normal((16, 8, 12, 3)).astype(np.float32)
    warped = np.asarray(augment.augment(jnp.asarray(images), 1.0, jax.random.key(0), config))
    assert warped.shape == images.shape and np.isfinite(warped).all()
    assert not np.allclose(warped, images)
    np.testing.assert_array_equal(augment.augment(jnp.asarray(images), 0.0, jax.random.key(0), config), images)
    if group == "blit":  # mirroring, half turns and whole pixels move values, and make none
        values = np.sort(images, axis=None)
        distance = np.abs(values[np.searchsorted(values, warped.ravel()).clip(1, values.size - 1) - 1] - warped.ravel())
        upper = np.abs(values[np.searchsorted(values, warped.ravel()).clip(0, values.size - 1)] - warped.ravel())
        assert np.minimum(distance, upper).max() < 1e-3
