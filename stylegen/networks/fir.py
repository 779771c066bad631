"""Twice and half the size with StyleGAN2's low-pass filter, [1, 3, 3, 1]/8 along each axis, and with convolutions.

Karras et al. 2020, "Analyzing and Improving the Image Quality of StyleGAN" ("StyleGAN2"), appendix B. Images are
[N, H, W, C], padded with zeros. Enlarging puts a zero behind every pixel before the filter, which then has the gain 2
along each axis. All filtering is written as shifted sums, which fuse; a depthwise convolution does not.
"""

import functools

import jax
import jax.numpy as jnp
from jax import Array, lax

from stylegen import ops
from stylegen.convolution import is_accelerator, spread_convolve, trilinear_convolve

OUTER, INNER = 1 / 8, 3 / 8  # taps of the filter


@functools.partial(jax.custom_vjp, nondiff_argnums=(1, 2))
def smooth(x: Array, pad: int, gain: float = 1.0) -> Array:
    """The filter over an image padded on all four sides: [N, H + 2 pad - 3, W + 2 pad - 3, C].

    Its derivative is itself, padded so that the size comes back. On a CPU the axes are summed in turn; elsewhere, where
    memory is what costs, all sixteen pixels are, in one kernel.

    Args:
        x: [N, H, W, C].
        pad: zeros at each end of both axes, up to 3.
        gain: factor along each axis.
    """
    x = jnp.pad(x, ((0, 0), (pad, pad), (pad, pad), (0, 0)))
    taps = [tap * gain for tap in (OUTER, INNER, INNER, OUTER)]
    if is_accelerator():
        h, w = x.shape[1] - 3, x.shape[2] - 3
        parts = [
            x[:, i : i + h, j : j + w] * jnp.asarray(a * b, x.dtype)
            for i, a in enumerate(taps)
            for j, b in enumerate(taps)
        ]
        return functools.reduce(jnp.add, parts)
    outer, inner = (jnp.asarray(tap, x.dtype) for tap in taps[:2])
    for axis in (1, 2):
        size = x.shape[axis] - 3
        a, b, c, d = (lax.slice_in_dim(x, i, i + size, axis=axis) for i in range(4))
        x = (a + d) * outer + (b + c) * inner
    return x


smooth.defvjp(lambda x, pad, gain: (smooth(x, pad, gain), None), lambda pad, gain, _, y: (smooth(y, 3 - pad, gain),))


@jax.custom_vjp
def upsample(x: Array) -> Array:
    """[N, H, W, C] to [N, 2H, 2W, C]: each pixel is 3/4 of the nearest and 1/4 of the next nearest, along each axis.

    Its derivative is four times ``downsample``.
    """
    near, far = (jnp.asarray(tap * 2, x.dtype) for tap in (INNER, OUTER))
    for axis in (1, 2):
        size = x.shape[axis]
        padded = jnp.pad(x, [(1, 1) if a == axis else (0, 0) for a in range(4)])
        before, after = (lax.slice_in_dim(padded, i, i + size, axis=axis) for i in (0, 2))
        x = _interleave(x * near + before * far, x * near + after * far, axis)
    return x


@jax.custom_vjp
def downsample(x: Array) -> Array:
    """[N, H, W, C] to [N, H/2, W/2, C]: the filter at every other place, its middle between the pixels of a square.

    Its derivative is a quarter of ``upsample``. The pixels are summed as in ``smooth``.

    Raises:
        ValueError: a side has an odd number of pixels.
    """
    if x.shape[1] % 2 or x.shape[2] % 2:
        raise ValueError(f"images have shape {x.shape}; to halve them, both sides must be even.")
    if is_accelerator():
        h, w = x.shape[1:3]
        x = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
        taps = list(enumerate((OUTER, INNER, INNER, OUTER)))
        parts = [
            x[:, i : i + h - 1 : 2, j : j + w - 1 : 2] * jnp.asarray(up * across, x.dtype)
            for i, up in taps
            for j, across in taps
        ]
        return functools.reduce(jnp.add, parts)
    outer, inner = (jnp.asarray(tap, x.dtype) for tap in (OUTER, INNER))
    for axis in (1, 2):
        size = x.shape[axis]
        padded = jnp.pad(x, [(1, 1) if a == axis else (0, 0) for a in range(4)])
        a, b, c, d = (lax.slice_in_dim(padded, i, i + size - 1, 2, axis=axis) for i in range(4))
        x = (a + d) * outer + (b + c) * inner
    return x


upsample.defvjp(lambda x: (upsample(x), None), lambda _, y: (downsample(y) * jnp.asarray(4, y.dtype),))
downsample.defvjp(lambda x: (downsample(x), None), lambda _, y: (upsample(y) * jnp.asarray(0.25, y.dtype),))


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
