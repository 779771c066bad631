"""A decoder by regression: each layer is the linear map that best gives back what the encoder's layer was given.

The decoder mirrors the encoder, so its layers can be found one after the other without any gradient. Each takes what
the ones before it make of the encoder's last features, in patches of 3x3, and is fitted to the encoder's activations
at the same place, by ridge regression. It inverts the encoder roughly, and is where a training of the decoder begins:
from random weights the same losses take thousands of steps to come as far. ``step`` then trains all layers together to
rebuild images, each layer still what its counterpart was given, so that statistics can be exchanged (``matching``).
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from stylegen import ops
from stylegen.runtime import compilation
from stylegen.style_transfer import networks
from stylegen.style_transfer.networks import Params, Stages
from stylegen.style_transfer.train_step import Training, as_float, updated

RIDGE = 1e-2  # to the mean square of an input
_BATCH = 8  # images at once
_SAMPLES = 24_000  # patches that a layer is fitted to, at most


def fitted_decoder(encoder: Params, stages: Stages, images: np.ndarray, seed: int = 0) -> Params:
    """The decoder for an encoder, fitted to uint8 images [N, h, w, 3]: weights by the names of ``networks``."""
    encoder = {name: jnp.asarray(x) for name, x in encoder.items()}
    batches = [images[i : i + _BATCH] for i in range(0, len(images), _BATCH)]
    targets = [_targets(encoder, batch, stages=stages) for batch in batches]
    inputs: list[Array] = [target.pop() for target in targets]
    rng = np.random.default_rng(seed)
    decoder: Params = {}
    channels = networks.decoder_channels(stages)
    enlarging = {int(i) for i in np.cumsum([len(stage) for stage in reversed(stages)])[:-1]}
    for layer in range(len(channels)):
        wanted = [target.pop() for target in targets]
        inputs = [ops.upsample(x) if layer in enlarging else x for x in inputs]
        kernel, bias = fitted(inputs, wanted, rng)
        decoder |= {f"conv{layer}.kernel": kernel, f"conv{layer}.bias": bias}
        inputs = [layer_output(x, kernel, bias, layer == len(channels) - 1) for x in inputs]
    return decoder


@compilation.jit(precision=None, static_argnames="stages")
def _targets(encoder: Params, images: Array, *, stages: Stages) -> list[Array]:
    return given(encoder, stages, as_float(images))


def given(encoder: Params, stages: Stages, x: Array) -> list[Array]:
    """What each convolution of the encoder is given, from the image [N, h, w, 3] on, and at the end what it gives."""
    outputs = networks.activations(encoder, stages, x)
    firsts = {int(i) for i in np.cumsum([len(stage) for stage in stages])[:-1]}
    inner = [networks.max_pool(y) if i + 1 in firsts else y for i, y in enumerate(outputs[:-1])]
    return [x, *inner, outputs[-1]]


def fitted(inputs: list[Array], wanted: list[Array], rng: np.random.Generator) -> tuple[Array, Array]:
    """Kernel [3, 3, a, b] and bias [b] that bring the inputs nearest to what is wanted."""
    places = inputs[0].shape[0] * inputs[0].shape[1] * inputs[0].shape[2]
    share = min(1.0, _SAMPLES / (places * len(inputs)))
    square: Any = 0.0
    product: Any = 0.0
    for x, y in zip(inputs, wanted, strict=True):
        total = x.shape[0] * x.shape[1] * x.shape[2]
        chosen = rng.permutation(total)[: max(1, round(share * places))]
        a, b = _sums(x, y, chosen)
        square, product = square + a, product + b
    size = square.shape[0]
    ridge = RIDGE * float(jnp.trace(square)) / size
    solution = np.linalg.solve(np.asarray(square) + ridge * np.eye(size, dtype=np.float32), np.asarray(product))
    c = inputs[0].shape[-1]
    return jnp.asarray(solution[:-1].reshape(3, 3, c, -1)), jnp.asarray(solution[-1])


@jax.jit
def _sums(x: Array, y: Array, chosen: Array) -> tuple[Array, Array]:
    """Sums of p p^T and p y^T over the patches p of the chosen places, with a 1 at the end for the bias."""
    h, w = x.shape[1:3]
    padded = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="reflect")
    n, rest = jnp.divmod(chosen, h * w)
    i, j = jnp.divmod(rest, w)
    patches = jnp.concatenate([padded[n, i + di, j + dj] for di in range(3) for dj in range(3)], axis=1)
    patches = jnp.concatenate([patches, jnp.ones((len(chosen), 1))], axis=1)
    return patches.T @ patches, patches.T @ y.reshape(-1, y.shape[-1])[chosen]


@compilation.jit(precision=None, static_argnames="is_last")
def layer_output(x: Array, kernel: Array, bias: Array, is_last: bool) -> Array:
    """A layer's output, of a convolution with mirrored borders."""
    y = ops.reflected_conv(x, kernel) + ops.per_channel(bias)
    return y if is_last else jnp.maximum(y, 0)


class Weights(NamedTuple):
    """Weights of what a decoder misses, all relative to the variance of what is wanted but for the pixels."""

    layers: float  # of the mean over the layers of their mean square distances from what is wanted of them
    pixels: float  # of that of the pixels, in [0, 1]
    features: float  # of that of the encoder's last features of the result, cut to [0, 1], from the image's


def loss(
    decoder: Params, encoder: Params, images: Array, weights: Weights, stages: Stages
) -> tuple[Array, dict[str, Array]]:
    """What the decoder misses of uint8 images [N, h, w, 3]: in its layers, its pixels and what the encoder sees."""
    x, *inner, features = given(encoder, stages, as_float(images))
    y, distances = features, []
    for layer, wanted in enumerate(reversed(inner)):
        y = networks.decode_part(decoder, stages, y, layer, layer + 1)
        distances.append(_relative(y, wanted))
    rebuilt = networks.decode_part(decoder, stages, y, len(inner), len(inner) + 1)
    parts = {
        "layers": jnp.mean(jnp.stack(distances)),
        "pixels": jnp.mean(jnp.square(rebuilt - x)),
        "features": _relative(networks.activations(encoder, stages, jnp.clip(rebuilt, 0, 1))[-1], features),
    }
    return jnp.asarray(sum(getattr(weights, name) * part for name, part in parts.items())), parts


def _relative(x: Array, wanted: Array) -> Array:
    """Mean square distance to the variance of each channel, over all of them."""
    centered = wanted - jnp.mean(wanted, axis=(0, 1, 2), keepdims=True)
    return jnp.mean(jnp.square(x - wanted)) / jnp.mean(jnp.square(centered))


@compilation.jit(precision=None, static_argnames="stages", donate_argnames="training")
def step(training: Training, encoder: Params, images: Array, rate: float, weights: Weights, *, stages: Stages) -> Any:
    """One batch of uint8 crops [N, h, w, 3]: the new state, and metrics."""
    gradients, metrics = jax.grad(loss, has_aux=True)(training.params, encoder, images, weights, stages)
    return updated(training, gradients, rate), metrics
