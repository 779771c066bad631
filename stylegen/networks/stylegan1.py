"""StyleGAN's blocks: convolutions with AdaIN of the generator, and those of the discriminator."""

import jax.numpy as jnp
from flax import nnx
from jax import Array

from stylegen import ops
from stylegen.config import Config
from stylegen.networks.layers import EqualConv, Initializer, StyledActivation, from_rgb


class SynthesisBlock(nnx.Module):
    """Two styled convolutions at one resolution; the first doubles the size and blurs, or is a constant at 4 pixels.

    The block of 4 pixels computes in float32. Its constant starts at 1, so its features are 1 and a little noise.
    bfloat16 rounds such noise, and the instance norm then amplifies the error: 9 % of the block's output for the
    stored network of tests/references/networks/stylegan1_32.npz, where other blocks add 1 % or less.
    """

    def __init__(self, in_channels: int, channels: int, resolution: int, config: Config, *, init: Initializer):
        dtype = jnp.dtype(config.compute_dtype)
        dtype = jnp.promote_types(dtype, jnp.float32) if resolution == 4 else dtype
        w_dim = config.generator.w_dim
        shape = config.shape_at(resolution)
        if resolution == 4:
            self.const = nnx.Param(jnp.ones((1, *shape, channels)))
        else:
            self.conv0 = EqualConv(in_channels, channels, use_bias=False, dtype=dtype, init=init)
        self.act0 = StyledActivation(w_dim, channels, shape, dtype=dtype, init=init)
        self.conv1 = EqualConv(channels, channels, use_bias=False, dtype=dtype, init=init)
        self.act1 = StyledActivation(w_dim, channels, shape, dtype=dtype, init=init)
        self.torgb = EqualConv(channels, config.image_channels, 1, gain=1.0, dtype=dtype, init=init)
        self.dtype = dtype

    def __call__(self, x: Array | None, ws: Array, noise: tuple[Array | None, Array | None]) -> Array:
        """x [N, r/2, r/2, C] (None at 4 pixels), styles and each layer's noise to features [N, r, r, C'].

        Args:
            x: features of the block before.
            ws: [N, layers, w_dim], the last two of which are this block's.
            noise: of both layers, [N or 1, r, r, 1].
        """
        if x is None:
            const = self.const[...].astype(self.dtype)
            x = jnp.broadcast_to(const, (ws.shape[0], *const.shape[1:]))
        else:
            x = ops.blur(self.conv0(x, ops.upsample_conv))
        x = self.act0(x, ws[:, -2], noise[0])
        return self.act1(self.conv1(x), ws[:, -1], noise[1])

    def image(self, x: Array, ws: Array, before: Array | None) -> tuple[Array | None, Array]:
        """The image of the block before [N, r/2, r/2, C] (or None) enlarged, and this block's; styles are not used."""
        new = self.torgb(x).astype(jnp.float32)
        return (None if before is None else ops.upsample(before)), new

    def noise_const(self) -> tuple[Array, Array]:
        """The constant noise of both layers, [1, r, r, 1]."""
        return self.act0.noise.noise_const[...], self.act1.noise.noise_const[...]


class DiscriminatorBlock(nnx.Module):
    """Features [N, r, r, C] to [N, r/2, r/2, C']; owns the FromRGB of its resolution."""

    def __init__(self, channels: int, out_channels: int, resolution: int, config: Config, *, init: Initializer):
        dtype = jnp.dtype(config.compute_dtype)
        self.fromrgb = from_rgb(channels, resolution, config, init=init)
        self.conv0 = EqualConv(channels, channels, dtype=dtype, init=init)
        self.conv1 = EqualConv(channels, out_channels, use_bias=False, dtype=dtype, init=init)
        self.bias1 = nnx.Param(jnp.zeros(out_channels))

    def __call__(self, x: Array) -> Array:
        x = ops.leaky_relu(self.conv0(x))
        x = self.conv1(ops.blur(x), ops.conv_downsample)
        return ops.leaky_relu(x + ops.spread(self.bias1[...], x))
