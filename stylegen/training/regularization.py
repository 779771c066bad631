"""Steps that follow some of the training steps: path-length regularization, and which such steps there are.

Karras et al. 2020, "Analyzing and Improving the Image Quality of StyleGAN" ("StyleGAN2"), Sec. 3.2 and appendix B. Lazy
R1 is in ``train_step``, beside the R1 of every step.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax import Array, random

from stylegen import ops
from stylegen.config import Config
from stylegen.training import losses
from stylegen.training.freeze import without_frozen
from stylegen.training.state import Params, TrainState, g_optimizer, path_correction, regularizes_lazily
from stylegen.training.step import Metrics, Static, descend, draw_styles, is_finite, or_as_before, regularize_step

KEY = 0x504C  # folded into the step's key, which the other steps split into a few


def lazy_steps(config: Config) -> dict[str, tuple[Callable[..., Any], int]]:
    """The steps that follow some training steps: by name, the function and every how many steps it is due."""
    found: dict[str, tuple[Callable[..., Any], int]] = {}
    if regularizes_lazily(config):
        found["regularize"] = regularize_step, config.loss.r1_interval
    if config.loss.pl_weight > 0:
        found["path_length"] = path_length_step, config.loss.pl_interval
    return found


def path_length_loss(
    g: Params,
    state: TrainState,
    c: Array | None,
    alpha: Array,
    key: Array,
    n: int,
    *,
    static: Static,
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
    shape = (n, resolution, resolution, static.config.image_channels)
    assert state.pl_mean is not None
    lengths = losses.path_lengths(draw, ws, random.normal(path_key, shape) / resolution)
    pl_mean = ops.lerp(state.pl_mean, jnp.mean(lengths), loss.pl_decay)
    penalty = jnp.mean(jnp.square(lengths - pl_mean))
    metrics = {"Loss/pl_penalty": penalty, "Loss/path_length": jnp.mean(lengths)}
    return loss.pl_weight * loss.pl_interval * penalty, (pl_mean, metrics)


def path_length_step(
    state: TrainState, images: Array, labels: Array, alpha: Array, learning_rate: Array, *, static: Static
) -> tuple[TrainState, Metrics]:
    """The path-length step that follows every ``pl_interval``-th training step, after R1's; the clock stands still.

    Arguments and results are those of ``train_step``; of the images none but the shape is used, and of the labels as
    many as there are fakes, the batch's size divided by ``pl_batch_shrink``. A program of its own for the same reason
    as ``regularize_step``.
    """
    config, shrink, resolution = static.config, static.config.loss.pl_batch_shrink, images.shape[1]
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
    g, g_opt = descend(g_optimizer(config), gradients, state.g_opt, state.g, learning_rate)
    after = dataclasses.replace(state, g=g, g_opt=g_opt, pl_mean=pl_mean)
    state, metrics["Progress/skipped_path_length"] = or_as_before(finite, after, state)
    return state, metrics
