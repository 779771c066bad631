"""Layers with parameters: equalized dense and convolution, noise, AdaIN, minibatch standard deviation.

Equalized learning rate (progressive growing, Sec. 4.1): weights are N(0, 1) and are scaled at run time by
gain/sqrt(fan_in). The gain sqrt(2) of a layer before a leaky ReLU is therefore in the weight, not in the activation;
StyleGAN2 has it after the activation (``ACTIVATIONS``).
A layer computes in ``dtype``; its parameters are always float32.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.typing import DTypeLike
from jaxtyping import Float

from stylegen import ops
from stylegen.array_types import Array
from stylegen.config import Config, DiscriminatorConfig, GeneratorConfig
from stylegen.shapes import SQUARE, Shape, shape_at

RELU_GAIN = math.sqrt(2)


class Activation(NamedTuple):
    """A leaky ReLU and the gain of the weights before it."""

    gain: float
    function: Callable[[Array], Array]


# By generator.block. For the same weights both give the same result, except that the second kind scales biases too.
ACTIVATIONS = {"adain": Activation(RELU_GAIN, ops.leaky_relu), "demod": Activation(1.0, ops.scaled_leaky_relu)}


class Initializer:
    """Draws initial weights on the host, in milliseconds; compiling jax's generator for every shape takes seconds.

    With ``seed=None`` it gives zeros, for building the structure of a network alone (under ``nnx.eval_shape``).
    """

    def __init__(self, seed: np.random.SeedSequence | int | None):
        self._generator = None if seed is None else np.random.default_rng(seed)

    def normal(self, shape: tuple[int, ...]) -> Float[Array, "..."]:
        """Standard normal numbers, float32."""
        if self._generator is None:
            return jnp.zeros(shape)
        return jnp.asarray(self._generator.standard_normal(shape, dtype=np.float32))


class NoiseConst(nnx.Variable):
    """Constant noise of a layer: not trained, saved with the network."""


class EqualDense(nnx.Module):
    """Fully connected layer, [N, in] to [N, out].

    ``lr_multiplier`` scales weight *and* bias at run time; weights start that much larger (StyleGAN, appendix C).
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        gain: float = RELU_GAIN,
        lr_multiplier: float = 1.0,
        use_bias: bool = True,
        dtype: DTypeLike = jnp.float32,
        init: Initializer,
    ):
        self.weight = nnx.Param(init.normal((in_features, out_features)) / lr_multiplier)
        self.bias = nnx.Param(jnp.zeros(out_features)) if use_bias else None
        self.scale = gain / math.sqrt(in_features) * lr_multiplier
        self.lr_multiplier = lr_multiplier
        self.dtype = dtype

    def __call__(self, x: Float[Array, "n i"]) -> Float[Array, "n o"]:
        x = x.astype(self.dtype) @ (self.weight[...] * self.scale).astype(self.dtype)
        if self.bias is not None:
            x = x + ops.spread(self.bias[...] * self.lr_multiplier, x)
        return x


