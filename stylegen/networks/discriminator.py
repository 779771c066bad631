"""The discriminator: the mirror image of the generator without styles (progressive growing, Table 2, with blur).

FromRGB layers are activated, and exist at every resolution. StyleGAN2's block, which ``generator.block`` chooses along
with the generator's, is in ``stylegan2``; all else is shared.
"""

import dataclasses
import math
from typing import Any

import jax.numpy as jnp
from flax import nnx
from jax import Array

from stylegen import ops
from stylegen.config import Config
from stylegen.networks.layers import ACTIVATIONS, EqualConv, EqualDense, Initializer, MinibatchStd, from_rgb, width_at
from stylegen.networks.mapping import MappingNetwork
from stylegen.networks.stylegan1 import DiscriminatorBlock
from stylegen.networks.stylegan2 import ResidualBlock
from stylegen.shapes import resolution_of, shape_at, size_text

LABEL_LAYERS = 8  # of StyleGAN2's discriminator with classes


class DiscriminatorEpilogue(nnx.Module):
    """The block at 4 pixels: minibatch standard deviation, convolution, two dense layers; [N, outputs]."""

    def __init__(self, channels: int, outputs: int, config: Config, *, init: Initializer):
        dtype = jnp.dtype(config.compute_dtype)
        gain, self.activation = ACTIVATIONS[config.generator.block]
        self.fromrgb = from_rgb(channels, 4, config, init=init)
        self.mbstd = MinibatchStd(config.discriminator.mbstd_group_size)
        self.conv = EqualConv(channels + 1, channels, gain=gain, dtype=dtype, init=init)
        self.dense0 = EqualDense(math.prod(config.const_shape) * channels, channels, gain=gain, dtype=dtype, init=init)
        self.dense1 = EqualDense(channels, outputs, gain=1.0, init=init)

    def __call__(self, x: Array) -> Array:
        x = self.activation(self.conv(self.mbstd(x)))
        x = self.activation(self.dense0(x.reshape(x.shape[0], -1)))
        return self.dense1(x)


class Discriminator(nnx.Module):
    """Images to scores; higher is more real."""

    def __init__(self, config: Config, *, init: Initializer):
        d = config.discriminator
        self.resolutions = config.resolutions
        self.const_shape = config.const_shape
        self.num_classes = config.num_classes
        self.grows = config.generator.block == "adain"
        self.activation = ACTIVATIONS[config.generator.block].function
        widths = {r: width_at(d, r) for r in self.resolutions}
        block = DiscriminatorBlock if self.grows else ResidualBlock
        blocks: dict[str, Any] = {
            f"b{r}": block(widths[r], widths[r // 2], r, config, init=init) for r in self.resolutions if r > 4
        }
        embeds = self.num_classes > 0 and not self.grows
        outputs = widths[4] if embeds else max(self.num_classes, 1)
        self.blocks = nnx.Dict({"b4": DiscriminatorEpilogue(widths[4], outputs, config, init=init), **blocks})
        self.label_mapping = _label_mapping(config, outputs, init=init) if embeds else None

    def __call__(self, images: Array, c: Array | None = None, *, alpha: Array | float = 1.0) -> Array:
        """Score images at a stage's resolution.

        Args:
            images: [N, h, w, C] in [-1, 1], of the stage's size, [N, r, r, C] for squares. Neighbors share a
                minibatch-std group.
            c: one-hot labels [N, c_dim] of a class-conditional discriminator: each image gets its class's score.
            alpha: weight of the newest block in [0, 1]; 0 is the previous resolution's score of the images' 2x2 means.
                Without meaning for StyleGAN2's blocks, which do not grow.

        Returns:
            Scores [N], float32.

        Raises:
            ValueError: unknown resolution, or labels missing.
        """
        resolution = resolution_of(images.shape[1], self.const_shape)
        accepted = self.resolutions if self.grows else self.resolutions[-1:]
        if resolution not in accepted or images.shape[1:3] != shape_at(resolution, self.const_shape):
            sizes = ", ".join(size_text(r, self.const_shape) for r in accepted)
            raise ValueError(f"images have shape {images.shape}; this network takes images of {sizes} pixels.")
        if self.num_classes and c is None:
            raise ValueError("A class-conditional discriminator needs labels.")
        fades = self.grows and not (isinstance(alpha, int | float) and alpha == 1)
        x = self._features(images)
        for r in reversed([r for r in self.resolutions if r <= resolution]):
            x = self.blocks[f"b{r}"](x)
            if r == resolution > 4 and fades:
                old = self._features(ops.downsample(images))
                x = ops.lerp(old, x, jnp.asarray(alpha, x.dtype))
        scores = x.astype(jnp.float32)
        if self.label_mapping is not None:
            # A projection discriminator (Miyato and Koyama 2018, Eq. 3), as StyleGAN2-ADA has it.
            c = self.label_mapping(None, c) / math.sqrt(scores.shape[1])
        return scores[:, 0] if c is None else jnp.sum(scores * c, axis=-1)

    def _features(self, images: Array) -> Array:
        """FromRGB of the images' resolution, activated."""
        fromrgb = self.blocks[f"b{resolution_of(images.shape[1], self.const_shape)}"].fromrgb
        return self.activation(fromrgb(images))


def _label_mapping(config: Config, features: int, *, init: Initializer) -> MappingNetwork:
    """Labels to the direction that an image's features are measured along."""
    g = dataclasses.replace(config.generator, z_dim=0, w_dim=features, mapping_layers=LABEL_LAYERS, mapping_width=None)
    return MappingNetwork(g, config.num_classes, init=init)
