"""Training states of random bits, or as if in mid-run, for tests of what is done with states."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from stylegen.config import Config
from stylegen.training.state import TrainState, abstract_state, init_state


def random_state(nimg: int, config: Config) -> TrainState:
    """A state of random bits that depend on nimg, built without compiling anything of the networks."""
    rng = np.random.default_rng(nimg)

    def leaf(shape: jax.ShapeDtypeStruct) -> jax.Array:
        if jnp.issubdtype(shape.dtype, jax.dtypes.prng_key):
            return jax.random.key(nimg)
        bits = rng.integers(0, 2**32, shape.shape, np.uint32) & np.uint32(0xBFFF_FFFF)  # as float32: finite, below 2
        return jax.device_put(np.asarray(bits).view(shape.dtype))

    return dataclasses.replace(jax.tree.map(leaf, abstract_state(config)), nimg=jnp.int32(nimg))


def shaken(tree: Any, rng: np.random.Generator, size: float = 0.3) -> Any:
    """The tree with normal noise of this size on every number."""
    return jax.tree.map(lambda x: x + size * rng.standard_normal(x.shape, np.float32), tree)


def mid_run(config: Config) -> TrainState:
    """A state from which a step does not amplify rounding.

    Without noise a new network normalizes a constant, which amplifies it; so does Adam's first step, which divides
    gradients by themselves.
    """
    state, rng = init_state(config), np.random.default_rng(1)

    def used(opt: Any) -> Any:
        return opt._replace(count=opt.count + 3, nu=jax.tree.map(lambda x: x + 1e-2, opt.nu))

    g, d = shaken(state.g, rng), shaken(state.d, rng)
    return dataclasses.replace(state, g=g, d=d, g_opt=used(state.g_opt), d_opt=used(state.d_opt))


def greatest_difference(a: Any, b: Any) -> tuple[float, str]:
    """The greatest difference of two trees, and where: of numbers beyond 1, relative to the largest of their array."""
    leaves = zip(jax.tree.leaves_with_path(a), jax.tree.leaves(b), strict=True)
    return max((float(np.abs(x - y).max() / max(np.abs(x).max(), 1)), jax.tree_util.keystr(p)) for (p, x), y in leaves)


def numbers(tree: object) -> list[np.ndarray]:
    """Copies of all leaves, keys as their data."""
    is_key = lambda x: jnp.issubdtype(x.dtype, jax.dtypes.prng_key)  # noqa: E731
    return [np.array(jax.random.key_data(x) if is_key(x) else x) for x in jax.tree.leaves(tree)]
