"""Losses of projection, against numpy where there is a formula."""

import jax.numpy as jnp
import numpy as np
import pytest

from stylegen.networks.layers import num_noise
from stylegen.projection import (
    loss as projection_loss,
)
from stylegen.projection.search import Weights
from tests.support.projecting import PIXELS


def test_pixels_are_compared_at_every_scale():
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((2, 3, 8, 8, 3)).astype(np.float32)
    halves = (a - b).reshape(3, 4, 2, 4, 2, 3).mean(axis=(2, 4))
    expected = (np.square(a - b).mean(axis=(1, 2, 3)) + np.square(halves).mean(axis=(1, 2, 3))) / 2
    np.testing.assert_allclose(projection_loss.pixel_loss(a, b, 2), expected, rtol=1e-5)


def test_targets_are_the_middle_of_what_rounds_to_them():
    from stylegen import ops

    levels = np.arange(256, dtype=np.uint8)
    exact = projection_loss.to_target(levels)
    np.testing.assert_array_equal(ops.to_uint8(jnp.asarray(exact)), levels)
    assert exact[0] == pytest.approx(-1, abs=0.004) and exact[-1] >= 1


def test_what_is_beyond_white_is_no_error():
    target = np.concatenate([np.full((1, 4, 4, 1), 255), np.full((1, 4, 4, 1), 128)]).astype(np.uint8)
    goal = projection_loss.make_goal(None, jnp.asarray(projection_loss.to_target(target)))
    loss = projection_loss.image_loss(None, goal, jnp.full((2, 4, 4, 1), 1.5), PIXELS)
    assert loss[0] == 0 and loss[1] > 2


def test_noise_is_penalized_for_order_and_not_for_being_noise():
    rng = np.random.default_rng(0)
    white = rng.standard_normal((2, num_noise(32))).astype(np.float32)
    maps = projection_loss.noise_maps(jnp.asarray(white), 32)
    assert [m.shape for m in maps] == [(2, 2, r, r) for r in (4, 8, 16, 32)]
    # One map of 8 pixels by the formula of the paper: no scale below it.
    x = np.asarray(maps[1])[0, 0]
    expected = np.mean(x * np.roll(x, 1, 0)) ** 2 + np.mean(x * np.roll(x, 1, 1)) ** 2
    only = np.zeros_like(white)
    start = num_noise(4)
    only[0, start : start + 64] = white[0, start : start + 64]
    assert projection_loss.noise_penalty(jnp.asarray(only), 32)[0] == pytest.approx(expected, rel=1e-4)
    ordered = white.copy()
    start = num_noise(16)
    ordered[0, start : start + 32 * 32] = np.repeat(rng.standard_normal(32), 32)
    penalty = projection_loss.noise_penalty(jnp.asarray(ordered), 32)
    plain = projection_loss.noise_penalty(jnp.asarray(white), 32)
    assert penalty[0] > plain[0] + 0.5 and penalty[1] == plain[1]


def test_coarse_scales_of_the_noise_penalty_are_those_of_the_paper():
    """Noise that is halved keeps its variance: the published code leaves the factor 2 out, and counts 1/16."""
    noise = np.zeros((1, num_noise(16)), np.float32)
    fine = np.random.default_rng(1).standard_normal((16, 16)).astype(np.float32)
    noise[0, num_noise(8) : num_noise(8) + 256] = fine.ravel()

    def correlation(x):
        return sum(np.mean(x * np.roll(x, 1, axis), dtype=np.float64) ** 2 for axis in (0, 1))

    mean = fine.reshape(8, 2, 8, 2).mean(axis=(1, 3))
    penalty = projection_loss.noise_penalty(jnp.asarray(noise), 16)[0]
    assert penalty == pytest.approx(correlation(fine) + correlation(2 * mean), rel=1e-4)
    assert correlation(2 * mean) == pytest.approx(16 * correlation(mean)) and correlation(mean) > 1e-5


def test_the_perceptual_loss_is_a_distance_and_says_what_it_is(G, images):
    distance = projection_loss.open_perceptual("random_vgg")
    assert "random_vgg" in distance.provenance["distance"]
    goal = projection_loss.make_goal(distance.network, jnp.asarray(projection_loss.to_target(images)))
    weights = Weights(pixel=0.0)
    itself = projection_loss.image_loss(distance.network, goal, goal["pixels"], weights)
    other = projection_loss.image_loss(distance.network, goal, goal["pixels"][::-1], weights)
    assert (itself < 1e-6).all() and (other > 0.01).all()
    np.testing.assert_allclose(other, distance(goal["pixels"], goal["pixels"][::-1]), rtol=1e-3)
    assert projection_loss.open_perceptual("none") is None


def test_without_weights_the_random_network_is_used(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert "random_vgg" in projection_loss.open_perceptual("auto").provenance["distance"]
