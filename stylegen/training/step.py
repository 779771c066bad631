"""Everything that is jitted during training: one pure function per training step.

The order is the original's (StyleGAN, Karras et al. 2019, code): moving average of the generator, discriminator step,
generator step, each with latents and noise of its own. Images have the stage's own resolution, for which
``losses.scores_and_penalty`` corrects the gradient penalties.
"""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array, random

from stylegen import ops
from stylegen.config import Config
from stylegen.networks.build import Networks, Params
from stylegen.runtime import sharding
from stylegen.runtime.compilation import at_precision, compiler_options
from stylegen.training import augment, losses, power_ema
from stylegen.training.draws import Augmentation, draw_augmentations, generate, prepare_batch
from stylegen.training.freeze import with_frozen, without_frozen
from stylegen.training.micro_batches import WHOLE, Part, mean_over_parts
from stylegen.training.state import TrainState, d_optimizer, g_optimizer, lazy_correction, path_correction

Metrics = dict[str, Array]  # scalars, float32, by log key


def update_w_avg(w_avg: Array, w: Array, beta: float) -> Array:
    """Running mean of w [w_dim], moved toward the mean of a batch [N, w_dim]."""
    return ops.step_toward(jnp.mean(w, axis=0), w_avg, beta)


def ema_beta(batch_size: int, ema_kimg: float, rampup: float | None = None, nimg: Array | int = 0) -> Array | float:
    """Decay of the moving average for a step of ``batch_size`` images, from its half-life in kimg.

    With ``rampup`` the half-life is at most ``rampup`` times ``nimg``, the images shown before the step. The average of
    a young run then forgets the first, random generator (StyleGAN2-ADA's published code).
    """
    if ema_kimg == 0:
        return 0.0
    if rampup is None:
        return 0.5 ** (batch_size / (ema_kimg * 1000))
    half_life = jnp.minimum(ema_kimg * 1000, rampup * jnp.asarray(nimg, jnp.float32))
    return jnp.exp2(-batch_size / jnp.maximum(half_life, 1e-8))


def update_power_ema(state: TrainState, batch_size: int, config: Config) -> tuple[Params, ...]:
    """The power-function averages after a step of ``batch_size`` images, in which the generator was ``state.g``."""
    assert state.power_ema is not None
    averages = []
    for std, average in zip(config.optimizer.power_ema, state.power_ema, strict=True):
        stays = power_ema.beta(state.nimg, batch_size, power_ema.gamma_of(std))
        averages.append(jax.tree.map(lambda p, e, t=stays: ops.step_toward(p, e, t), state.g, average))
    return tuple(averages)


def generator_loss(
    g: Params,
    state: TrainState,
    c: Array | None,
    alpha: Array,
    key: Array,
    reals: Array,
    *,
    static: "StepConfig",
    part: Part = WHOLE,
) -> tuple[Array, Array]:
    """Mean generator loss of as many fakes as there are reals [N, r, r, C], and their w [N, w_dim].

    Only a relativistic loss uses the reals: it pairs each with the fake of the same place in the batch. ``reals`` and
    ``c`` are those of the part.
    """
    config, network = static.config, static.networks.generator(g, state.noise_const)
    n, resolution = part.whole(reals.shape)[0], static.config.resolution_of(reals.shape[1])
    loss = losses.LOSSES[config.loss.name]
    p = augment.strength(state.augment, state.nimg, config.augment)
    key, augmentations = draw_augmentations(key, p, reals.shape, 2 if loss.relativistic else 1, config, part)
    fakes, w = generate(network, config, key, n, c, resolution, alpha, static.latent_sharding, part)
    score = functools.partial(static.networks.discriminator(state.d), c=c, alpha=alpha)
    augment_fakes, *augment_reals = augmentations
    real_scores = [score(transform(reals)) for transform in augment_reals]
    return jnp.mean(loss.generator(*real_scores, score(augment_fakes(fakes)))), w


