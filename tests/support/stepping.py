"""Training steps of tiny networks, and Adam in numpy: what the tests of the step and of its losses share."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np

from stylegen.networks.build import build_networks
from stylegen.training.regularization import regularize_step
from stylegen.training.state import init_state
from stylegen.training.step import StepConfig, train_step
from tests.support.configs import tiny_config

N = 4  # images a step
STEPS = {"train_step": train_step, "regularize_step": regularize_step}
VARIANTS = {
    "logistic": {"loss": {"r1_gamma": 8.0}},
    "lazy": {"loss": {"r1_gamma": 8.0, "r1_interval": 4}},
    "relativistic": {"loss": {"name": "relativistic", "r1_gamma": 8.0}, "num_classes": 3},
    "relativistic lazy": {"loss": {"name": "relativistic", "r1_gamma": 8.0, "r1_interval": 4}},
    "wgan_gp": {"loss": {"name": "wgan_gp", "wgan_lambda": 7.0, "wgan_epsilon": 0.5}, "num_classes": 3},
    "bfloat16": {"compute_dtype": "bfloat16"},
    "ada": {
        "loss": {"r1_gamma": 8.0},
        "augment": {"mode": "ada", "p": 0.5, "noise": True, "cutout": True, "paired": False},
    },
}


@functools.cache
def make_static(variant):
    config = tiny_config(
        data={"batch": N},
        generator={"w_avg_beta": 0.9},
        optimizer={"beta2": 0.9, "epsilon": 1e-3, "ema_kimg": 0.01},
        **VARIANTS[variant],
    )
    return StepConfig(config, build_networks(config))


@functools.cache
def mid_run_state(variant):
    """A state in mid-run: averages that differ from what they average, Adam's moments of earlier steps."""
    rng = np.random.default_rng(2)
    state = init_state(make_static(variant).config, seed=1)

    def perturbed(tree, size=0.1):
        return jax.tree.map(lambda x: np.asarray(x) + size * rng.standard_normal(x.shape, np.float32), tree)

    def advanced(opt):
        return opt._replace(count=np.int32(3), nu=jax.tree.map(np.square, perturbed(opt.nu)))

    return dataclasses.replace(
        state,
        nimg=np.int32(40),
        g=perturbed(state.g),
        d=perturbed(state.d),
        g_ema=perturbed(state.g_ema),
        w_avg=perturbed(state.w_avg),
        g_opt=advanced(state.g_opt),
        d_opt=advanced(state.d_opt),
    )


IMAGES = np.random.default_rng(1).integers(0, 256, (N, 4, 4, 3), np.uint8)
LABELS = np.array([0, 2, 1, 2], np.int32)


@functools.cache
def compiled(name, variant):
    """train_step or regularize_step of a variant; the stage is the start resolution of 4 pixels, of 8."""
    step = functools.partial(STEPS[name], static=make_static(variant))
    arguments = mid_run_state(variant), IMAGES, LABELS, jnp.float32(1), jnp.float32(1)
    return jax.jit(step).lower(*arguments).compile()


def run_step(state, variant="logistic", name="train_step", images=IMAGES, labels=LABELS, learning_rate=0.01):
    state, metrics = compiled(name, variant)(state, images, labels, jnp.float32(1), jnp.float32(learning_rate))
    return jax.device_get((dataclasses.replace(state, key=jax.random.key_data(state.key)), metrics))


@functools.cache
def after_one_step(variant="logistic"):
    """The state after a step from ``start``, and the step's metrics."""
    return run_step(mid_run_state(variant), variant)


def assert_trees(check, *trees):
    assert len({jax.tree.structure(tree) for tree in trees}) == 1
    for leaves in zip(*map(jax.tree.leaves_with_path, trees), strict=True):
        check(jax.tree_util.keystr(leaves[0][0]), *[np.asarray(leaf) for _, leaf in leaves])


def assert_trees_close(*trees, rtol=1e-5, atol=1e-6):
    assert_trees(lambda name, a, b: np.testing.assert_allclose(a, b, rtol=rtol, atol=atol, err_msg=name), *trees)


def assert_trees_equal(*trees):
    assert_trees(lambda name, a, b: np.testing.assert_array_equal(a, b, err_msg=name), *trees)


def adam(params, gradients, m, v, t, rate, beta1, beta2, epsilon):
    """Step number t of Adam (Kingma and Ba 2015, Algorithm 1): (params, m, v)."""
    m = jax.tree.map(lambda m, g: beta1 * m + (1 - beta1) * g, m, gradients)
    v = jax.tree.map(lambda v, g: beta2 * v + (1 - beta2) * np.square(g), v, gradients)

    def move(p, m, v):
        return p - rate * (m / (1 - beta1**t)) / (np.sqrt(v / (1 - beta2**t)) + epsilon)

    return jax.tree.map(move, params, m, v), m, v


def inactive(name):
    return "'b8'" in name
