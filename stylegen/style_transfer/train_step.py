"""What is jitted in a style-transfer training: the encoder's step, its normalization, the decoder's step."""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import Array

from stylegen import ops
from stylegen.runtime import compilation
from stylegen.style_transfer import losses, networks
from stylegen.style_transfer.networks import Params, Stages


class Training(NamedTuple):
    """Everything that changes in one of the two trainings."""

    params: Params
    moments: Any  # of Adam


ADAM = optax.scale_by_adam()


def learning_rate(start: float, step: int, steps: int) -> float:
    """Falls from ``start`` to 0 along a cosine."""
    return start * 0.5 * (1 + math.cos(math.pi * step / steps))


def begin(params: Params) -> Training:
    """A training of these weights that has not begun."""
    return Training(params, ADAM.init(params))


def as_float(images: Array) -> Array:
    """uint8 to [0, 1]."""
    return images.astype(jnp.float32) / 255


def head_shapes(stages: Stages, classes: int) -> dict[str, tuple[int, ...]]:
    """The linear layer that classifies images by means and standard deviations of all stages."""
    inputs = 2 * sum(stage[0] for stage in stages)
    return {"head.kernel": (inputs, classes), "head.bias": (classes,)}


def encoder_loss(
    params: Params, images: Array, labels: Array, classification_weight: float, stages: Stages
) -> tuple[Array, dict[str, Array]]:
    """Rebuilding a crop from its last features, and classifying which image it is of, by its statistics alone.

    The second makes the statistics, which AdaIN exchanges, say what a texture is; the first keeps what is where.
    """
    x = as_float(images)
    maps = networks.encode(_part(params, "encoder."), stages, x)
    rebuilt = networks.decode(_part(params, "decoder."), stages, maps[-1])
    error = jnp.mean(jnp.square(rebuilt - x))
    pairs = [losses.statistics(features, "biased") for features in maps]
    inputs = jnp.concatenate([s / (1e-3 + jnp.mean(s, axis=1, keepdims=True)) for pair in pairs for s in pair], axis=1)
    logits = inputs @ params["head.kernel"] + params["head.bias"][None]
    labeled = labels >= 0
    count = jnp.maximum(jnp.sum(labeled), 1)
    entropies = optax.softmax_cross_entropy_with_integer_labels(logits, jnp.maximum(labels, 0))
    cross_entropy = jnp.sum(entropies * labeled) / count
    accuracy = jnp.sum((jnp.argmax(logits, axis=1) == labels) & labeled) / count
    total = 100 * error + classification_weight * cross_entropy
    return total, {"error": error, "accuracy": accuracy}


@compilation.jit(precision=None, static_argnames="stages", donate_argnames="training")
def encoder_step(
    training: Training, images: Array, labels: Array, rate: float, classification_weight: float, *, stages: Stages
) -> Any:
    """One batch of uint8 crops [N, h, w, 3] with labels [N]: the new state, and metrics."""
    gradient = jax.grad(encoder_loss, has_aux=True)
    gradients, metrics = gradient(training.params, images, labels, classification_weight, stages)
    return updated(training, gradients, rate), metrics


class LossWeights(NamedTuple):
    """Weights of the decoder's two losses."""

    content: float
    style: float


def decoder_loss(
    decoder: Params,
    encoder: Params,
    content: Array,
    style: Array,
    weights: LossWeights,
    stages: Stages,
    variance: losses.Variance,
) -> tuple[Array, dict[str, Array]]:
    """Content and style loss of giving each content the style of its partner (Eq. 11)."""
    n = content.shape[0]
    maps = networks.encode(encoder, stages, as_float(jnp.concatenate([content, style])))
    styles = [losses.statistics(features[n:], variance) for features in maps]
    target = losses.adain(maps[-1][:n], *styles[-1], variance)
    result_maps = networks.encode(encoder, stages, networks.decode(decoder, stages, target))
    content_loss = jnp.mean(losses.content_loss(result_maps[-1], target))
    style_loss = jnp.mean(losses.style_loss(result_maps, styles, variance))
    total = weights.content * content_loss + weights.style * style_loss
    return total, {"content": content_loss, "style": style_loss}


@compilation.jit(precision=None, static_argnames=("stages", "variance"), donate_argnames="training")
def decoder_step(
    training: Training,
    encoder: Params,
    content: Array,
    style: Array,
    rate: float,
    weights: LossWeights,
    *,
    stages: Stages,
    variance: losses.Variance,
) -> Any:
    """One batch of uint8 contents and styles [N, h, w, 3]: the new state, and metrics."""
    gradient = jax.grad(decoder_loss, has_aux=True)
    gradients, metrics = gradient(training.params, encoder, content, style, weights, stages, variance)
    return updated(training, gradients, rate), metrics


def updated(training: Training, gradients: Params, rate: float) -> Training:
    """The state after a step of Adam."""
    updates, moments = ADAM.update(gradients, training.moments)
    params = jax.tree.map(lambda p, u: p - rate * u, training.params, updates)
    return Training(params, moments)


def _part(params: Params, prefix: str) -> Params:
    return {name.removeprefix(prefix): x for name, x in params.items() if name.startswith(prefix)}


@compilation.jit(precision=None, static_argnames="stages")
def mean_activations(encoder: Params, images: Array, *, stages: Stages) -> list[Array]:
    """Mean [C] over crops and positions of what every convolution of the encoder gives after its ReLU."""
    return [jnp.mean(x, axis=(0, 1, 2)) for x in networks.activations(encoder, stages, as_float(images))]


def normalize_activations(encoder: Params, decoder: Params, means: list[Array]) -> tuple[Params, Params]:
    """Weights of the same functions whose activations all have the mean 1, as the published VGG of style transfer.

    So every channel counts alike in the style loss. ReLU lets a positive factor pass; the decoder's first convolution
    takes the last ones back. Channels that are hardly ever active are left small rather than blown up.
    """
    encoder, decoder = dict(encoder), dict(decoder)
    before = jnp.ones(encoder["conv0.kernel"].shape[2])
    for i, mean in enumerate(means):
        factor = jnp.maximum(mean, 0.05 * jnp.mean(mean))
        encoder[f"conv{i}.kernel"] = encoder[f"conv{i}.kernel"] * before[None, None, :, None] / ops.per_channel(factor)
        encoder[f"conv{i}.bias"] = encoder[f"conv{i}.bias"] / factor
        before = factor
    decoder["conv0.kernel"] = decoder["conv0.kernel"] * before[None, None, :, None]
    return encoder, decoder
