"""The discriminator: the mirror image of the generator without styles (progressive growing, Table 2, with blur).

FromRGB layers are activated, and exist at every resolution.
"""

from typing import Any

import jax.numpy as jnp
from flax import nnx
from jax import Array

from stylegen import ops
from stylegen.config import Config
from stylegen.generator import width
from stylegen.layers import EqualConv, EqualDense, Initializer, MinibatchStd


class DiscriminatorBlock(nnx.Module):
    """Features [N, r, r, C] to [N, r/2, r/2, C']; owns the FromRGB of its resolution."""

    def __init__(self, channels: int, out_channels: int, config: Config, *, init: Initializer):
        dtype = jnp.dtype(config.compute_dtype)
        self.fromrgb = EqualConv(config.image_channels, channels, 1, dtype=dtype, init=init)
        self.conv0 = EqualConv(channels, channels, dtype=dtype, init=init)
        self.conv1 = EqualConv(channels, out_channels, use_bias=False, dtype=dtype, init=init)
        self.bias1 = nnx.Param(jnp.zeros(out_channels))

    def __call__(self, x: Array) -> Array:
        x = ops.leaky_relu(self.conv0(x))
        x = self.conv1(ops.blur(x), ops.conv_downsample)
        return ops.leaky_relu(x + self.bias1[...].astype(x.dtype))


class DiscriminatorEpilogue(nnx.Module):
    """The block at 4 pixels: minibatch standard deviation, convolution, two dense layers; [N, max(classes, 1)]."""

    def __init__(self, channels: int, config: Config, *, init: Initializer):
        dtype = jnp.dtype(config.compute_dtype)
        self.fromrgb = EqualConv(config.image_channels, channels, 1, dtype=dtype, init=init)
        self.mbstd = MinibatchStd(config.discriminator.mbstd_group_size)
        self.conv = EqualConv(channels + 1, channels, dtype=dtype, init=init)
        self.dense0 = EqualDense(16 * channels, channels, dtype=dtype, init=init)
        self.dense1 = EqualDense(channels, max(config.num_classes, 1), gain=1.0, init=init)

    def __call__(self, x: Array) -> Array:
        x = ops.leaky_relu(self.conv(self.mbstd(x)))
        x = ops.leaky_relu(self.dense0(x.reshape(x.shape[0], -1)))
        return self.dense1(x)


class Discriminator(nnx.Module):
    """Images to scores; higher is more real."""

    def __init__(self, config: Config, *, init: Initializer):
        d = config.discriminator
        self.resolutions = config.resolutions
        self.num_classes = config.num_classes
        widths = {r: width(r, d.channel_base, d.channel_max) for r in self.resolutions}
        blocks: dict[str, Any] = {
            f"b{r}": DiscriminatorBlock(widths[r], widths[r // 2], config, init=init) for r in self.resolutions if r > 4
        }
        self.blocks = nnx.Dict({"b4": DiscriminatorEpilogue(widths[4], config, init=init), **blocks})

    def __call__(self, images: Array, c: Array | None = None, *, alpha: Array | float = 1.0) -> Array:
        """Score images at a stage's resolution.

        Args:
            images: [N, r, r, C] in [-1, 1]; r is the stage's resolution. Neighbours share a minibatch-std group.
            c: one-hot labels [N, c_dim] of a class-conditional discriminator: each image gets its class's score.
            alpha: weight of the newest block in [0, 1]; 0 is the previous resolution's score of the images' 2x2 means.

        Returns:
            Scores [N], float32.

        Raises:
            ValueError: unknown resolution, or labels missing.
        """
        resolution = images.shape[1]
        if resolution not in self.resolutions or images.shape[2] != resolution:
            raise ValueError(
                f"images have shape {images.shape}; this network takes squares of {self.resolutions} pixels."
            )
        if self.num_classes and c is None:
            raise ValueError("A class-conditional discriminator needs labels.")
        x = ops.leaky_relu(self.blocks[f"b{resolution}"].fromrgb(images))
        for r in reversed([r for r in self.resolutions if r <= resolution]):
            x = self.blocks[f"b{r}"](x)
            if r == resolution > 4 and not (isinstance(alpha, int | float) and alpha == 1):
                old = ops.leaky_relu(self.blocks[f"b{r // 2}"].fromrgb(ops.downsample(images)))
                x = ops.lerp(old, x, jnp.asarray(alpha, x.dtype))
        scores = x.astype(jnp.float32)
        return scores[:, 0] if c is None else jnp.sum(scores * c, axis=-1)
