"""Lazy regularization: steps of R1 and R2 as strong as the steps that they stand for."""

import jax
import jax.flatten_util
import jax.numpy as jnp
import numpy as np
import pytest

from stylegen.config import Config, LossConfig
from stylegen.training import draws, losses
from stylegen.training import step as train_step
from stylegen.training.state import lazy_correction, regularizes_lazily
from tests.support.stepping import (
    IMAGES,
    N,
    adam,
    assert_trees_close,
    assert_trees_equal,
    make_static,
    mid_run_state,
    run_step,
)


def test_lazy_relativistic_step_weighs_r1_and_r2_as_the_steps_it_stands_for():
    static, before = make_static("relativistic lazy"), mid_run_state("relativistic lazy")
    after, metrics = run_step(before, "relativistic lazy", "regularize_step")
    key = train_step.step_keys(before)[-1]

    @jax.jit
    @jax.grad
    def gradients(d):
        def score(x):
            return static.networks.discriminator(d)(x, alpha=jnp.float32(1))

        network = static.networks.generator(before.g, before.noise_const)
        fakes, _ = draws.generate(network, static.config, jax.random.fold_in(key, 1), N, None, 4, jnp.float32(1))
        squares = [losses.scores_and_squared_gradient(score, x)[1] for x in (IMAGES / np.float32(127.5) - 1, fakes)]
        return jnp.mean(squares[0] + squares[1]) / 4

    expected = jax.tree.map(lambda g: 8 / 2 * 4 * np.asarray(g), gradients(before.d))
    assert_trees_close(after.d_opt.mu, expected, rtol=1e-3, atol=1e-4)
    assert metrics["Loss/r1_penalty"] > 0 and metrics["Loss/r2_penalty"] > 0
    for name in ("g", "g_ema", "g_opt", "w_avg", "noise_const", "nimg"):
        assert_trees_equal(getattr(after, name), getattr(before, name))


@pytest.mark.parametrize(
    "loss, lazily",
    [
        (LossConfig(), False),
        (LossConfig(r1_interval=16), True),
        (LossConfig(r1_interval=16, r1_gamma=0.0), False),
        (LossConfig(r1_interval=16, name="relativistic"), True),
        (LossConfig(r1_interval=16, name="wgan_gp"), False),
    ],
)
def test_which_losses_regularize_lazily_and_correct_adam_for_it(loss, lazily):
    config = Config(loss=loss)
    assert regularizes_lazily(config) == lazily
    assert lazy_correction(config) == pytest.approx(16 / 17 if lazily else 1)


def test_lazy_step_is_adam_on_the_penalty_as_strong_as_the_steps_it_stands_for():
    static, before = make_static("lazy"), mid_run_state("lazy")
    after, metrics = run_step(before, "lazy", "regularize_step")

    @jax.jit
    @jax.grad
    def gradients(d):
        def score(x):
            return static.networks.discriminator(d)(x, alpha=jnp.float32(1))

        _, squares = losses.scores_and_squared_gradient(score, IMAGES / np.float32(127.5) - 1)
        return jnp.mean(squares) / 4

    expected = jax.tree.map(lambda g: 8 / 2 * 4 * np.asarray(g), gradients(before.d))
    assert_trees_close(after.d_opt.mu, expected, rtol=1e-3, atol=1e-4)
    old, new = before.d_opt, after.d_opt
    d, _, nu = adam(before.d, new.mu, old.mu, old.nu, 4, 0.01 * 4 / 5, 0, 0.9 ** (4 / 5), 1e-3)
    assert_trees_close(after.d, d)
    assert_trees_close(new.nu, nu)
    assert set(metrics) == {"Loss/r1_penalty", "Progress/skipped_r1"} and metrics["Loss/r1_penalty"] > 0
    assert metrics["Progress/skipped_r1"] == 0
    for name in ("g", "g_ema", "g_opt", "w_avg", "noise_const", "nimg"):
        assert_trees_equal(getattr(after, name), getattr(before, name))
