"""The convolution with derivatives of its own: all of them, to the third order, against JAX's own."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from stylegen.convolution import convolve, splits_transposes, target_platform, tracing_for, trilinear_convolve

STATIC = [(2, ((1, 1), (1, 1))), (1, "SAME"), (1, ((1, 0), (0, 1)))]
# (kernel, stride and padding, size of the image): those with a form of their own, and others.
CASES = [
    *((4, s, (6, 4)) for s in STATIC),
    (4, STATIC[0], (5, 4)),
    *((3, (2, ((0, 0), (0, 0))), s) for s in ((7, 5), (6, 5))),
]


def random(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def derivatives(function, x, weight, v):
    """A value, its gradients, and gradients of a value made of those, twice over, by image and weight."""

    def first(x, weight):
        return jnp.sum(jnp.sin(function(x, weight)))

    def second(x, weight):
        by_x, by_weight = jax.grad(first, argnums=(0, 1))(x, weight)
        return jnp.sum(jnp.square(by_x)) + jnp.vdot(by_x, v) + jnp.sum(jnp.square(by_weight))

    def third(x, weight):
        by_x, by_weight = jax.grad(second, argnums=(0, 1))(x, weight)
        return jnp.sum(jnp.sin(by_x)) + jnp.sum(jnp.square(by_weight)) * 1e-3

    return [jax.jit(jax.value_and_grad(f, argnums=(0, 1)))(x, weight) for f in (first, second, third)]


@pytest.mark.parametrize("platform", ["cpu", "gpu"])
@pytest.mark.parametrize(("kernel", "static", "size"), CASES)
def test_derivatives_of_every_order_are_those_of_jax(kernel, static, size, platform):
    x, v, weight = random(2, *size, 3), random(2, *size, 3, seed=1), random(kernel, kernel, 3, 2, seed=2)
    with tracing_for(platform):
        mine = derivatives(lambda x, w: trilinear_convolve(x, w, *static), x, weight, v)
    theirs = derivatives(lambda x, w: convolve(x, w, *static), x, weight, v)
    for a, b in zip(jax.tree.leaves(mine), jax.tree.leaves(theirs), strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-3, atol=2e-4 * np.abs(b).max())


def test_dtype_is_kept():
    x, weight = jnp.ones((1, 4, 4, 2), jnp.bfloat16), jnp.ones((4, 4, 2, 3), jnp.bfloat16)
    value, back = jax.vjp(lambda x, w: trilinear_convolve(x, w, *STATIC[0]), x, weight)
    assert {leaf.dtype for leaf in (value, *back(value))} == {jnp.dtype("bfloat16")}


def test_programs_are_traced_for_the_platform_at_hand_unless_told(monkeypatch):
    for platform in ("cpu", "gpu"):
        monkeypatch.setattr(jax, "default_backend", lambda platform=platform: platform)
        assert (target_platform(), splits_transposes()) == (platform, platform == "cpu")
        for other in ("cpu", "tpu"):
            with tracing_for(other):
                assert (target_platform(), splits_transposes()) == (other, other == "cpu")
        assert target_platform() == platform
