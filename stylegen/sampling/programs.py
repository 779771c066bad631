"""The compiled programs of sampling. Each takes a Generator as one argument, which brings its own precision."""

from typing import Any, Literal

import jax

from stylegen import ops
from stylegen.array_types import Array
from stylegen.networks.generator import Generator
from stylegen.networks.synthesis import NoiseMode
from stylegen.runtime import compilation


def noise_from_seeds(seeds: Array, size: int) -> Array:
    """Random noise [N, size] of seeds [N], each row from a key of its own: its place in the batch does not matter."""
    return jax.vmap(lambda seed: ops.noise(jax.random.key(seed), (size,)))(seeds)


@compilation.jit(precision=None)
def map_latents(G: Generator, psi: Any, cutoff: Any, z: Array, c: Array | None = None) -> Array:
    """Latents z [N, z_dim], and one-hot labels c [N, c_dim] where there are classes, to truncated ws.

    psi and cutoff are traced: one program serves every position of their sliders.

    Returns:
        ws [N, num_ws, w_dim].
    """
    return G.broadcast(G.mapping(z, c), psi=psi, cutoff=cutoff)


@compilation.jit(precision=None, static_argnames=("noise", "as_float"))
def draw(G: Generator, ws: Array, extra: Array, *, noise: NoiseMode | Literal["given"], as_float: bool) -> Array:
    """Draw the images of styles.

    Args:
        G: the generator.
        ws: [N, num_ws, w_dim].
        extra: seeds of random noise [N], or the noise itself [N, num_noise] where it is given.
        noise: the kind of noise.
        as_float: give float32 around [-1, 1], unclipped, instead of uint8.

    Returns:
        images [N, r, r, C].
    """
    inputs: NoiseMode | Array = extra if noise == "given" else noise
    if noise == "random":
        inputs = noise_from_seeds(extra, G.num_noise)
    images = G.synthesis(ws, noise=inputs)
    return images if as_float else ops.to_uint8(images)
