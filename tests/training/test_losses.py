"""Losses and gradient penalties against closed forms."""

import typing

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from stylegen import ops
from stylegen.config import LossConfig
from stylegen.training import losses


def random(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


WEIGHT = random(4, 4, 3, seed=9)


def linear(x):
    """A discriminator whose gradient is WEIGHT everywhere."""
    return jnp.sum(x * WEIGHT[None], axis=(1, 2, 3))


def quadratic(x):
    """A discriminator whose gradient is the image itself."""
    return jnp.sum(jnp.square(x), axis=(1, 2, 3)) / 2


def curved(x):
    return jnp.sum(jnp.tanh(x * WEIGHT[None]) + jnp.square(x), axis=(1, 2, 3))


def test_logistic():
    real, fake = np.array([-3, 0, 2], np.float32), np.array([1, 0.5, -2], np.float32)
    np.testing.assert_allclose(losses.logistic_generator(fake), np.log(1 + np.exp(-fake)), rtol=1e-5)
    expected = np.log(1 + np.exp(fake)) + np.log(1 + np.exp(-real))
    np.testing.assert_allclose(losses.logistic_discriminator(real, fake), expected, rtol=1e-5)


def test_logistic_of_large_scores():
    scores = np.array([-1000, 1000], np.float32)
    np.testing.assert_array_equal(losses.logistic_generator(scores), [1000, 0])
    np.testing.assert_array_equal(losses.logistic_discriminator(scores, -scores), [2000, 0])


def test_wasserstein():
    real, fake = np.array([-3, 0, 2], np.float32), np.array([1, 0.5, -2], np.float32)
    np.testing.assert_array_equal(losses.wasserstein_generator(fake), -fake)
    np.testing.assert_array_equal(losses.wasserstein_discriminator(real, fake), fake - real)


def test_relativistic():
    """RpGAN: each side is the softplus of minus how far its own image is ahead of the one it is paired with."""
    real, fake = np.array([-3, 0, 2], np.float32), np.array([1, 0.5, -2], np.float32)
    np.testing.assert_allclose(losses.relativistic_discriminator(real, fake), np.log1p(np.exp(fake - real)), rtol=1e-5)
    np.testing.assert_allclose(losses.relativistic_generator(real, fake), np.log1p(np.exp(real - fake)), rtol=1e-5)


def test_relativistic_scores_only_count_against_each_other():
    real, fake = random(5), random(5, seed=1)
    for loss in (losses.relativistic_generator, losses.relativistic_discriminator):
        np.testing.assert_allclose(loss(real + 7, fake + 7), loss(real, fake), rtol=1e-4)
        assert not np.allclose(loss(real, fake), loss(real, fake[::-1]))  # pairs, not means
    scores = np.array([-1000, 1000], np.float32)
    np.testing.assert_array_equal(losses.relativistic_discriminator(scores, -scores), [2000, 0])


def test_every_configurable_loss_exists_and_has_its_sides_the_right_way_round():
    names = typing.get_args(typing.get_type_hints(LossConfig)["name"])
    assert set(losses.LOSSES) == set(names)
    half = jnp.array([0.5])
    for loss in losses.LOSSES.values():

        def generator(*scores, loss=loss):
            return loss.generator(*scores)[0]

        def discriminator(*scores, loss=loss):
            return loss.discriminator(*scores)[0]

        # A discriminator gains where reals score high and fakes low, a generator where fakes score high.
        if loss.relativistic:
            by_real, by_fake = jax.grad(generator, argnums=(0, 1))(half, half)
            assert by_fake < 0 < by_real
        else:
            assert jax.grad(generator)(half) < 0
        by_real, by_fake = jax.grad(discriminator, argnums=(0, 1))(half, half)
        assert by_real < 0 < by_fake


def penalty_of(score, images, full_resolution):
    return losses.scores_and_penalty(score, images, full_resolution)[1]


def squared_gradient(score, images):
    return losses.scores_and_squared_gradient(score, images)[1]


def test_r1_of_a_linear_discriminator_is_its_squared_weight():
    penalty = penalty_of(linear, random(2, 4, 4, 3), full_resolution=4)
    np.testing.assert_allclose(penalty, np.full(2, np.square(WEIGHT).sum()), rtol=1e-5)


def test_r1_is_per_example():
    reals = random(3, 4, 4, 3)
    np.testing.assert_allclose(penalty_of(quadratic, reals, 4), np.square(reals).sum((1, 2, 3)), rtol=1e-5)


@pytest.mark.parametrize("octaves", [1, 2])
def test_penalties_are_those_of_reals_upsampled_to_full_resolution(octaves):
    """The original upsamples reals, lets D take their means again, and differentiates by the large image."""
    reals, fakes, mix = random(2, 4, 4, 3), random(2, 4, 4, 3, seed=1), np.array([0.2, 0.9], np.float32)
    full = 4 * 2**octaves

    def enlarge(x):
        for _ in range(octaves):
            x = ops.upsample(x)
        return x

    def score_full(x):
        for _ in range(octaves):
            x = ops.downsample(x)
        return curved(x)

    for images in (reals, fakes):
        expected = squared_gradient(score_full, enlarge(images))
        np.testing.assert_allclose(penalty_of(curved, images, full), expected, rtol=1e-5)
    expected = losses.gradient_penalty(score_full, enlarge(reals), enlarge(fakes), mix, full)
    np.testing.assert_allclose(losses.gradient_penalty(curved, reals, fakes, mix, full), expected, rtol=1e-4)


@pytest.mark.parametrize("full", [4, 16])
def test_squared_gradients_against_finite_differences(full):
    images, step = random(2, 4, 4, 3).astype(np.float64), 1e-6

    def score(x):
        return np.sum(np.tanh(x * WEIGHT) + np.square(x), axis=(1, 2, 3))

    expected = np.zeros(2)
    for index in np.ndindex(4, 4, 3):
        shift = np.zeros((4, 4, 3))
        shift[index] = step
        expected += ((score(images + shift) - score(images - shift)) / (2 * step)) ** 2
    # At full resolution a pixel is spread over (full/4)^2 pixels, each with that much less of the gradient.
    expected /= (full / 4) ** 2
    np.testing.assert_allclose(penalty_of(curved, images.astype(np.float32), full), expected, rtol=1e-4)


@pytest.mark.parametrize("full", [4, 16])
def test_gradient_penalty_of_a_linear_discriminator(full):
    reals, fakes, mix = random(2, 4, 4, 3), random(2, 4, 4, 3, seed=1), np.array([0.2, 0.9], np.float32)
    norm = np.sqrt(np.square(WEIGHT).sum()) * 4 / full
    penalty = losses.gradient_penalty(linear, reals, fakes, mix, full)
    np.testing.assert_allclose(penalty, np.full(2, (norm - 1) ** 2), rtol=1e-5)


def test_gradient_penalty_is_taken_on_the_blends():
    reals, fakes, mix = random(3, 4, 4, 3), random(3, 4, 4, 3, seed=1), np.array([0, 0.25, 1], np.float32)
    weight = mix[:, None, None, None]
    norm = np.sqrt(np.square(reals * (1 - weight) + fakes * weight).sum((1, 2, 3)))
    penalty = losses.gradient_penalty(quadratic, reals, fakes, mix, 4)
    np.testing.assert_allclose(penalty, np.square(norm - 1), rtol=1e-4)


def test_penalties_have_a_gradient_where_the_discriminator_is_flat():
    images, mix = random(2, 4, 4, 3), np.array([0.5, 0.5], np.float32)

    def mean_penalties(scale):
        def score(x):
            return scale * linear(x)

        r1 = penalty_of(score, images, 4)
        return jnp.mean(r1 + losses.gradient_penalty(score, images, images, mix, 4))

    value, slope = jax.value_and_grad(mean_penalties)(0.0)
    np.testing.assert_allclose(value, 1)
    assert np.isfinite(slope)


def test_path_lengths_have_a_gradient_where_styles_do_nothing():
    ws, noise = random(2, 3, 5), random(2, 4, 4, 3, seed=1)

    def mean_length(scale):
        def draw(ws):
            return scale * jnp.broadcast_to(jnp.sum(ws, axis=(1, 2))[:, None, None, None], (2, 4, 4, 3))

        return jnp.mean(losses.path_lengths(draw, ws, noise))

    value, slope = jax.value_and_grad(mean_length)(0.0)
    assert value < 1e-9
    assert np.isfinite(slope)
    squares = np.square(np.asarray(noise).sum((1, 2, 3))) * 5
    np.testing.assert_allclose(mean_length(1.0), np.sqrt(squares).mean(), rtol=1e-5)


def test_gradient_sums_what_an_image_does_to_all_scores():
    """As in the original: through minibatch standard deviation an image moves its neighbors' scores too."""

    def coupled(x):
        return linear(x) + jnp.sum(linear(x))

    expected = np.full(2, np.square(WEIGHT * 3).sum())
    np.testing.assert_allclose(squared_gradient(coupled, random(2, 4, 4, 3)), expected, rtol=1e-5)
