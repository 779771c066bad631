"""StyleGAN2's block of the discriminator: two convolutions and a shortcut around them.

Karras et al. 2020, "Analyzing and Improving the Image Quality of StyleGAN", Sec. 4.1 and Fig. 7c.
``discriminator.Discriminator`` puts these blocks together, or those of progressive growing.
"""

import math

import jax.numpy as jnp
from flax import nnx
from jax import Array

from stylegen import ops, resampling
from stylegen.config import Config
from stylegen.layers import EqualConv, Initializer, from_rgb

HALF = math.sqrt(0.5)  # of two summands of equal variance, so that their sum has it too


class ResidualBlock(nnx.Module):
    """Features [N, r, r, C] to [N, r/2, r/2, C']; owns FromRGB if images enter here, at full resolution alone."""

    def __init__(self, channels: int, out_channels: int, resolution: int, config: Config, *, init: Initializer):
        dtype = jnp.dtype(config.compute_dtype)
        self.fromrgb = from_rgb(channels, resolution, config, init=init)
        self.conv0 = EqualConv(channels, channels, gain=1.0, dtype=dtype, init=init)
        self.conv1 = EqualConv(channels, out_channels, gain=1.0, dtype=dtype, init=init)
        self.skip = EqualConv(channels, out_channels, 1, gain=1.0, use_bias=False, dtype=dtype, init=init)

    def __call__(self, x: Array) -> Array:
        short = self.skip(x, resampling.downsample_conv)
        x = ops.scaled_leaky_relu(self.conv0(x))
        x = ops.scaled_leaky_relu(self.conv1(x, resampling.conv_downsample))
        return (x + short) * jnp.asarray(HALF, x.dtype)
