"""Tuning the generator to images: what changes, and what does not."""

import numpy as np

import stylegen
from stylegen.projection import (
    pivotal_tuning,
)
from stylegen.projection import (
    result as projected,
)
from tests.support.projecting import PIXELS


def test_pivotal_tuning_brings_the_image_closer_and_changes_nothing_else(G, images, fast_result):
    upside_down = np.ascontiguousarray(images[:, ::-1])
    options = pivotal_tuning.Options(steps=25, learning_rate=3e-3, weights=PIXELS)
    tuned, pivot = pivotal_tuning.tune(G, fast_result.projection, upside_down, options)
    before = projected.psnr(projected.draw(G, pivot), upside_down)
    after = projected.psnr(projected.draw(tuned, pivot), upside_down)
    assert (after > before + 1).all()
    np.testing.assert_array_equal(pivot.ws, fast_result.projection.ws)
    z = stylegen.latents([9], G.z_dim)
    np.testing.assert_array_equal(stylegen.styles(G, z), stylegen.styles(tuned, z))
    assert projected.fingerprint(tuned) != projected.fingerprint(G)
    for generator in (G, tuned):
        projected.check(pivot, generator, "p.npz")


def test_locality_holds_the_other_images(G, images, fast_result):
    target, seeds = np.ascontiguousarray(images[:, ::-1]), range(20, 30)
    moved = []
    for weight in (0.0, 10.0):
        options = pivotal_tuning.Options(steps=25, learning_rate=3e-3, locality=weight, weights=PIXELS)
        tuned, _ = pivotal_tuning.tune(G, fast_result.projection, target, options)
        moved.append(np.abs(stylegen.sample(tuned, seeds).astype(int) - stylegen.sample(G, seeds)).mean())
    assert moved[1] < 0.8 * moved[0]


def test_a_tuning_can_be_stopped(G, images, fast_result):
    options = pivotal_tuning.Options(steps=6, locality=0.0, weights=PIXELS)
    tuning = pivotal_tuning.descend(G, fast_result.projection, images, options)
    losses = []
    for step, loss, shown in tuning:
        losses.append(float(loss))
        if step == 0:
            np.testing.assert_array_equal(shown, projected.draw(G, fast_result.projection))
        if step == 2:
            break
    halfway = tuning.generator()
    losses += [float(loss) for _, loss, _ in tuning]
    assert len(losses) == 6 and losses[-1] < losses[0]
    whole, projection = pivotal_tuning.tune(G, fast_result.projection, images, options)
    assert projection.generators == tuning.projection().generators
    assert projected.fingerprint(halfway) != projected.fingerprint(whole)
