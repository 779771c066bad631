"""Lazy regularization: steps that follow some of the training steps, R1 and path lengths.

Karras et al. 2020, "Analyzing and Improving the Image Quality of StyleGAN" ("StyleGAN2"), Sec. 3.1, 3.2 and
appendix B. R1 of every step is in ``step``.
"""

import dataclasses
import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax import Array, lax, random

from stylegen import ops
from stylegen.config import Config, LossConfig
from stylegen.networks.build import Params
from stylegen.runtime import sharding
from stylegen.training import augment, losses
from stylegen.training.draws import Augmentation, draw_augmentations, draw_styles, generate, prepare_batch, synthesize
from stylegen.training.freeze import without_frozen
from stylegen.training.micro_batches import WHOLE, Part, mean_over_parts
from stylegen.training.state import (
    TrainState,
    d_optimizer,
    g_optimizer,
    lazy_correction,
    path_correction,
    regularizes_lazily,
)
from stylegen.training.step import (
    Metrics,
    StepConfig,
    apply_gradients,
    apply_if_finite,
    is_finite,
    scores_and_penalties,
    step_keys,
)

KEY = 0x504C  # folded into the step's key, which the other steps split into a few


def regularization_steps(config: Config) -> dict[str, tuple[Callable[..., Any], int]]:
    """The steps that follow some training steps: by name, the function and every how many steps it is due."""
    steps: dict[str, tuple[Callable[..., Any], int]] = {}
    if regularizes_lazily(config):
        steps["regularize"] = regularize_step, config.loss.r1_interval
    if config.loss.pl_weight > 0:
        steps["path_length"] = path_length_step, config.loss.pl_interval
    return steps


def path_length_of(
    g: Params,
    state: TrainState,
    c: Array | None,
    alpha: Array,
    key: Array,
    n: int,
    *,
    static: StepConfig,
    resolution: int,
    part: Part = WHOLE,
) -> Array:
    """Path lengths [N] of the part's fakes, of a batch of n (StyleGAN2, Eq. 4); ``c`` is of the part."""
    network = static.networks.generator(g, state.noise_const)
    z_key, mix_key, noise_key, path_key = random.split(key, 4)
    ws, _ = draw_styles(network, static.config, z_key, mix_key, n, c, resolution, static.latent_sharding, part)
    rows, columns = static.config.shape_at(resolution)
    shape = (n, rows, columns, static.config.image_channels)
    directions = part.of(random.normal(path_key, shape)) / math.sqrt(rows * columns)
    return losses.path_lengths(
        lambda ws: synthesize(network, ws, resolution, alpha, noise_key, n, part), ws, directions
    )


def path_length_penalty(lengths: Array, pl_mean: Array, loss: LossConfig) -> tuple[Array, tuple[Array, Metrics]]:
    """The penalty of path lengths [N] for a step that stands for ``pl_interval`` steps (StyleGAN2, appendix B).

    Returns:
        (weighted mean penalty, (moving average of path lengths, metrics)). The average has this step's lengths in it
        already, and is a function of the weights to that small extent, as in the published code.
    """
    pl_mean = ops.step_toward(pl_mean, jnp.mean(lengths), loss.pl_decay)
    penalty = jnp.mean(jnp.square(lengths - pl_mean))
    metrics = {"Loss/pl_penalty": penalty, "Loss/path_length": jnp.mean(lengths)}
    return loss.pl_weight * loss.pl_interval * penalty, (pl_mean, metrics)


def path_length_gradients(
    lengths_of: Callable[[Params, Part], Array], g: Params, pl_mean: Array, loss: LossConfig, parts: int, devices: int
) -> tuple[Params, tuple[Array, Metrics]]:
    """Gradients of ``path_length_penalty`` by the generator's parameters, and what comes with the penalty.

    The penalty is not a mean over images, because the moving average is a function of all lengths. So of several parts
    the lengths come first, then the penalty's derivative by each of them, and then the parameters' share: a forward
    pass more.

    Args:
        lengths_of: parameters and part to the part's path lengths.
        g: the generator's parameters.
        pl_mean: moving average of path lengths before the step.
        loss: weight, interval and decay.
        parts: number of them.
        devices: that the batch is split over.
    """
    if parts == 1:
        gradient_of = jax.grad(lambda g: path_length_penalty(lengths_of(g, WHOLE), pl_mean, loss), has_aux=True)
        gradients: tuple[Params, tuple[Array, Metrics]] = gradient_of(g)
        return gradients
    lengths = lax.map(lambda i: lengths_of(g, Part(i, parts, devices)), jnp.arange(parts))
    by_length, rest = jax.grad(path_length_penalty, has_aux=True)(lengths.ravel(), pl_mean, loss)
    by_length = by_length.reshape(lengths.shape) * parts  # times their number, because the mean over parts follows

    def gradients_of(part: Part) -> tuple[Params, tuple[()]]:
        return jax.grad(lambda g: jnp.vdot(by_length[part.index], lengths_of(g, part)))(g), ()

    return mean_over_parts(gradients_of, parts, devices, like=g)[0], rest


