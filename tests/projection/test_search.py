"""The search for styles: what it recovers, and what it refuses."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest

import stylegen
from stylegen.networks.layers import num_noise
from stylegen.projection import (
    descent,
    search,
)
from stylegen.projection import (
    loss as projection_loss,
)
from stylegen.projection import (
    result as projected,
)
from stylegen.projection.result import ProjectionError
from stylegen.projection.search import Options, Weights, project
from tests.support.projecting import FAST, PIXELS, psnr_of, recovered


@pytest.mark.slow  # one and a half minutes of CPU time
def test_images_of_the_shipped_generator_are_recovered():
    G = stylegen.load("toy_bedrooms")
    assert not G.config.generator.use_noise
    distance, psnr = recovered(G, range(100, 110), Options(space="w", steps=800, weights=PIXELS))
    assert np.sum((distance <= 0.2) & (psnr >= 30)) >= 9, (distance, psnr)


def test_three_of_four_images_are_recovered_in_half_the_steps():
    G = stylegen.load("toy_bedrooms")
    options = Options(space="w", steps=400, candidates=500, weights=PIXELS)
    distance, psnr = recovered(G, range(100, 104), options)
    assert np.sum((distance <= 0.2) & (psnr >= 30)) >= 3, (distance, psnr)


def test_each_target_is_found_as_if_alone_and_again(G, images, fast_result):
    alone = project(G, images[1:], dataclasses.replace(FAST, batch=None)).projection
    np.testing.assert_allclose(alone.ws[0], fast_result.projection.ws[1], atol=1e-3)
    again = project(G, images, FAST).projection
    np.testing.assert_array_equal(again.ws, fast_result.projection.ws)
    other = project(G, images, dataclasses.replace(FAST, exploration=0.1, seed=1)).projection
    assert np.abs(other.ws - fast_result.projection.ws).max() > 1e-3


def test_the_loss_falls_and_frames_are_recorded(G, images, fast_result):
    loss = fast_result.projection.loss
    assert loss.shape == (40, 2) and (loss[-1] < 0.5 * loss[0]).all()
    assert (
        fast_result.frame_steps == [0, 8, 16, 24, 32, 40]
        and len(fast_result.frames) == 6
        and fast_result.frames[0].shape == images.shape
    )
    np.testing.assert_array_equal(fast_result.frames[0], fast_result.started)
    np.testing.assert_array_equal(fast_result.frames[-1], projected.draw(G, fast_result.projection))
    assert (fast_result.projection.ws == fast_result.projection.ws[:, :1]).all(), "w is the same for all layers"


@pytest.mark.parametrize("space", ["z", "w+", "w+noise"])
def test_the_other_spaces(G, images, fast_result, space):
    options = dataclasses.replace(FAST, space=space, steps=15, weights=Weights(perceptual=0.0, noise=1.0))
    result = project(G, images, options).projection
    assert (result.loss[-1] < result.loss[0]).all()
    if space == "z":
        np.testing.assert_allclose(stylegen.styles(G, result.z), result.ws, atol=1e-5)
    else:
        assert np.abs(result.ws - result.ws[:, :1]).max() > 1e-2
    assert (result.noise is None) == (space != "w+noise")
    if result.noise is not None:
        for maps in projection_loss.noise_maps(jnp.asarray(result.noise), 16):
            np.testing.assert_allclose(np.mean(maps, axis=(2, 3)), 0, atol=1e-4)
            np.testing.assert_allclose(np.var(maps, axis=(2, 3)), 1, atol=1e-3)


def test_noise_is_sought_for_stylegan2_too(make_generator):
    G = make_generator(block="demod")
    images = stylegen.sample(G, [5])
    options = dataclasses.replace(FAST, space="w+noise", steps=10, weights=Weights(perceptual=0.0, noise=1.0))
    result = project(G, images, options, frames=2)
    own = dataclasses.replace(result.projection, noise=None)
    assert (result.projection.loss[-1] < result.projection.loss[0]).all()
    assert result.projection.noise.shape == (1, num_noise(16))
    assert not np.array_equal(projected.draw(G, result.projection), projected.draw(G, own))


def test_the_search_for_noise_begins_with_the_generators_own(G, make_generator):
    for generator in (G, make_generator(block="demod")):
        ws = stylegen.styles(generator, stylegen.latents([3], generator.z_dim))
        own = np.asarray(generator.constant_noise())[None]
        images = stylegen.synthesize(generator, ws, noise=own, as_float=True)
        np.testing.assert_allclose(images, stylegen.synthesize(generator, ws, as_float=True), atol=1e-5)


def test_several_starts_are_no_worse_than_one(G, images, fast_result):
    several = project(G, images, dataclasses.replace(FAST, starts=3, batch=6)).projection
    assert several.ws.shape == fast_result.projection.ws.shape
    assert (several.loss[-1] <= fast_result.projection.loss[-1] * 1.001).all()


def test_classes_are_kept_apart(make_generator):
    G = make_generator(classes=3)
    images = stylegen.sample(G, [1, 2], labels=[0, 2])
    result = project(G, images, dataclasses.replace(FAST, space="z", steps=3), labels=[0, 2]).projection
    np.testing.assert_allclose(stylegen.styles(G, result.z, labels=[0, 2]), result.ws, atol=1e-5)


def test_each_target_explores_with_the_spread_of_its_own_class(make_generator):
    G = make_generator(classes=2)
    z = stylegen.latents(range(50), G.z_dim)
    spreads = [stylegen.styles(G, z, labels=label)[:, 0].std(axis=0).mean() for label in (0, 1)]
    assert abs(spreads[0] / spreads[1] - 1) > 1e-3
    images = stylegen.sample(G, [1, 2], labels=[0, 1])
    options = dataclasses.replace(FAST, space="w", steps=10, exploration=0.5, candidates=50, batch=1)
    together = project(G, images, options, labels=[0, 1]).projection
    for i in range(2):
        alone = project(G, images[i : i + 1], options, labels=i).projection
        np.testing.assert_array_equal(alone.ws[0], together.ws[i])


def test_the_learning_rate_rises_stays_and_falls():
    options = Options(steps=1000, learning_rate=0.1, exploration=0.05)
    rate = [descent.learning_rate(options, step) for step in range(1000)]
    assert rate[0] == pytest.approx(0.1 / 50) and rate[49] == pytest.approx(0.1) == pytest.approx(rate[740])
    assert rate[875] == pytest.approx(0.05, rel=0.02) and 0 < rate[-1] < 1e-5
    noise = [descent.exploration(options, step) for step in range(1000)]
    assert noise[0] == 0.05 and noise[375] == pytest.approx(0.0125) and max(noise[750:]) == 0


def test_a_descent_is_the_search_and_can_be_stopped_and_continued(G, images, fast_result):
    search_steps = search.descend(G, images, FAST)
    seen = []
    for step, losses, shown in search_steps:
        seen.append((step, np.asarray(losses), np.asarray(shown)))
        if step == 9:
            break
    early = search_steps.projection(["a", "b"])
    assert early.names == ("a", "b") and early.loss.shape == (10, 2)
    # The image of a step is that of the latents before it: ten steps are not yet drawn.
    np.testing.assert_array_equal(seen[0][2], fast_result.started)
    assert psnr_of(G, early, images).mean() > projected.psnr(seen[0][2], images).mean()
    seen += [(step, losses, shown) for step, losses, shown in search_steps]
    assert [step for step, *_ in seen] == list(range(FAST.steps))
    np.testing.assert_array_equal(search_steps.projection().ws, fast_result.projection.ws)
    np.testing.assert_array_equal(search_steps.losses, fast_result.projection.loss)
    with pytest.raises(ProjectionError, match="starts = 2: a descent has 1"):
        search.descend(G, images, dataclasses.replace(FAST, starts=2))


@pytest.mark.parametrize(
    "change, words",
    [
        ({"steps": 0}, "steps = 0: must be at least 1"),
        ({"space": "v"}, "space = 'v': must be one of z, w"),
        ({"space": "z", "start": "mean"}, "there is no mean of z"),
        ({"start": "mean", "starts": 2}, "there is one mean to start from"),
        ({"starts": 60}, "starts = 60: must be at most the number of candidates, 50"),
        ({"learning_rate": float("nan")}, "learning_rate = nan: must be positive"),
        ({"ramp_down": 1.5}, "ramp_down = 1.5: must be a share"),
        ({"weights": Weights(pixel=0.0, perceptual=0.0)}, "nothing is left to match"),
        ({"batch": 0}, "batch = 0"),
    ],
)
def test_options_that_cannot_be(G, images, change, words):
    with pytest.raises(ProjectionError, match=words):
        project(G, images, dataclasses.replace(FAST, **change))


def test_targets_that_do_not_fit(G, images):
    for wrong in (images[:, :8], images.astype(np.float32), images[:0], images[..., :1]):
        with pytest.raises(ProjectionError, match="targets are"):
            project(G, wrong, FAST)
    toy = stylegen.load("toy_bedrooms")
    with pytest.raises(ProjectionError, match="no noise inputs"):
        project(toy, stylegen.sample(toy, [1]), dataclasses.replace(FAST, space="w+noise"))
