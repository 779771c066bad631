"""Our networks as ONNX models: the sampler and the synthesis network of a generator, and style transfer."""

import os
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from stylegen import ops
from stylegen.export import ExportError
from stylegen.export.onnx.convert import convert
from stylegen.io import files
from stylegen.networks.generator import Generator, in_float32
from stylegen.style_transfer import matching, networks, transfer
from stylegen.style_transfer.model import StyleModel
from stylegen.style_transfer.stylize import SMALLEST
from stylegen.style_transfer.transfer import to_uint8

SAMPLER_NAME, SYNTHESIS_NAME = "sampler.onnx", "synthesis.onnx"


def sampler(G: Generator, cutoff: int | None = None) -> Any:
    """The function from latents to images, as an ONNX model for batches of any size.

    Inputs: z [n, z_dim]; one-hot c [n, c_dim] where there are classes; psi, a number. All are float32.
    Outputs: images uint8 [n, r, r, C], with constant noise; ws float32 [n, num_ws, w_dim], and noise float32
    [n, num_noise], if there is any. ``synthesis`` takes these two. A runtime computes the outputs that it is asked for.
    A bfloat16 generator computes in float32 here.

    Args:
        G: the generator.
        cutoff: layers that are truncated, from the coarsest; None is all.

    Raises:
        ExportError: there is no such cutoff; or as of ``convert``.
    """
    if cutoff is not None and not 0 <= cutoff <= G.num_ws:
        raise ExportError(f"cutoff = {cutoff}: must be the number of layers to truncate, 0 to {G.num_ws}.")
    exact = in_float32(G)
    own_noise = [jnp.asarray(G.constant_noise())] if _takes_noise(G) else []

    def draw(psi: Array, z: Array, c: Array | None = None) -> list[Array]:
        ws = exact.broadcast(exact.mapping(z, c), psi=psi, cutoff=cutoff)
        noise = [jnp.broadcast_to(maps[None], (z.shape[0], maps.size)) for maps in own_noise]
        return [ops.to_uint8(exact.synthesis(ws)), ws, *noise]

    (n,) = jax.export.symbolic_shape("n")
    sizes = {"z": (n, G.z_dim), **({"c": (n, G.c_dim)} if G.c_dim else {})}
    inputs = {"psi": _floats(), **{name: _floats(*shape) for name, shape in sizes.items()}}
    outputs = ["images", "ws", *(["noise"] if own_noise else [])]
    return convert(draw, inputs, outputs, "A generator of stylegen: latents, labels and psi to images.")


def synthesis(G: Generator) -> Any:
    """The synthesis network as an ONNX model: ws float32 [n, num_ws, w_dim] to image float32 [n, r, r, C].

    The image is around [-1, 1] and not clipped. The noise is an input [n, num_noise], if the network takes any; zeros
    are none, and ``sampler`` gives the network's own.

    Raises:
        ExportError: as of ``convert``.
    """
    exact = in_float32(G)
    (n,) = jax.export.symbolic_shape("n")
    inputs = {"ws": _floats(n, G.num_ws, G.w_dim)}
    if _takes_noise(G):
        inputs["noise"] = _floats(n, G.num_noise)

    def draw(ws: Array, noise: Array | None = None) -> list[Array]:
        return [exact.synthesis(ws, noise="none" if noise is None else noise)]

    return convert(draw, inputs, ["image"], "A synthesis network of stylegen: styles and noise to an image.")


def stylizer(model: StyleModel, size: int | None = None) -> Any:
    """Style transfer as an ONNX model (Huang and Belongie 2017, Eq. 9 and 14).

    Inputs: content and style, uint8 [1, height, width, 3]; alpha, a float32 number, 0 for the content's features and 1
    for the style's statistics. Output: image, uint8 and of the content's size. Whole images are computed at once, so
    memory grows with their size.

    Args:
        model: the networks.
        size: pixels a side of both images; None is any multiples of a feature's pixels, 8 for VGG-19.

    Raises:
        ExportError: the size is too small or no such multiple; or as of ``convert``.
    """
    scale = model.scale
    if size is not None and (size < SMALLEST or size % scale):
        raise ExportError(f"size = {size}: must be a multiple of {scale}, and at least {SMALLEST} pixels.")

    def draw(content: Array, style: Array, alpha: Array) -> list[Array]:
        own, wanted = (_at_levels(model, images) for images in (content, style))
        x = own[0]
        for i, level in enumerate(model.exchanges):
            statistics = partial(matching.of_all, level=level, variance=model.variance)
            target = matching.between(statistics(own[i]), statistics(wanted[i], of_style=True), alpha)
            x = matching.applied(x, matching.map_to(statistics(x), target), None)
            if i + 1 < len(model.levels):
                x = transfer.restyled(model.decoder, model.stages, model.levels[i : i + 2], x)
        return [to_uint8(x)[None]]

    h, w, y, x = jax.export.symbolic_shape("h, w, y, x", constraints=[f"{dim} >= 2" for dim in "hwyx"])
    sides = [(size, size)] * 2 if size else [(scale * h, scale * w), (scale * y, scale * x)]
    images = [jax.ShapeDtypeStruct((1, *pair, networks.RGB_CHANNELS), np.uint8) for pair in sides]
    inputs = {"content": images[0], "style": images[1], "alpha": _floats()}
    return convert(draw, inputs, ["image"], "Style transfer of stylegen: a content image in the style of another.")


def save(model: Any, path: str | os.PathLike[str]) -> None:
    """Write a model; atomic."""
    with files.replacing(path) as partial:
        partial.write_bytes(model.SerializeToString())


def _takes_noise(G: Generator) -> bool:
    return G.config.generator.use_noise


def _at_levels(model: StyleModel, images: Array) -> list[Array]:
    pixels = images.astype(jnp.float32) / 255
    return transfer.at_levels(model.encoder, model.stages, model.exchanges, pixels)


def _floats(*shape: Any) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(shape, jnp.float32)
