"""StyleGAN2's block of the generator: convolutions whose weights the style scales, in place of AdaIN.

Karras et al. 2020, "Analyzing and Improving the Image Quality of StyleGAN", Sec. 2.2 and Fig. 2d, with the skip
connections of Sec. 4.1. ``generator.SynthesisNetwork`` puts these blocks together, or those with AdaIN.
"""

import math
from collections.abc import Callable

import jax.numpy as jnp
from flax import nnx
from jax import Array, lax
from jax.typing import DTypeLike

from stylegen import ops
from stylegen.config import Config
from stylegen.networks import fir
from stylegen.networks.layers import EqualConv, EqualDense, Initializer, NoiseInjection, from_rgb
from stylegen.shapes import Shape

EPSILON = 1e-8  # added to the sum of squares in the denominator
HALF = math.sqrt(0.5)  # of two summands of equal variance, so that their sum has it too


class ModulatedConv(nnx.Module):
    """Convolution with a weight of each image's own: scaled by its style, then to unit length for each output channel.

    Scaling the weight's input channels is scaling the input, and its output channels the output, so the convolution
    itself has one weight for all images, and needs no groups (StyleGAN2, Eq. 1 to 3).
    The scale is 1 + s, with the affine's bias at 0, as in AdaIN here; published networks have the 1 in that bias.
    Without demodulation it is ToRGB, which has a bias; other layers have theirs after the noise.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: int = 3,
        *,
        w_dim: int,
        demodulate: bool = True,
        dtype: DTypeLike,
        init: Initializer,
    ):
        self.weight = nnx.Param(init.normal((kernel, kernel, in_channels, out_channels)))
        self.affine = EqualDense(w_dim, in_channels, gain=1.0, init=init)
        self.bias = None if demodulate else nnx.Param(jnp.zeros(out_channels))
        self.scale = 1 / math.sqrt(kernel * kernel * in_channels)
        self.dtype = dtype

    def __call__(self, x: Array, w: Array, conv: Callable[[Array, Array], Array] = ops.conv) -> Array:
        """x [N, H, W, in] and w [N, w_dim] to [N, H, W, out], or twice the size with ``fir.upsample_conv``."""
        weight, style = self.weight[...] * self.scale, self.affine(w) + 1
        x = x.astype(self.dtype)
        x = conv(x * ops.spread(style[:, None, None], x), weight)
        if self.bias is not None:
            return x + ops.spread(self.bias[...], x)
        return x * ops.spread(demodulation(weight, style)[:, None, None], x)


def demodulation(weight: Array, style: Array) -> Array:
    """The factor that brings the weight of each image and output channel to unit length (StyleGAN2, Eq. 3).

    Args:
        weight: [k, k, in, out].
        style: factor of each input channel, [N, in].

    Returns:
        1/sqrt(sum over taps and input channels of (weight * style)^2), [N, out], float32.
    """
    return lax.rsqrt(jnp.square(style) @ jnp.sum(jnp.square(weight), axis=(0, 1)) + EPSILON)


class NoisyActivation(nnx.Module):
    """The layers after a modulated convolution: noise with one strength, bias, leaky ReLU with gain sqrt(2)."""

    def __init__(self, channels: int, shape: int | Shape, *, init: Initializer):
        self.noise = NoiseInjection(None, shape, init=init)
        self.bias = nnx.Param(jnp.zeros(channels))

    def __call__(self, x: Array, noise: Array | None) -> Array:
        x = self.noise(x, noise)
        return ops.scaled_leaky_relu(x + ops.spread(self.bias[...], x))


class DemodulatedBlock(nnx.Module):
    """Two modulated convolutions at one resolution, the first to twice the size, and ToRGB; a constant at 4 pixels.

    Its styles are the last three of those that it is given, of the convolutions and of ToRGB; the first one is that of
    ToRGB of the block before, too. At 4 pixels there is no first convolution.
    """

    def __init__(self, in_channels: int, channels: int, resolution: int, config: Config, *, init: Initializer):
        dtype = jnp.dtype(config.compute_dtype)
        w_dim = config.generator.w_dim
        self.is_first = resolution == 4
        if self.is_first:
            self.const = nnx.Param(init.normal((1, *config.const_shape, channels)))
        else:
            self.conv0 = ModulatedConv(in_channels, channels, w_dim=w_dim, dtype=dtype, init=init)
            self.act0 = NoisyActivation(channels, config.shape_at(resolution), init=init)
        self.conv1 = ModulatedConv(channels, channels, w_dim=w_dim, dtype=dtype, init=init)
        self.act1 = NoisyActivation(channels, config.shape_at(resolution), init=init)
        image_channels = config.image_channels
        self.torgb = ModulatedConv(channels, image_channels, 1, w_dim=w_dim, demodulate=False, dtype=dtype, init=init)
        self.dtype = dtype

    def __call__(self, x: Array | None, ws: Array, noise: tuple[Array | None, Array | None]) -> Array:
        """x [N, r/2, r/2, C] (None at 4 pixels), styles and each layer's noise to features [N, r, r, C'].

        Args:
            x: features of the block before.
            ws: [N, layers, w_dim], the last three of which are this block's.
            noise: of both layers, [N or 1, r, r, 1]; the first is not used at 4 pixels.
        """
        if x is None:
            const = self.const[...]
            x = jnp.broadcast_to(const, (ws.shape[0], *const.shape[1:])).astype(self.dtype)
        else:
            x = self.act0(self.conv0(x, ws[:, -3], fir.upsample_conv), noise[0])
        return self.act1(self.conv1(x, ws[:, -2]), noise[1])

    def image(self, x: Array, ws: Array, before: Array | None) -> tuple[Array | None, Array]:
        """The sum of images so far [N, r/2, r/2, C] (None at 4 pixels) enlarged, and the same with this block's."""
        new = self.torgb(x, ws[:, -1]).astype(jnp.float32)
        if before is None:
            return None, new
        old = fir.upsample(before)
        return old, old + new

    def noise_const(self) -> tuple[Array | None, Array]:
        """The constant noise of both layers, [1, r, r, 1]."""
        first = None if self.is_first else self.act0.noise.noise_const[...]
        return first, self.act1.noise.noise_const[...]


class ResidualBlock(nnx.Module):
    """Features [N, r, r, C] to [N, r/2, r/2, C']; owns FromRGB if images enter here, at full resolution alone."""

    def __init__(self, channels: int, out_channels: int, resolution: int, config: Config, *, init: Initializer):
        dtype = jnp.dtype(config.compute_dtype)
        self.fromrgb = from_rgb(channels, resolution, config, init=init)
        self.conv0 = EqualConv(channels, channels, gain=1.0, dtype=dtype, init=init)
        self.conv1 = EqualConv(channels, out_channels, gain=1.0, dtype=dtype, init=init)
        self.skip = EqualConv(channels, out_channels, 1, gain=1.0, use_bias=False, dtype=dtype, init=init)

    def __call__(self, x: Array) -> Array:
        short = self.skip(x, fir.downsample_conv)
        x = ops.scaled_leaky_relu(self.conv0(x))
        x = ops.scaled_leaky_relu(self.conv1(x, fir.conv_downsample))
        return (x + short) * jnp.asarray(HALF, x.dtype)
