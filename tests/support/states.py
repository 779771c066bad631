"""Training states of random bits, for tests of what is done with states."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from stylegen.config import Config
from stylegen.training.state import TrainState, abstract_state


def random_state(nimg: int, config: Config) -> TrainState:
    """A state of random bits that depend on nimg, built without compiling anything of the networks."""
    rng = np.random.default_rng(nimg)

    def leaf(shape: jax.ShapeDtypeStruct) -> jax.Array:
        if jnp.issubdtype(shape.dtype, jax.dtypes.prng_key):
            return jax.random.key(nimg)
        bits = rng.integers(0, 2**32, shape.shape, np.uint32) & np.uint32(0xBFFF_FFFF)  # as float32: finite, below 2
        return jax.device_put(np.asarray(bits).view(shape.dtype))

    return dataclasses.replace(jax.tree.map(leaf, abstract_state(config)), nimg=jnp.int32(nimg))


def numbers(tree: object) -> list[np.ndarray]:
    """Copies of all leaves, keys as their data."""
    is_key = lambda x: jnp.issubdtype(x.dtype, jax.dtypes.prng_key)  # noqa: E731
    return [np.array(jax.random.key_data(x) if is_key(x) else x) for x in jax.tree.leaves(tree)]