def discriminator_loss(
    d: Params,
    reals: Array,
    fakes: Array,
    c: Array | None,
    alpha: Array,
    key: Array,
    *,
    static: "StepConfig",
    p: Array | None = None,
    part: Part = WHOLE,
) -> tuple[Array, Metrics]:
    """Mean adversarial loss with the penalties of every step; lazy R1 is a step of its own.

    ``reals``, ``fakes`` and ``c`` are those of the part.

    With a strength p, reals and fakes are augmented. R1 differentiates augmentation and discriminator as one function,
    by the unaugmented images, as the code of ADA's authors does; their paper leaves it open. WGAN-GP blends augmented
    reals with augmented fakes.
    """
    config = static.config
    network = static.networks.discriminator(d)
    score = functools.partial(network, c=c, alpha=alpha)
    key, augmentations = draw_augmentations(key, p, reals.shape, 2, config, part)
    penalized = losses.penalties(config.loss) if config.loss.r1_interval == 1 else ()
    (real_scores, fake_scores), penalties = scores_and_penalties(
        score, (reals, fakes), augmentations, penalized, config
    )
    loss = losses.LOSSES[config.loss.name].discriminator(real_scores, fake_scores)
    metrics = {"Loss/scores/real": jnp.mean(real_scores), "Loss/scores/fake": jnp.mean(fake_scores)}
    if config.loss.name != "wgan_gp":  # its scores have no zero; a relativistic loss has it between the two of a pair
        margin = real_scores - fake_scores if losses.LOSSES[config.loss.name].relativistic else real_scores
        metrics["Loss/signs/real"] = jnp.mean(jnp.sign(margin))
    if p is not None:
        metrics["Progress/augment"] = p
    if config.loss.name == "wgan_gp":
        mix = part.of(random.uniform(key, part.whole(reals.shape)[:1]))
        augment_reals, augment_fakes = augmentations
        rows, _ = config.shape_at(config.resolution)
        penalty = losses.gradient_penalty(score, augment_reals(reals), augment_fakes(fakes), mix, rows)
        loss = loss + config.loss.wgan_lambda * penalty + config.loss.wgan_epsilon * jnp.square(real_scores)
        metrics["Loss/gradient_penalty"] = jnp.mean(penalty)
    for name, penalty in penalties.items():
        loss = loss + config.loss.r1_gamma / 2 * penalty
        metrics[f"Loss/{name}_penalty"] = jnp.mean(penalty)
    metrics["Loss/D/loss"] = jnp.mean(loss)
    return metrics["Loss/D/loss"], metrics


def scores_and_penalties(
    score: losses.Score,
    images: Sequence[Array],
    augmentations: Sequence[Augmentation],
    penalized: Sequence[str],
    config: Config,
) -> tuple[list[Array], dict[str, Array]]:
    """Scores [N] of each of ``images``, and by name the penalty [N] of the first ones, from one pass.

    Reals come first, then fakes, each with its augmentation, as in ``discriminator_loss``.
    """
    scores, penalties = [], {}
    for i, (batch, transform) in enumerate(zip(images, augmentations, strict=False)):

        def augmented_score(x: Array, transform: Augmentation = transform) -> Array:
            return score(transform(x))

        if i < len(penalized):
            rows, _ = config.shape_at(config.resolution)
            batch_scores, penalties[penalized[i]] = losses.scores_and_penalty(augmented_score, batch, rows)
        else:
            batch_scores = augmented_score(batch)
        scores.append(batch_scores)
    return scores, penalties


@dataclasses.dataclass(frozen=True, eq=False)
class StepConfig:
    """The static arguments of a compiled step. Compared by identity: make one per run."""

    config: Config
    networks: Networks
    latent_sharding: Any = None  # of latents [2, N, z_dim], where the batch is split over devices

    @property
    def devices(self) -> int:
        """Devices that the batch is split over."""
        return 1 if self.latent_sharding is None else self.latent_sharding.mesh.size

    def parts(self, n: int, resolution: int) -> int:
        """Parts that a batch of n images is computed in; see ``run.micro_batch``."""
        return sharding.parts(self.config, resolution, n, self.devices)


