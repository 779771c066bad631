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
from jax import Array, random

from stylegen import ops
from stylegen.config import Config
from stylegen.networks.build import Params
from stylegen.training import augment, losses
from stylegen.training.freeze import without_frozen
from stylegen.training.state import (
    TrainState,
    d_optimizer,
    g_optimizer,
    lazy_correction,
    path_correction,
    regularizes_lazily,
)
from stylegen.training.step import (
    Augmentation,
    Metrics,
    StepConfig,
    apply_gradients,
    apply_if_finite,
    draw_augmentations,
    draw_styles,
    generate,
    is_finite,
    prepare_batch,
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


def path_length_loss(
    g: Params,
    state: TrainState,
    c: Array | None,
    alpha: Array,
    key: Array,
    n: int,
    *,
    static: StepConfig,
    resolution: int,
) -> tuple[Array, tuple[Array, Metrics]]:
    """Path-length regularization for a step that stands for ``pl_interval`` steps (StyleGAN2, Eq. 4 and appendix B).

    Returns:
        (weighted mean penalty of n fakes, (moving average of path lengths, metrics)). The average has this step's
        lengths in it already, and is a function of the weights to that small extent, as in the published code.
    """
    loss, network = static.config.loss, static.networks.generator(g, state.noise_const)
    z_key, mix_key, noise_key, path_key = random.split(key, 4)
    ws, _ = draw_styles(network, static.config, z_key, mix_key, n, c, resolution, static.latent_sharding)
    draw = functools.partial(network.synthesis, resolution=resolution, alpha=alpha, noise="random", key=noise_key)
    rows, columns = static.config.shape_at(resolution)
    shape = (n, rows, columns, static.config.image_channels)
    assert state.pl_mean is not None
    lengths = losses.path_lengths(draw, ws, random.normal(path_key, shape) / math.sqrt(rows * columns))
    pl_mean = ops.step_toward(state.pl_mean, jnp.mean(lengths), loss.pl_decay)
    penalty = jnp.mean(jnp.square(lengths - pl_mean))
    metrics = {"Loss/pl_penalty": penalty, "Loss/path_length": jnp.mean(lengths)}
    return loss.pl_weight * loss.pl_interval * penalty, (pl_mean, metrics)


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
    gradients, (pl_mean, metrics) = jax.grad(path_length_loss, has_aux=True)(
        state.g, state, c, alpha, key, n, static=static, resolution=resolution
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
    key, augmentations = draw_augmentations(
        key, p, images.shape, 2 if "r2" in losses.penalties(config.loss) else 1, config
    )
    reals, c = prepare_batch(images, labels, alpha, key, config)
    batch = [reals]
    if "r2" in losses.penalties(config.loss):
        network, n = static.networks.generator(state.g, state.noise_const), images.shape[0]
        resolution = config.resolution_of(images.shape[1])
        fake_key = random.fold_in(key, 1)  # the key itself mirrors the reals
        batch.append(generate(network, config, fake_key, n, c, resolution, alpha, static.latent_sharding)[0])
    gradients, metrics = jax.grad(lazy_r1_loss, has_aux=True)(
        state.d, batch, c, alpha, static=static, augmentations=augmentations
    )
    gradients = without_frozen(gradients, "d", config.run.freeze)
    finite = is_finite(metrics) & jnp.isfinite(optax.tree.norm(gradients))
    learning_rate = learning_rate * lazy_correction(config)
    d, d_opt = apply_gradients(d_optimizer(config), gradients, state.d_opt, state.d, learning_rate)
    state, metrics["Progress/skipped_r1"] = apply_if_finite(finite, dataclasses.replace(state, d=d, d_opt=d_opt), state)
    return state, metrics
