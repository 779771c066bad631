"""Twice and half the size with StyleGAN2's low-pass filter, [1, 3, 3, 1]/8 along each axis, and with convolutions.

Karras et al. 2020, "Analyzing and Improving the Image Quality of StyleGAN" ("StyleGAN2"), appendix B. Images are
[N, H, W, C], padded with zeros. Enlarging puts a zero behind every pixel before the filter, which then has the gain 2
along each axis. All filtering is written as shifted sums, which fuse; a depthwise convolution does not.
"""

import jax.numpy as jnp
from jax import Array, lax

from stylegen import ops
from stylegen.convolution import spread_convolve, trilinear_convolve

OUTER, INNER = 1 / 8, 3 / 8  # taps of the filter


def smooth(x: Array, pad: int, gain: float = 1.0) -> Array:
    """The filter over an image padded on all four sides: [N, H + 2 pad - 3, W + 2 pad - 3, C].

    Args:
        x: [N, H, W, C].
        pad: zeros at each end of both axes.
        gain: factor along each axis.
    """
    outer, inner = (jnp.asarray(tap * gain, x.dtype) for tap in (OUTER, INNER))
    x = jnp.pad(x, ((0, 0), (pad, pad), (pad, pad), (0, 0)))
    for axis in (1, 2):
        size = x.shape[axis] - 3
        a, b, c, d = (lax.slice_in_dim(x, i, i + size, axis=axis) for i in range(4))
        x = (a + d) * outer + (b + c) * inner
    return x


def upsample(x: Array) -> Array:
    """[N, H, W, C] to [N, 2H, 2W, C]: each pixel is 3/4 of the nearest and 1/4 of the next nearest, along each axis."""
    near, far = (jnp.asarray(tap * 2, x.dtype) for tap in (INNER, OUTER))
    for axis in (1, 2):
        size = x.shape[axis]
        padded = jnp.pad(x, [(1, 1) if a == axis else (0, 0) for a in range(4)])
        before, after = (lax.slice_in_dim(padded, i, i + size, axis=axis) for i in (0, 2))
        x = _interleave(x * near + before * far, x * near + after * far, axis)
    return x


def downsample(x: Array) -> Array:
    """[N, H, W, C] to [N, H/2, W/2, C]: the filter at every other place, its middle between the pixels of a square."""
    outer, inner = (jnp.asarray(tap, x.dtype) for tap in (OUTER, INNER))
    for axis in (1, 2):
        size = x.shape[axis]
        padded = jnp.pad(x, [(1, 1) if a == axis else (0, 0) for a in range(4)])
        a, b, c, d = (lax.slice_in_dim(padded, i, i + size - 1, 2, axis=axis) for i in range(4))
        x = (a + d) * outer + (b + c) * inner
    return x


def upsample_conv(x: Array, weight: Array) -> Array:
    """A zero behind every pixel, a 3x3 convolution, the filter: [N, H, W, C] to [N, 2H, 2W, D].

    In the dtype of x, whatever that of the weight is.
    """
    return smooth(spread_convolve(x, weight.astype(x.dtype)), 1, gain=2)


def conv_downsample(x: Array, weight: Array) -> Array:
    """The filter, then a 3x3 convolution with stride 2: [N, H, W, C] to [N, H/2, W/2, D].

    In the dtype of x, whatever that of the weight is.
    """
    return trilinear_convolve(smooth(x, 2), weight.astype(x.dtype), 2, ((0, 0), (0, 0)))


def downsample_conv(x: Array, weight: Array) -> Array:
    """``downsample``, then a convolution with a 1x1 weight: [N, H, W, C] to [N, H/2, W/2, D]."""
    return ops.conv(downsample(x), weight)


def _interleave(even: Array, odd: Array, axis: int) -> Array:
    """The rows of two images of the same shape in turn."""
    shape = list(even.shape)
    shape[axis] *= 2
    return jnp.stack([even, odd], axis=axis + 1).reshape(shape)
