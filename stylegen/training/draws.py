"""What a training step draws: reals, styles with mixing, fakes with fresh noise, augmentations.

Pure functions of keys; of a batch in parts, each part uses its share of what is drawn for the whole.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax, random

from stylegen import ops
from stylegen.config import Config
from stylegen.networks.layers import num_noise
from stylegen.networks.mapping import broadcast_styles, num_styles
from stylegen.networks.structure import GeneratorNetwork
from stylegen.training import augment
from stylegen.training.micro_batches import WHOLE, Part

Augmentation = Callable[[Array], Array]  # images to the images that the discriminator sees


def prepare_reals(images: Array, alpha: Array, mirror: bool, key: Array) -> Array:
    """Uint8 [N, r, r, C] to the discriminator's input: scaled to [-1, 1], half mirrored if ``mirror``, faded.

    Values of arrays, float32, are in its units already.
    """
    reals = ops.to_float(images) if images.dtype == jnp.uint8 else images
    if mirror:
        flip = random.bernoulli(key, 0.5, (reals.shape[0], 1, 1, 1))
        reals = jnp.where(flip, reals[:, :, ::-1], reals)
    return ops.fade(reals, alpha)


def prepare_batch(images: Array, labels: Array, alpha: Array, key: Array, config: Config) -> tuple[Array, Array | None]:
    """A batch as input of the networks: (reals [N, r, r, C], one-hot labels [N, c_dim] or None)."""
    c = jax.nn.one_hot(labels, config.num_classes) if config.num_classes else None
    return prepare_reals(images, alpha, config.data.mirror, key), c


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


def draw_styles(
    network: GeneratorNetwork,
    config: Config,
    z_key: Array,
    mix_key: Array,
    n: int,
    c: Array | None,
    resolution: int,
    latent_sharding: Any = None,
    part: Part = WHOLE,
) -> tuple[Array, Array]:
    """Styles as training draws them: with style mixing.

    The draws are those of all n images of the batch; of a part, the part's own are used, as they would be in the whole.

    Returns:
        (ws [N, layers, w_dim], w [N, w_dim]) of the part's N images, which ``c`` is of too; w, of each image's first
        latent, is what the running mean is of.
    """
    latents = random.normal(z_key, (2, n, config.generator.z_dim))
    if latent_sharding is not None:
        # Without this constraint the compiler would draw all fakes on every device.
        latents = lax.with_sharding_constraint(latents, latent_sharding)
    z, z_mix = part.of(latents, axis=1)
    layers = num_styles(resolution)
    w = network.mapping(z, c)
    if config.generator.style_mixing_prob == 0:
        return broadcast_styles(w, layers), w
    return mix_styles(w, network.mapping(z_mix, c), mix_key, layers, config.generator.style_mixing_prob), w


def generate(
    network: GeneratorNetwork,
    config: Config,
    key: Array,
    n: int,
    c: Array | None,
    resolution: int,
    alpha: Array,
    latent_sharding: Any = None,
    part: Part = WHOLE,
) -> tuple[Array, Array]:
    """Fakes as training draws them: with style mixing and fresh noise.

    Returns:
        (images [N, r, r, C], w [N, w_dim]); part and w as in ``draw_styles``.
    """
    z_key, mix_key, noise_key = random.split(key, 3)
    ws, w = draw_styles(network, config, z_key, mix_key, n, c, resolution, latent_sharding, part)
    images = synthesize(network, ws, resolution, alpha, noise_key, n, part)
    return images, w


def synthesize(
    network: GeneratorNetwork, ws: Array, resolution: int, alpha: Array, key: Array, n: int, part: Part = WHOLE
) -> Array:
    """Images [N, r, r, C] of styles [N, layers, w_dim], with the part's share of the noise of a batch of n images."""
    draw = functools.partial(network.synthesis, ws, resolution=resolution, alpha=alpha)
    if part is WHOLE:
        return draw(noise="random", key=key)
    return draw(noise=part.of(ops.noise(key, (n, num_noise(resolution, network.synthesis.const_shape)))))


def draw_augmentations(
    key: Array, p: Array | None, shape: tuple[int, ...], count: int, config: Config, part: Part = WHOLE
) -> tuple[Array, list[Augmentation]]:
    """Random augmentations of images [N, r, r, C], and the key for all other randomness; identities where p is None.

    The augmentations of reals and fakes are independent, or the same if ``augment.paired``. A difference between the
    two is noise to a discriminator that can hardly distinguish reals and fakes. Losses that see one image at a time
    have the same expectation either way; relativistic losses and WGAN-GP's blends, which see two, have another.
    """
    if p is None:
        return key, [lambda images: images] * count
    key, augment_key = random.split(key)
    different = 1 if config.augment.paired else count
    draws = augment.draw(augment_key, (different, *part.whole(shape)), config.augment)
    own = [jax.tree.map(lambda numbers, i=i: part.of(numbers[i % different]), draws) for i in range(count)]
    return key, [functools.partial(augment.transform, p=p, draws=numbers, config=config.augment) for numbers in own]
