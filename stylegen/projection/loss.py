"""The loss of a projection: differences of pixels and of feature maps, and the correlation of noise maps."""

from dataclasses import dataclass
from typing import Any, Literal

import jax.numpy as jnp
import numpy as np
from jax import Array

from stylegen import ops
from stylegen.metrics.extractors import Distance, open_distance
from stylegen.networks.layers import num_noise
from stylegen.pretrained import lpips, vgg16
from stylegen.shapes import SQUARE, Shape, shape_at

PerceptualName = Literal["auto", "vgg16", "alexnet", "random_vgg", "none"]
MAX_SIDE = 256  # pixels that the network sees (StyleGAN2)
# Convolutions of random_vgg that are used: those of its first three stages. The others are most of the cost; being
# random, they add no information about an image.
RANDOM_LAYERS = sum(map(len, vgg16.STAGES[:3]))
RANDOM = "random_vgg (its first three stages, all channels alike; not LPIPS)"
NOISE_SIDE = 8  # noise maps are averaged down to this (StyleGAN2, appendix D)


@dataclass(frozen=True)
class Weights:
    """Weights of the parts of the loss."""

    pixel: float = 1.0  # mean squared difference of pixels in [-1, 1], the mean over the scales
    perceptual: float = 1.0  # LPIPS, or the distance of random_vgg
    noise: float = 1e5  # correlation of noise maps (StyleGAN2, appendix D; see ``noise_penalty``)
    scales: int = 2  # the image itself, and averaged down by 2, 4, ...


def open_perceptual(name: PerceptualName = "auto", path: Any = None, linear: Any = None) -> Distance | None:
    """The network of the perceptual loss; its ``provenance`` says which it is.

    Args:
        name: vgg16 or alexnet; random_vgg, which needs no weights; auto, which is vgg16 if its weights are there or
            named, and random_vgg otherwise; or none.
        path: file of VGG-16's weights; if None, where ``weights.download`` put them, or a package that is installed.
        linear: file of the linear weights of LPIPS, likewise.

    Raises:
        WeightsError: weights are missing, or not those of this network.
    """
    if name == "none":
        return None
    if name == "auto":
        name = "vgg16" if path is not None or lpips.is_here("vgg16") else "random_vgg"
    if name != "random_vgg":
        return open_distance(name, path, linear)
    distance = open_distance(name)
    network = lpips.Network(distance.network.conv[:RANDOM_LAYERS])
    return Distance({**distance.provenance, "distance": RANDOM}, network)


def to_target(images: np.ndarray) -> np.ndarray:
    """uint8 to float32 in [-1, 1]: the center of the interval that ``ops.to_uint8`` rounds to each number."""
    return ((images.astype(np.float32) + 0.5 - 128) / 127.5).astype(np.float32)


def make_goal(network: lpips.Network | None, targets: Array) -> dict[str, Any]:
    """The goal of ``image_loss`` for targets [N, r, r, C] in [-1, 1]; ``network`` is a ``Distance``'s."""
    maps = None if network is None else lpips.unit_maps(network, _as_network_sees(targets, network))
    return {"pixels": targets, "maps": maps}


def image_loss(network: lpips.Network | None, goal: dict[str, Any], images: Array, w: Weights) -> Array:
    """Distance [N] of images [N, r, r, C], floats that may leave [-1, 1], from the goal."""
    images = _saturated(images, goal["pixels"])
    loss = w.pixel * pixel_loss(images, goal["pixels"], w.scales)
    if network is not None and w.perceptual:
        maps = lpips.unit_maps(network, _as_network_sees(images, network))
        loss = loss + w.perceptual * lpips.map_distance(network, maps, goal["maps"])
    return loss


def pixel_loss(a: Array, b: Array, scales: int) -> Array:
    """Mean squared difference of [N, r, r, C], the mean over ``scales`` halvings (as many as there can be): [N]."""
    difference = a - b
    losses = [jnp.mean(jnp.square(difference), axis=(1, 2, 3))]
    while len(losses) < scales and difference.shape[1] % 2 == difference.shape[2] % 2 == 0:
        difference = ops.downsample(difference)
        losses.append(jnp.mean(jnp.square(difference), axis=(1, 2, 3)))
    return sum(losses[1:], losses[0]) / len(losses)


def _saturated(images: Array, targets: Array) -> Array:
    """Where the target is black or white, a value beyond it is no error: the image is clipped there."""
    images = jnp.where(targets >= 1, jnp.minimum(images, 1), images)
    return jnp.where(targets <= -1, jnp.maximum(images, -1), images)


def _as_network_sees(images: Array, network: lpips.Network) -> Array:
    """RGB of at most 256 pixels and of as many as the network needs; alpha is left out."""
    images = images[..., : 3 if images.shape[-1] >= 3 else 1]
    if images.shape[-1] == 1:
        images = jnp.repeat(images, 3, axis=-1)
    while min(images.shape[1:3]) > MAX_SIDE:
        images = ops.downsample(images)
    while min(images.shape[1:3]) < lpips.MIN_SIDES[network.name]:
        images = ops.upsample(images)
    return images


def noise_maps(noise: Array, resolution: int, const: Shape = SQUARE) -> list[Array]:
    """Noise [N, num_noise(resolution, const)] as maps [N, 2, h, w], one for each block from 4 pixels up."""
    maps, r = [], 4
    while r <= resolution:
        start, stop = num_noise(r // 2, const), num_noise(r, const)
        maps.append(noise[:, start:stop].reshape(len(noise), 2, *shape_at(r, const)))
        r *= 2
    return maps


def noise_penalty(noise: Array, resolution: int, const: Shape = SQUARE) -> Array:
    """Autocorrelation of noise maps at a shift of one pixel, over all scales: [N] (StyleGAN2, appendix D).

    White noise gives almost 0; an image hidden in the noise does not.

    Formula and weight are the paper's. The published code has the same weight, but halves maps by a mean without the
    paper's factor 2 after it: each halving there counts 1/16 of what it counts here.
    """
    total = jnp.zeros(len(noise))
    for maps in noise_maps(noise, resolution, const):
        while True:
            for axis in (2, 3):
                shifted = jnp.roll(maps, 1, axis)
                total = total + jnp.sum(jnp.square(jnp.mean(maps * shifted, axis=(2, 3))), axis=1)
            n, k, h, w = maps.shape
            if min(h, w) <= NOISE_SIDE or h % 2 or w % 2:
                break
            # The sum of four, halved, keeps the variance of white noise.
            maps = jnp.sum(maps.reshape(n, k, h // 2, 2, w // 2, 2), axis=(3, 5)) / 2
    return total


def normalized_noise(noise: Array, resolution: int, const: Shape = SQUARE) -> Array:
    """Every noise map brought to mean 0 and variance 1, as after each step (StyleGAN2, appendix D)."""
    normalized = []
    for maps in noise_maps(noise, resolution, const):
        centered = maps - jnp.mean(maps, axis=(2, 3), keepdims=True)
        scaled = centered / jnp.sqrt(jnp.mean(jnp.square(centered), axis=(2, 3), keepdims=True) + 1e-12)
        normalized.append(scaled.reshape(len(noise), -1))
    return jnp.concatenate(normalized, axis=1)
