"""Everything that is jitted during training: one pure function per training step.

The order is the original's (StyleGAN, Karras et al. 2019, code): moving average of the generator, discriminator step,
generator step, each with latents and noise of its own. Images are at the stage's own resolution; see
``losses.r1_penalty`` for what that means for the gradient penalty.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array, lax, random

from stylegen import augment, losses, ops
from stylegen.compiling import compiler_options
from stylegen.config import Config
from stylegen.generator import GeneratorNetwork, broadcast_styles, num_styles
from stylegen.state import Networks, Params, TrainState, d_optimizer, g_optimizer, lazy_correction

Metrics = dict[str, Array]  # scalars, float32, by log key


def prepare_reals(images: Array, alpha: Array, mirror: bool, key: Array) -> Array:
    """Uint8 [N, r, r, C] to what the discriminator sees: scaled to [-1, 1], half of them mirrored if asked, faded."""
    reals = ops.to_float(images)
    if mirror:
        flip = random.bernoulli(key, 0.5, (reals.shape[0], 1, 1, 1))
        reals = jnp.where(flip, reals[:, :, ::-1], reals)
    return ops.fade(reals, alpha)


def mix_styles(w: Array, w_mix: Array, key: Array, layers: int, probability: float) -> Array:
    """Style mixing regularization (StyleGAN, Sec. 3.1).

    With the given probability the batch switches from w to w_mix at a random layer, one for the whole batch, drawn
    among the active layers only.

    Args:
        w: [N, w_dim].
        w_mix: [N, w_dim].
        key: of the draw.
        layers: number of active layers.
        probability: of switching at all.

    Returns:
        ws [N, layers, w_dim].
    """
    chance_key, layer_key = random.split(key)
    switch = random.randint(layer_key, (), 1, layers)
    switch = jnp.where(random.bernoulli(chance_key, probability), switch, layers)
    keep = jnp.arange(layers) < switch
    return jnp.where(keep[None, :, None], broadcast_styles(w, layers), broadcast_styles(w_mix, layers))


def update_w_avg(w_avg: Array, w: Array, beta: float) -> Array:
    """Running mean of w [w_dim], moved towards the mean of a batch [N, w_dim]."""
    return ops.lerp(jnp.mean(w, axis=0), w_avg, beta)


def ema_beta(batch_size: int, ema_kimg: float) -> float:
    """Decay of the moving average for a step of ``batch_size`` images, from its half-life in kimg."""
    return 0.5 ** (batch_size / (ema_kimg * 1000)) if ema_kimg > 0 else 0.0


def generate(
    network: GeneratorNetwork,
    config: Config,
    key: Array,
    n: int,
    c: Array | None,
    resolution: int,
    alpha: Array,
    latent_sharding: Any = None,
) -> tuple[Array, Array]:
    """Fakes as training draws them: with style mixing and fresh noise.

    Returns:
        (images [N, r, r, C], w [N, w_dim]); w, of each image's first latent, is what the running mean is of.
    """
    z_key, mix_key, noise_key = random.split(key, 3)
    latents = random.normal(z_key, (2, n, config.generator.z_dim))
    if latent_sharding is not None:
        # Without being told, the compiler would draw all fakes on every device.
        latents = lax.with_sharding_constraint(latents, latent_sharding)
    z, z_mix = latents
    layers = num_styles(resolution)
    w = network.mapping(z, c)
    if config.generator.style_mixing_prob > 0:
        ws = mix_styles(w, network.mapping(z_mix, c), mix_key, layers, config.generator.style_mixing_prob)
    else:
        ws = broadcast_styles(w, layers)
    images = network.synthesis(ws, resolution=resolution, alpha=alpha, noise="random", key=noise_key)
    return images, w


def generator_loss(
    g: Params,
    state: TrainState,
    c: Array | None,
    alpha: Array,
    key: Array,
    n: int,
    *,
    static: "Static",
    resolution: int,
) -> tuple[Array, Array]:
    """Mean generator loss of n fakes, and their w [N, w_dim]."""
    network = static.networks.generator(g, state.noise_const)
    p = augment.strength(state.augment, state.nimg, static.config.augment)
    key, (see,) = _augmentations(key, p, (n, resolution, resolution, static.config.image_channels), 1, static.config)
    fakes, w = generate(network, static.config, key, n, c, resolution, alpha, static.latent_sharding)
    fakes = see(fakes)
    scores = static.networks.discriminator(state.d)(fakes, c, alpha=alpha)
    return jnp.mean(losses.LOSSES[static.config.loss.name].generator(scores)), w


def _augmentations(
    key: Array, p: Array | None, shape: tuple[int, ...], count: int, config: Config
) -> tuple[Array, list[Callable[[Array], Array]]]:
    """Random augmentations of images [N, r, r, C], and the key for what else is random; with p None, identities."""
    if p is None:
        return key, [lambda images: images] * count
    key, augment_key = random.split(key)
    draws = augment.draw(augment_key, (count, *shape), config.augment)
    parts = [jax.tree.map(lambda numbers, i=i: numbers[i], draws) for i in range(count)]
    return key, [functools.partial(augment.transform, p=p, draws=part, config=config.augment) for part in parts]


def discriminator_loss(
    d: Params,
    reals: Array,
    fakes: Array,
    c: Array | None,
    alpha: Array,
    key: Array,
    *,
    static: "Static",
    p: Array | None = None,
) -> tuple[Array, Metrics]:
    """Mean adversarial loss with the penalties that belong to every step; R1 is apart when it is lazy.

    With a strength p, reals and fakes are augmented. R1 is of the discriminator and the augmentation before it as one
    function, by the images as they were, as in the code of ADA's authors; their paper leaves it open. WGAN-GP blends
    augmented reals with augmented fakes.
    """
    config = static.config
    network = static.networks.discriminator(d)
    score = functools.partial(network, c=c, alpha=alpha)
    key, (see_reals, see_fakes) = _augmentations(key, p, reals.shape, 2, config)
    fakes = see_fakes(fakes)
    real_scores, fake_scores = score(see_reals(reals)), score(fakes)
    loss = losses.LOSSES[config.loss.name].discriminator(real_scores, fake_scores)
    metrics = {"Loss/scores/real": jnp.mean(real_scores), "Loss/scores/fake": jnp.mean(fake_scores)}
    if config.loss.name != "wgan_gp":  # whose scores have no zero
        metrics["Loss/signs/real"] = jnp.mean(jnp.sign(real_scores))
    if p is not None:
        metrics["Progress/augment"] = p
    if config.loss.name == "wgan_gp":
        mix = random.uniform(key, (reals.shape[0],))
        penalty = losses.gradient_penalty(score, see_reals(reals), fakes, mix, config.resolution)
        loss = loss + config.loss.wgan_lambda * penalty + config.loss.wgan_epsilon * jnp.square(real_scores)
        metrics["Loss/gradient_penalty"] = jnp.mean(penalty)
    elif config.loss.r1_gamma > 0 and config.loss.r1_interval == 1:
        penalty = losses.r1_penalty(lambda x: score(see_reals(x)), reals, config.resolution)
        loss = loss + config.loss.r1_gamma / 2 * penalty
        metrics["Loss/r1_penalty"] = jnp.mean(penalty)
    metrics["Loss/D/loss"] = jnp.mean(loss)
    return metrics["Loss/D/loss"], metrics


def lazy_r1_loss(
    d: Params,
    reals: Array,
    c: Array | None,
    alpha: Array,
    *,
    static: "Static",
    see: Callable[[Array], Array] = lambda images: images,
) -> tuple[Array, Array]:
    """R1 for a step that stands for ``r1_interval`` steps: (weighted mean loss, mean penalty).

    ``see`` is the augmentation, which R1 goes through as in ``discriminator_loss``.
    """
    config = static.config
    score = functools.partial(static.networks.discriminator(d), c=c, alpha=alpha)
    penalty = jnp.mean(losses.r1_penalty(lambda x: score(see(x)), reals, config.resolution))
    return config.loss.r1_gamma / 2 * config.loss.r1_interval * penalty, penalty


@dataclasses.dataclass(frozen=True, eq=False)
class Static:
    """What a compiled step is specialised to. Compared by identity: make one per run."""

    config: Config
    networks: Networks
    latent_sharding: Any = None  # of latents [2, N, z_dim], where the batch is split over devices


def _descend(
    optimizer: optax.GradientTransformation, gradients: Params, opt_state: Any, params: Params, learning_rate: Array
) -> tuple[Params, Any]:
    updates, opt_state = optimizer.update(gradients, opt_state, params)
    return jax.tree.map(lambda p, u: p - learning_rate * u, params, updates), opt_state


def update_discriminator(
    state: TrainState, reals: Array, c: Array | None, alpha: Array, learning_rate: Array, key: Array, static: Static
) -> tuple[TrainState, Metrics]:
    """One discriminator step on reals [N, r, r, C] and as many fresh fakes."""
    config, n, resolution = static.config, reals.shape[0], reals.shape[1]
    fake_key, penalty_key = random.split(key)
    network = static.networks.generator(state.g, state.noise_const)
    fakes, w = generate(network, config, fake_key, n, c, resolution, alpha, static.latent_sharding)
    p = augment.strength(state.augment, state.nimg, config.augment)
    gradients, metrics = jax.grad(discriminator_loss, has_aux=True)(
        state.d, reals, fakes, c, alpha, penalty_key, static=static, p=p
    )
    learning_rate = learning_rate * lazy_correction(config)
    d, d_opt = _descend(d_optimizer(config), gradients, state.d_opt, state.d, learning_rate)
    w_avg = update_w_avg(state.w_avg, w, config.generator.w_avg_beta)
    return dataclasses.replace(state, d=d, d_opt=d_opt, w_avg=w_avg), metrics


def update_generator(
    state: TrainState,
    c: Array | None,
    alpha: Array,
    learning_rate: Array,
    key: Array,
    n: int,
    resolution: int,
    static: Static,
) -> tuple[TrainState, Metrics]:
    """One generator step on n fresh fakes."""
    config = static.config
    (loss, w), gradients = jax.value_and_grad(generator_loss, has_aux=True)(
        state.g, state, c, alpha, key, n, static=static, resolution=resolution
    )
    g, g_opt = _descend(g_optimizer(config), gradients, state.g_opt, state.g, learning_rate)
    w_avg = update_w_avg(state.w_avg, w, config.generator.w_avg_beta)
    return dataclasses.replace(state, g=g, g_opt=g_opt, w_avg=w_avg), {"Loss/G/loss": loss}


def train_step(
    state: TrainState, images: Array, labels: Array, alpha: Array, learning_rate: Array, *, static: Static
) -> tuple[TrainState, Metrics]:
    """One step: moving average, discriminator, generator; the clock advances by the batch.

    Args:
        state: before the step.
        images: uint8 [N, r, r, C], r the stage's resolution; neighbours share a minibatch-std group.
        labels: int32 [N], class of each image; not used by an unconditional network.
        alpha: float32 scalar, weight of the newest block.
        learning_rate: float32 scalar.
        static: configuration and network structure.

    Returns:
        (state after the step, metrics).
    """
    config, n, resolution = static.config, images.shape[0], images.shape[1]
    reals_key, d_key, g_key, _ = _step_keys(state)
    reals, c = _prepare(images, labels, alpha, reals_key, config)
    # The average takes in the generator as it was before this step: the original runs it with the discriminator's step.
    beta = ema_beta(n, config.optimizer.ema_kimg)
    state = dataclasses.replace(state, g_ema=jax.tree.map(lambda e, p: ops.lerp(p, e, beta), state.g_ema, state.g))
    state, d_metrics = update_discriminator(state, reals, c, alpha, learning_rate, d_key, static)
    # The batch's labels serve here too: they are a draw from the data's classes, where the original makes another.
    state, g_metrics = update_generator(state, c, alpha, learning_rate, g_key, n, resolution, static)
    if state.augment is not None:
        controller = augment.adjust(state.augment, d_metrics["Loss/signs/real"], n, config.augment)
        state = dataclasses.replace(state, augment=controller)
    return dataclasses.replace(state, nimg=state.nimg + n), d_metrics | g_metrics


def regularizes_lazily(config: Config) -> bool:
    """Whether R1 is a step of its own."""
    return config.loss.name == "logistic" and config.loss.r1_gamma > 0 and config.loss.r1_interval > 1


def regularize_step(
    state: TrainState, images: Array, labels: Array, alpha: Array, learning_rate: Array, *, static: Static
) -> tuple[TrainState, Metrics]:
    """The lazy R1 step that follows every ``r1_interval``-th training step, on the same batch; the clock stands still.

    Arguments and results are those of ``train_step``. It is a program of its own because XLA runs what is inside a
    conditional slowly on a CPU: the penalty of 32 images of 16 pixels took 2.9 s there, and 0.14 s by itself.
    """
    config = static.config
    *_, key = _step_keys(state)
    p = augment.strength(state.augment, state.nimg, config.augment)
    key, (see,) = _augmentations(key, p, images.shape, 1, config)
    reals, c = _prepare(images, labels, alpha, key, config)
    gradients, penalty = jax.grad(lazy_r1_loss, has_aux=True)(state.d, reals, c, alpha, static=static, see=see)
    learning_rate = learning_rate * lazy_correction(config)
    d, d_opt = _descend(d_optimizer(config), gradients, state.d_opt, state.d, learning_rate)
    return dataclasses.replace(state, d=d, d_opt=d_opt), {"Loss/r1_penalty": penalty}


def _step_keys(state: TrainState) -> Array:
    """Keys for the reals, the discriminator's half, the generator's half, and the lazy R1 step that comes before."""
    return random.split(random.fold_in(state.key, state.nimg), 4)


def _prepare(images: Array, labels: Array, alpha: Array, key: Array, config: Config) -> tuple[Array, Array | None]:
    """A batch as the networks take it: (reals [N, r, r, C], one-hot labels [N, c_dim] or None)."""
    c = jax.nn.one_hot(labels, config.num_classes) if config.num_classes else None
    return prepare_reals(images, alpha, config.data.mirror, key), c


def reset_optimizers(state: TrainState) -> TrainState:
    """Forget Adam's moments, as the original does where a fade begins and where it ends.

    They start as zeros, which come from the host here: a program to make them would have to be compiled, for 7 s, just
    where training grows.
    """
    g_opt, d_opt = jax.tree.map(lambda moment: np.zeros(moment.shape, moment.dtype), (state.g_opt, state.d_opt))
    return dataclasses.replace(state, g_opt=g_opt, d_opt=d_opt)


def jit_step(step: Callable[..., Any], static: Static, replicated: Any, split: Any) -> Any:
    """``train_step`` or ``regularize_step``, jitted: state donated and on every device, images and labels split.

    Alpha, learning rate and the batch's contents are traced: there is one program per resolution and batch size.
    """
    return jax.jit(
        functools.partial(step, static=static),
        donate_argnums=0,
        in_shardings=(replicated, split, split, replicated, replicated),
        out_shardings=(replicated, replicated),
        compiler_options=compiler_options(),
    )
