"""A generator as a StableHLO program."""

import dataclasses
import importlib
import os
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import Array, lax

from stylegen import ops
from stylegen.convolution import tracing_for
from stylegen.export import ExportError
from stylegen.io import files
from stylegen.networks.generator import Generator

PLATFORMS = ("cpu", "cuda", "tpu")


def sampler(G: Generator, cutoff: int | None = None) -> jax.export.Exported:
    """The function from latents to images, weights included, for CPU, CUDA and TPU in one program.

    It is called as ``f(z, psi)``, or ``f(z, c, psi)`` for a generator with classes: z [N, z_dim] and one-hot c
    [N, c_dim], float32, for any N; psi a float32 number, not a Python one. It gives uint8 [N, r, r, C] with constant
    noise. Each platform has the forms of convolutions that are made for it; the weights are there once.

    Args:
        G: the generator.
        cutoff: layers that are truncated, from the coarsest; None is all.

    Raises:
        ExportError: there is no such cutoff.
    """
    if cutoff is not None and not 0 <= cutoff <= G.num_ws:
        raise ExportError(f"cutoff = {cutoff}: must be the number of layers to truncate, 0 to {G.num_ws}.")
    exact = dataclasses.replace(G, config=dataclasses.replace(G.config, precision="highest"))

    def draw(psi: Array, z: Array, c: Array | None = None) -> Array:
        return ops.to_uint8(exact.synthesis(exact.broadcast(exact.mapping(z, c), psi=psi, cutoff=cutoff)))

    def on(platform: str) -> Callable[..., Array]:
        def traced(*inputs: Array) -> Array:
            with tracing_for(platform):
                return draw(*inputs)

        return traced

    def program(z: Array, *rest: Array) -> Array:
        return lax.platform_dependent(rest[-1], z, *rest[:-1], cpu=on("cpu"), default=on("gpu"))

    (n,) = jax.export.symbolic_shape("n")
    inputs = [jax.ShapeDtypeStruct((n, size), jnp.float32) for size in (G.z_dim, G.c_dim) if size]
    return jax.export.export(jax.jit(program), platforms=PLATFORMS)(*inputs, jax.ShapeDtypeStruct((), jnp.float32))


def save_sampler(G: Generator, path: str | os.PathLike[str], cutoff: int | None = None) -> None:
    """Write ``sampler`` as a file for ``jax.export.deserialize``; atomic.

    Raises:
        ExportError: flatbuffers, which ``jax.export`` writes with, is not installed; or as of ``sampler``.
    """
    check_serializer()
    blob = sampler(G, cutoff).serialize()
    with files.replacing(path) as partial:
        partial.write_bytes(blob)


def check_serializer() -> None:
    """Raise ExportError if ``jax.export`` cannot write files here."""
    try:
        importlib.import_module("flatbuffers")
    except ImportError as error:
        raise ExportError(
            "--to stablehlo needs the package flatbuffers, with which jax.export writes and reads files: "
            "pip install flatbuffers, or stylegen[export]."
        ) from error
