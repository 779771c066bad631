"""What is jitted in the training of a decoder whose losses VGG-16 measures: what is kept of crops, and a step."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from stylegen.runtime import compilation
from stylegen.style_transfer import losses, networks, perceptual
from stylegen.style_transfer.networks import Params, Stages
from stylegen.style_transfer.train_step import Training, as_float, updated


class Weights(NamedTuple):
    """Weights of the losses."""

    content: float
    style: float
    variation: float  # of total variation
    range: float  # of what is outside [0, 1]


class Batch(NamedTuple):
    """Pairs of content and style: what the encoder and the loss network make of them."""

    maps: Array  # the encoder's last features of the contents [N, h', w', C]
    mean: Array  # of those of the styles [N, C]
    std: Array  # likewise
    features: Array  # relu4_1 of the contents [N, h/8, w/8, 512]
    statistics: perceptual.Targets  # of the styles at the loss network's layers


@compilation.jit(precision=None, static_argnames="stages")
def activations(encoder: Params, vgg: Params, images: Array, *, stages: Stages) -> tuple[Any, ...]:
    """Of uint8 images: last features of the encoder and of the loss network, in half precision, and statistics."""
    x = as_float(images)
    maps, seen = networks.encode(encoder, stages, x)[-1], perceptual.taps(vgg, x)
    features = (maps.astype(jnp.float16), seen[-1].astype(jnp.float16))
    return *features, *losses.statistics(maps, "biased"), perceptual.statistics(seen)


def loss(
    decoder: Params, vgg: Params, batch: Batch, weights: Weights, stages: Stages
) -> tuple[Array, dict[str, Array]]:
    """Content and style loss (Huang and Belongie 2017, Eq. 11 to 13), total variation, and overshoots."""
    maps = losses.adain(batch.maps.astype(jnp.float32), batch.mean, batch.std, "biased")
    result = networks.decode(decoder, stages, maps)
    seen = perceptual.taps(vgg, result)
    target = losses.adain(batch.features.astype(jnp.float32), *batch.statistics[-1], "biased")
    parts = {
        "content": jnp.mean(losses.content_loss(seen[-1], target)),
        "style": jnp.mean(losses.style_loss(seen, batch.statistics, "biased")),
        "variation": total_variation(result),
        "range": jnp.mean(jnp.square(result - jnp.clip(result, 0, 1))),
    }
    total = sum(getattr(weights, name) * part for name, part in parts.items())
    return jnp.asarray(total), parts


def total_variation(x: Array) -> Array:
    """Mean absolute difference of neighbors in [N, h, w, C], down and right together."""
    return jnp.mean(jnp.abs(x[:, 1:] - x[:, :-1])) + jnp.mean(jnp.abs(x[:, :, 1:] - x[:, :, :-1]))


@compilation.jit(precision=None, static_argnames="stages", donate_argnames="training")
def step(training: Training, vgg: Params, batch: Batch, rate: float, weights: Weights, *, stages: Stages) -> Any:
    """One batch: the new state, and metrics."""
    gradients, metrics = jax.grad(loss, has_aux=True)(training.params, vgg, batch, weights, stages)
    return updated(training, gradients, rate), metrics