def apply_gradients(
    optimizer: optax.GradientTransformation, gradients: Params, opt_state: Any, params: Params, learning_rate: Array
) -> tuple[Params, Any]:
    """A step against the gradients: (new parameters, new state of the optimizer)."""
    updates, opt_state = optimizer.update(gradients, opt_state, params)
    return jax.tree.map(lambda p, u: p - learning_rate * u, params, updates), opt_state


def apply_if_finite(finite: Array, after: TrainState, before: TrainState) -> tuple[TrainState, Array]:
    """Apply the update only if all losses and gradients are finite.

    The choice is made leaf by leaf, because code inside an XLA conditional is slow on a CPU. Clock, key and constant
    noise are those of ``after`` in any case.

    Returns:
        (state, 1 if the step was skipped, else 0).
    """
    fields = {field.name: getattr(after, field.name) for field in dataclasses.fields(after)}
    updated = {name: value for name, value in fields.items() if name not in ("nimg", "key", "noise_const")}
    previous = {name: getattr(before, name) for name in updated}
    selected = jax.tree.map(lambda a, b: jnp.where(finite, a, b), updated, previous)
    return dataclasses.replace(after, **selected), 1 - finite.astype(jnp.float32)


def is_finite(metrics: Metrics) -> Array:
    """Whether all of them are finite numbers."""
    return functools.reduce(jnp.logical_and, [jnp.isfinite(value) for value in metrics.values()])


def update_discriminator(
    state: TrainState, reals: Array, c: Array | None, alpha: Array, learning_rate: Array, key: Array, static: StepConfig
) -> tuple[TrainState, Metrics]:
    """One discriminator step on reals [N, r, r, C] and as many fresh fakes."""
    config, n, resolution = static.config, reals.shape[0], static.config.resolution_of(reals.shape[1])
    fake_key, penalty_key = random.split(key)
    network = static.networks.generator(state.g, state.noise_const)
    p = augment.strength(state.augment, state.nimg, config.augment)

    def gradients_of(part: Part) -> tuple[Params, tuple[Metrics, Array]]:
        part_reals, part_c = part.of(reals), part.of(c)
        fakes, w = generate(network, config, fake_key, n, part_c, resolution, alpha, static.latent_sharding, part)
        gradients, metrics = jax.grad(discriminator_loss, has_aux=True)(
            state.d, part_reals, fakes, part_c, alpha, penalty_key, static=static, p=p, part=part
        )
        return gradients, (metrics, w)

    parts = static.parts(n, resolution)
    gradients, (metrics, w) = mean_over_parts(gradients_of, parts, static.devices, like=state.d)
    gradients = without_frozen(gradients, "d", config.run.freeze)
    metrics["Doctor/gradient_norm/D"] = optax.tree.norm(gradients)
    learning_rate = learning_rate * lazy_correction(config)
    d, d_opt = apply_gradients(d_optimizer(config), gradients, state.d_opt, state.d, learning_rate)
    w_avg = update_w_avg(state.w_avg, w, config.generator.w_avg_beta)
    return dataclasses.replace(state, d=d, d_opt=d_opt, w_avg=w_avg), metrics


def update_generator(
    state: TrainState,
    reals: Array,
    c: Array | None,
    alpha: Array,
    learning_rate: Array,
    key: Array,
    static: StepConfig,
) -> tuple[TrainState, Metrics]:
    """One generator step on as many fresh fakes as there are reals [N, r, r, C]."""
    config = static.config

    def gradients_of(part: Part) -> tuple[Params, tuple[Array, Array]]:
        value, gradients = jax.value_and_grad(generator_loss, has_aux=True)(
            state.g, state, part.of(c), alpha, key, part.of(reals), static=static, part=part
        )
        return gradients, value

    parts = static.parts(reals.shape[0], static.config.resolution_of(reals.shape[1]))
    gradients, (loss, w) = mean_over_parts(gradients_of, parts, static.devices, like=state.g)
    learning_rate = learning_rate * path_correction(config)
    gradients = without_frozen(gradients, "g", config.run.freeze)
    metrics = {"Loss/G/loss": loss, "Doctor/gradient_norm/G": optax.tree.norm(gradients)}
    g, g_opt = apply_gradients(g_optimizer(config), gradients, state.g_opt, state.g, learning_rate)
    w_avg = update_w_avg(state.w_avg, w, config.generator.w_avg_beta)
    return dataclasses.replace(state, g=g, g_opt=g_opt, w_avg=w_avg), metrics


