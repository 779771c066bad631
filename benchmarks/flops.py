"""Floating-point operations of the networks, counted from their definition: a multiplication and an addition are two.

Counted are convolutions, at full size as the paper writes them, and dense layers, with all taps, also those that meet
the padding. Not counted is what is neither: blur, noise, normalization, optimizer.
"""

from typing import Any

from stylegen.config import Config
from stylegen.networks.layers import width_at


def mapping(config: Config) -> float:
    """One z to w."""
    g = config.generator
    return 2.0 * (g.z_dim * (2 if config.num_classes else 1) + (g.mapping_layers - 1) * g.w_dim) * g.w_dim


def synthesis(config: Config, resolution: int, fading: bool) -> float:
    """One image from its styles; ``fading`` adds the ToRGB of the resolution before."""
    g = config.generator
    if g.block == "demod":
        return _demodulated_synthesis(config, resolution)
    total = 0.0
    for r in [r for r in config.resolutions if r <= resolution]:
        channels, before = (width_at(g, x) for x in (r, r // 2))
        total += 9 * channels * channels * r * r + 2 * g.w_dim * 2 * channels
        if r > 4:
            total += 9 * before * channels * r * r
        if r == resolution or (fading and r == resolution // 2):
            total += channels * config.image_channels * r * r
    return 2 * total


def _demodulated_synthesis(config: Config, resolution: int) -> float:
    """StyleGAN2's: a transposed convolution has its taps at every pixel of the small image; ToRGB is everywhere.

    The sums of squares that demodulation divides by are of the weights, not of images, and not counted.
    """
    g = config.generator
    total = 0.0
    for r in [r for r in config.resolutions if r <= resolution]:
        channels, before = (width_at(g, x) for x in (r, r // 2))
        total += (9 * channels + config.image_channels) * channels * r * r + 2 * g.w_dim * channels
        if r > 4:
            total += 9 * before * channels * (r // 2) ** 2 + g.w_dim * before
    return 2 * total


def discriminator(config: Config, resolution: int, fading: bool) -> float:
    """The score of one image; ``fading`` adds the FromRGB of the resolution before.

    StyleGAN2's with classes has a mapping network of labels besides, which is not counted.
    """
    d = config.discriminator
    smallest = width_at(d, 4)
    total = 9.0 * (smallest + 1) * smallest * 16 + 16 * smallest * smallest + smallest * max(config.num_classes, 1)
    for r in [r for r in config.resolutions if r <= resolution]:
        channels, after = (width_at(d, x) for x in (r, r // 2))
        if r > 4 and config.generator.block == "demod":
            # The second convolution has a stride, and the shortcut comes after its filter.
            total += 9 * channels * channels * r * r + 10 * after * channels * (r // 2) ** 2
        elif r > 4:
            total += 9 * (channels + after) * channels * r * r
        if r == resolution or (fading and r == resolution // 2):
            total += channels * config.image_channels * r * r
    return 2 * total


def training_step(config: Config, resolution: int) -> float:
    """A training step, per real image; lazy R1 counts with its share.

    A pass forward costs 1, backward to the inputs 1, to the weights 1. The discriminator: real and fake forward and
    to the weights (3 each); R1, the gradient of the reals and the way back through it (3 more); for the generator,
    forward and to the inputs (2). The generator: the discriminator's fakes (1), its own forward and back (3).
    """
    loss = config.loss
    penalty = 0.0
    if loss.name == "wgan_gp":
        penalty = 6.0  # on blends of real and fake, which are another batch
    elif loss.r1_gamma > 0:
        penalty = 3.0 if loss.r1_interval == 1 else 6.0 / loss.r1_interval
        if loss.name == "relativistic":
            penalty = 2 * penalty + 1  # R2 on the fakes; the reals forward in the generator's half
    # The step is compiled for any alpha, and computes both sides of a fade, if networks grow.
    fading = resolution > 4 and config.generator.block == "adain"
    latents = 2 if config.generator.style_mixing_prob > 0 else 1
    generator = latents * mapping(config) + synthesis(config, resolution, fading)
    return (8 + penalty) * discriminator(config, resolution, fading) + 4 * generator


def sample(config: Config) -> float:
    """An image from its latent, at the full resolution and alpha 1."""
    return mapping(config) + synthesis(config, config.resolution, fading=False)


def compiled(program: Any) -> float:
    """What XLA counts in a compiled program: all arithmetic, without the taps that meet the padding.

    It differs from the count by definition where the program computes the same with fewer operations, or repeats some.
    """
    return float(program.cost_analysis()["flops"])