class EqualConv(nnx.Module):
    """Convolution, [N, H, W, in] to [N, H, W, out], or to twice or half the size."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: int = 3,
        *,
        gain: float = RELU_GAIN,
        use_bias: bool = True,
        dtype: DTypeLike = jnp.float32,
        init: Initializer,
    ):
        shape = (kernel, kernel, in_channels, out_channels)
        self.weight = nnx.Param(init.normal(shape))
        self.bias = nnx.Param(jnp.zeros(out_channels)) if use_bias else None
        self.scale = gain / math.sqrt(kernel * kernel * in_channels)
        self.dtype = dtype

    def __call__(
        self, x: Float[Array, "n _ _ i"], conv: Callable[[Array, Array], Array] = ops.conv
    ) -> Float[Array, "n _ _ o"]:
        """x [N, H, W, in] convolved by ``ops.conv``, ``ops.upsample_conv`` or ``ops.conv_downsample``."""
        # The weight stays float32 here: forms that add up parts of it do so before it is rounded.
        x = conv(x.astype(self.dtype), self.weight[...] * self.scale)
        return x if self.bias is None else x + ops.spread(self.bias[...], x)


class NoiseInjection(nnx.Module):
    """Add noise [N or 1, H, W, 1], scaled per channel; the strengths start at 0 (StyleGAN, Fig. 1b).

    With ``channels=None`` there is one strength for all channels, as in StyleGAN2.
    """

    def __init__(self, channels: int | None, shape: int | Shape, *, init: Initializer):
        rows, columns = (shape, shape) if isinstance(shape, int) else shape
        self.noise_strength = nnx.Param(jnp.zeros(() if channels is None else channels))
        self.noise_const = NoiseConst(init.normal((1, rows, columns, 1)))

    def __call__(self, x: Float[Array, "n h w c"], noise: Float[Array, "#n h w 1"] | None) -> Float[Array, "n h w c"]:
        """x [N, H, W, C] with noise [N or 1, H, W, 1] added; None adds none."""
        if noise is None:
            return x
        return x + ops.spread(noise * ops.per_channel(self.noise_strength[...]), x)


class AdaINStyle(nnx.Module):
    """The scale and shift of AdaIN [N, C] each, by an affine of w [N, w_dim] (StyleGAN, Eq. 1).

    The scale is 1 + s, with the affine's bias at 0 and its gain 1, as in the original's code. ``StyledActivation``
    applies them.
    """

    def __init__(self, w_dim: int, channels: int, *, dtype: DTypeLike = jnp.float32, init: Initializer):
        self.affine = EqualDense(w_dim, 2 * channels, gain=1.0, dtype=dtype, init=init)

    def __call__(self, w: Float[Array, "n w_dim"]) -> tuple[Float[Array, "n c"], Float[Array, "n c"]]:
        scale, shift = jnp.split(self.affine(w), 2, axis=-1)
        return scale + 1, shift


class StyledActivation(nnx.Module):
    """The layers after each convolution of the generator: noise, bias, leaky ReLU, AdaIN, in this order."""

    def __init__(self, w_dim: int, channels: int, shape: int | Shape, *, dtype: DTypeLike, init: Initializer):
        self.noise = NoiseInjection(channels, shape, init=init)
        self.bias = nnx.Param(jnp.zeros(channels))
        self.adain = AdaINStyle(w_dim, channels, dtype=dtype, init=init)

    def __call__(
        self, x: Float[Array, "n h w c"], w: Float[Array, "n w_dim"], noise: Float[Array, "#n h w 1"] | None
    ) -> Float[Array, "n h w c"]:
        strength = None if noise is None else self.noise.noise_strength[...]
        return ops.styled_activation(x, noise, strength, self.bias[...], *self.adain(w))


class MinibatchStd(nnx.Module):
    """Append the group's average standard deviation as one more channel: [N, H, W, C] to [N, H, W, C + 1]."""

    def __init__(self, group_size: int):
        self.group_size = group_size

    def __call__(self, x: Float[Array, "n h w c"]) -> Float[Array, "n h w c+1"]:
        return jnp.concatenate([x, ops.minibatch_std(x, self.group_size).astype(x.dtype)], axis=-1)


def from_rgb(channels: int, resolution: int, config: Config, *, init: Initializer) -> EqualConv | None:
    """FromRGB of a block of the discriminator, if images enter there: at every resolution where networks grow.

    With the blocks of StyleGAN2, which do not grow, there is one, at full resolution.
    """
    block = config.generator.block
    if block == "demod" and resolution != config.resolution:
        return None
    dtype, gain = jnp.dtype(config.compute_dtype), ACTIVATIONS[block].gain
    return EqualConv(config.image_channels, channels, 1, gain=gain, dtype=dtype, init=init)


def width(resolution: int, channel_base: int, channel_max: int, channel_decay: float = 1.0) -> int:
    """Channels of the block at a resolution: with a decay of 1, ``channel_base // resolution``; at most the maximum."""
    stage = math.log2(resolution) - 1
    return min(int(channel_base / 2 / 2.0 ** (stage * channel_decay)), channel_max)


def width_at(net: GeneratorConfig | DiscriminatorConfig, resolution: int) -> int:
    """``width`` by the settings of a network."""
    return width(resolution, net.channel_base, net.channel_max, net.channel_decay)


def num_noise(resolution: int, const: Shape = SQUARE) -> int:
    """Noise inputs of one image, all layers together: twice its pixels for each block, 2 r^2 of a square.

    StyleGAN2 does not use the first 16 (of a square), because its block of 4 pixels has one layer; the layout is the
    same.
    """
    return sum(2 * math.prod(shape_at(2**i, const)) for i in range(2, int(math.log2(resolution)) + 1))
