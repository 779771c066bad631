"""What is jitted in the training of a pair whose losses VGG-16 measures: the loss network's targets, and a step."""

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
    """Pairs of content and style, uint8 [N, h, w, 3], with what the loss network makes of them."""

    content: Array
    features: Array  # relu4_1 of the contents [N, h/8, w/8, 512]
    style: Array
    statistics: perceptual.Targets


@compilation.jit(precision=None)
def targets(vgg: Params, images: Array) -> tuple[Array, perceptual.Targets]:
    """Last features and statistics of uint8 images; the features in half precision, to be kept."""
    maps = perceptual.taps(vgg, as_float(images))
    return maps[-1].astype(jnp.float16), perceptual.statistics(maps)


def loss(
    params: dict[str, Params], vgg: Params, batch: Batch, weights: Weights, stages: Stages
) -> tuple[Array, dict[str, Array]]:
    """Content and style loss (Huang and Belongie 2017, Eq. 11 to 13), total variation, and overshoots."""
    contents, styles = (
        networks.encode(params["encoder"], stages, as_float(images))[-1] for images in (batch.content, batch.style)
    )
    # A style may serve several contents, which follow one another.
    each = contents.shape[0] // styles.shape[0]
    mean, std = (jnp.repeat(x, each, axis=0) for x in losses.statistics(styles, "biased"))
    result = networks.decode(params["decoder"], stages, losses.adain(contents, mean, std, "biased"))
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