def path_length_step(
    state: TrainState, images: Array, labels: Array, alpha: Array, learning_rate: Array, *, static: StepConfig
) -> tuple[TrainState, Metrics]:
    """The path-length step that follows every ``pl_interval``-th training step, after R1's; the clock stands still.

    Arguments and results are those of ``train_step``; of the images none but the shape is used, and of the labels as
    many as there are fakes, the batch's size divided by ``pl_batch_shrink``. A program of its own for the same reason
    as ``regularize_step``.
    """
    config, shrink = static.config, static.config.loss.pl_batch_shrink
    resolution = config.resolution_of(images.shape[1])
    key = random.fold_in(random.fold_in(state.key, state.nimg), KEY)
    # Every second label, say, and not the first half, which may all be on one device.
    c = jax.nn.one_hot(labels[::shrink], config.num_classes) if config.num_classes else None
    n = images.shape[0] // shrink
    assert state.pl_mean is not None

    def lengths_of(g: Params, part: Part) -> Array:
        return path_length_of(g, state, part.of(c), alpha, key, n, static=static, resolution=resolution, part=part)

    parts = sharding.path_parts(config, resolution, images.shape[0], static.devices)
    gradients, (pl_mean, metrics) = path_length_gradients(
        lengths_of, state.g, state.pl_mean, config.loss, parts, static.devices
    )
    gradients = without_frozen(gradients, "g", config.run.freeze)
    finite = is_finite(metrics) & jnp.isfinite(optax.tree.norm(gradients))
    learning_rate = learning_rate * path_correction(config)
    g, g_opt = apply_gradients(g_optimizer(config), gradients, state.g_opt, state.g, learning_rate)
    after = dataclasses.replace(state, g=g, g_opt=g_opt, pl_mean=pl_mean)
    state, metrics["Progress/skipped_path_length"] = apply_if_finite(finite, after, state)
    return state, metrics


def lazy_r1_loss(
    d: Params,
    images: Sequence[Array],
    c: Array | None,
    alpha: Array,
    *,
    static: "StepConfig",
    augmentations: Sequence[Augmentation] = (lambda x: x, lambda x: x),
) -> tuple[Array, Metrics]:
    """R1 (and R2) for a step that stands for ``r1_interval`` steps: (weighted mean loss, mean of each penalty).

    ``images`` and ``augmentations`` are as for ``scores_and_penalties``.
    """
    config = static.config
    score = functools.partial(static.networks.discriminator(d), c=c, alpha=alpha)
    _, penalties = scores_and_penalties(score, images, augmentations, losses.penalties(config.loss), config)
    means = {f"Loss/{name}_penalty": jnp.mean(penalty) for name, penalty in penalties.items()}
    return config.loss.r1_gamma / 2 * config.loss.r1_interval * functools.reduce(jnp.add, means.values()), means


def regularize_step(
    state: TrainState, images: Array, labels: Array, alpha: Array, learning_rate: Array, *, static: StepConfig
) -> tuple[TrainState, Metrics]:
    """The lazy R1 step that follows every ``r1_interval``-th training step, on the same batch; the clock stands still.

    R2, where the loss has it, is on fakes of its own, drawn with the generator that the training step left.

    Arguments and results are those of ``train_step``. It is a program of its own because XLA runs what is inside a
    conditional slowly on a CPU: the penalty of 32 images of 16 pixels took 2.9 s there, and 0.14 s by itself.
    """
    config = static.config
    *_, key = step_keys(state)
    p = augment.strength(state.augment, state.nimg, config.augment)
    has_r2, n = "r2" in losses.penalties(config.loss), images.shape[0]
    resolution = config.resolution_of(images.shape[1])
    # The key without the draws of augmentations, which each part draws again: it mirrors the reals.
    rest_key, _ = draw_augmentations(key, p, images.shape, 2 if has_r2 else 1, config)
    reals, c = prepare_batch(images, labels, alpha, rest_key, config)

    def gradients_of(part: Part) -> tuple[Params, Metrics]:
        batch, part_c = [part.of(reals)], part.of(c)
        _, augmentations = draw_augmentations(key, p, batch[0].shape, 2 if has_r2 else 1, config, part)
        if has_r2:
            network, fake_key = static.networks.generator(state.g, state.noise_const), random.fold_in(rest_key, 1)
            fakes = generate(network, config, fake_key, n, part_c, resolution, alpha, static.latent_sharding, part)[0]
            batch.append(fakes)
        return jax.grad(lazy_r1_loss, has_aux=True)(
            state.d, batch, part_c, alpha, static=static, augmentations=augmentations
        )

    parts = static.parts(n, resolution)
    gradients, metrics = mean_over_parts(gradients_of, parts, static.devices, like=state.d)
    gradients = without_frozen(gradients, "d", config.run.freeze)
    finite = is_finite(metrics) & jnp.isfinite(optax.tree.norm(gradients))
    learning_rate = learning_rate * lazy_correction(config)
    d, d_opt = apply_gradients(d_optimizer(config), gradients, state.d_opt, state.d, learning_rate)
    state, metrics["Progress/skipped_r1"] = apply_if_finite(finite, dataclasses.replace(state, d=d, d_opt=d_opt), state)
    return state, metrics