def train_step(
    state: TrainState, images: Array, labels: Array, alpha: Array, learning_rate: Array, *, static: StepConfig
) -> tuple[TrainState, Metrics]:
    """One step: moving average, discriminator, generator; the clock advances by the batch.

    Where a loss or a gradient is not finite, the step is skipped, but the clock advances: the data goes on.

    Args:
        state: before the step.
        images: uint8 [N, r, r, C], r the stage's resolution; neighbors share a minibatch-std group.
        labels: int32 [N], class of each image; not used by an unconditional network.
        alpha: float32 scalar, weight of the newest block.
        learning_rate: float32 scalar.
        static: configuration and network structure.

    Returns:
        (state after the step, metrics); the metric ``Progress/skipped`` is 1 where the step was skipped.
    """
    config, n, before = static.config, images.shape[0], state
    reals_key, d_key, g_key, _ = step_keys(state)
    reals, c = prepare_batch(images, labels, alpha, reals_key, config)
    # The average includes the generator before this step: the original updates it with the discriminator's step.
    # An average that was taken from another run is not to be forgotten as that of a random generator is.
    rampup = None if config.run.init_from else config.optimizer.ema_rampup
    beta = ema_beta(n, config.optimizer.ema_kimg, rampup, state.nimg)
    g_ema = jax.tree.map(lambda p, e: ops.step_toward(p, e, beta), state.g, state.g_ema)
    state = dataclasses.replace(state, g_ema=with_frozen(g_ema, state.g_ema, "g", config.run.freeze))
    if state.power_ema is not None:
        state = dataclasses.replace(state, power_ema=update_power_ema(state, n, config))
    state, d_metrics = update_discriminator(state, reals, c, alpha, learning_rate, d_key, static)
    # The batch's labels are reused: they are a draw from the data's classes. The original makes another draw.
    state, g_metrics = update_generator(state, reals, c, alpha, learning_rate, g_key, static)
    if state.augment is not None:
        controller = augment.adjust(state.augment, d_metrics["Loss/signs/real"], n, config.augment)
        state = dataclasses.replace(state, augment=controller)
    metrics = d_metrics | g_metrics
    state, metrics["Progress/skipped"] = apply_if_finite(is_finite(metrics), state, before)
    return dataclasses.replace(state, nimg=state.nimg + n), metrics


def step_keys(state: TrainState) -> Array:
    """Keys for the reals, the discriminator's half, the generator's half, and the lazy R1 step that comes before."""
    return random.split(random.fold_in(state.key, state.nimg), 4)


def reset_optimizers(state: TrainState) -> TrainState:
    """Forget Adam's moments, as the original does where a fade begins and where it ends.

    The zeros come from the host: a program that makes them would have to be compiled, for 7 s, just where training
    grows.
    """
    g_opt, d_opt = jax.tree.map(lambda moment: np.zeros(moment.shape, moment.dtype), (state.g_opt, state.d_opt))
    return dataclasses.replace(state, g_opt=g_opt, d_opt=d_opt)


def jit_step(step: Callable[..., Any], static: StepConfig, replicated: Any, split: Any) -> Any:
    """A step, of every batch or of ``regularization``, jitted: state donated and replicated, images and labels split.

    Alpha, learning rate and the batch's contents are traced: there is one program per resolution and batch size.
    Products and convolutions have the precision that the configuration names.
    """
    return jax.jit(
        functools.partial(at_precision(static.config.precision)(step), static=static),
        donate_argnums=0,
        in_shardings=(replicated, split, split, replicated, replicated),
        out_shardings=(replicated, replicated),
        compiler_options=compiler_options(),
    )
