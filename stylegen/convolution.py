"""A convolution whose derivatives of every order are its own three forms, which XLA runs well on every platform.

A convolution is bilinear: with an image x, a weight k and an image y of the result's size, the number <y, conv(x, k)>
is linear in each of the three. Its derivatives are the convolution, its transpose (by x) and the weight gradient (by
k), and theirs are the same three again. Differentiating twice, as R1 does, JAX derives the weight gradient of the
transpose by rules of its own. XLA runs that one 50 times slower than the equal weight gradient of the convolution where
there is a stride: 23.5 s of the 31 s of a CPU's step at 32 pixels with 512 channels. For a GPU it becomes a convolution
with a reversed and dilated window of 128x128, which cuDNN is not made for.

Forward-mode derivatives are not defined for these functions.
"""

import contextlib
import functools
from collections.abc import Iterator
from contextvars import ContextVar

import jax
import jax.numpy as jnp
from jax import Array, lax

_PLATFORM: ContextVar[str | None] = ContextVar("platform", default=None)

Padding = str | tuple[tuple[int, int], tuple[int, int]]


def target_platform() -> str:
    """The platform that programs are traced for: cpu, gpu or tpu, or onnx for a runtime that is not XLA.

    It is JAX's own, unless ``tracing_for`` says otherwise.
    """
    return _PLATFORM.get() or jax.default_backend()


def is_accelerator() -> bool:
    """Whether programs are traced for a GPU or a TPU, where memory traffic costs more than arithmetic."""
    return target_platform() in ("gpu", "tpu")


@contextlib.contextmanager
def tracing_for(platform: str) -> Iterator[None]:
    """Trace programs for a platform other than JAX's own, to export them or to compile them without the device."""
    token = _PLATFORM.set(platform)
    try:
        yield
    finally:
        _PLATFORM.reset(token)


def splits_transposes() -> bool:
    """Whether the transpose of a strided convolution is computed as four small convolutions, as suits a CPU.

    XLA's own form multiplies with the zeros between the pixels there. A GPU has one kernel for the whole transpose,
    cuDNN's gradient by the image, which reads and writes each image once.
    """
    return target_platform() == "cpu"


def convolve(x: Array, weight: Array, stride: int, padding: Padding) -> Array:
    """Convolution of [N, H, W, C] with [k, k, C, D], as XLA has it; the result is [N, H', W', D]."""
    dimensions = ("NHWC", "HWIO", "NHWC")
    return lax.conv_general_dilated(x, weight, (stride, stride), padding, dimension_numbers=dimensions)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def trilinear_convolve(x: Array, weight: Array, stride: int, padding: Padding) -> Array:
    """``convolve`` with the derivatives described above."""
    return convolve(x, weight, stride, padding)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3, 4))
def _transposed(y: Array, weight: Array, stride: int, padding: Padding, shape: tuple[int, ...]) -> Array:
    """The transpose of the convolution by x, whose shape is given: the contribution of y to each pixel of x."""
    if splits_transposes():
        kind, odd = (stride, padding, weight.shape[:2]), (shape[1] % 2, shape[2] % 2)
        if (*kind, odd) == (2, ((1, 1), (1, 1)), (4, 4), (0, 0)):
            return _transposed_by_places(y, weight)
        if (*kind, odd) == (2, ((0, 0), (0, 0)), (3, 3), (1, 1)):
            return _spread_by_places(y, weight)
    x = jax.ShapeDtypeStruct(shape, y.dtype)
    return jax.linear_transpose(lambda x: convolve(x, weight, stride, padding), x)(y)[0]


def upsampling_convolve(x: Array, weight: Array) -> Array:
    """The transpose of a 4x4 convolution with stride 2 and padding 1: [N, H, W, C] to [N, 2H, 2W, D].

    Row k of the weight [4, 4, C, D] takes row i of x to row 2i + k - 1 of the result. Derivatives as described above.
    """
    n, h, w, _ = x.shape
    shape = n, 2 * h, 2 * w, weight.shape[3]
    return _transposed(x, weight.transpose(0, 1, 3, 2), 2, ((1, 1), (1, 1)), shape)


def spread_convolve(x: Array, weight: Array) -> Array:
    """3x3 convolution of an image with zeros between its pixels, wherever it meets it: [N, 2H + 1, 2W + 1, D].

    It is the transpose of a convolution with stride 2, and as such has the derivatives described above.
    """
    n, h, w, _ = x.shape
    shape = n, 2 * h + 1, 2 * w + 1, weight.shape[3]
    return _transposed(x, weight.transpose(0, 1, 3, 2)[::-1, ::-1], 2, ((0, 0), (0, 0)), shape)


def _spread_by_places(y: Array, weight: Array) -> Array:
    """The transpose of a 3x3 convolution with stride 2, [N, h, w, D] to [N, 2h + 1, 2w + 1, C], as four of y.

    Row 2i of the result gets from rows i - 1 and i of y through rows 2 and 0 of the weight, row 2i + 1 from row i
    through row 1. Columns likewise. The odd rows are one fewer, so one of zeros is added to them and left out again.
    It takes 82 ms of CPU time where XLA's own form takes 127 for [8, 64, 64, 64] on two busy EPYC cores, and 172 where
    that takes 187 for [8, 16, 16, 512].
    """
    n, h, w, _ = y.shape
    turned = weight.transpose(0, 1, 3, 2)[::-1, ::-1]
    rows = []
    for i in (0, 1):
        places = []
        for j in (0, 1):
            place = convolve(y, turned[i::2, j::2], 1, ((1 - i, 1 - i), (1 - j, 1 - j)))
            places.append(jnp.pad(place, ((0, 0), (0, i), (0, j), (0, 0))))
        rows.append(jnp.stack(places, axis=3))
    return jnp.stack(rows, axis=2).reshape(n, 2 * h + 2, 2 * w + 2, weight.shape[2])[:, :-1, :-1]


def _transposed_by_places(y: Array, weight: Array) -> Array:
    """The transpose of a 4x4 convolution with stride 2, [N, h, w, D] to [N, 2h, 2w, C], as four 2x2 convolutions of y.

    One for each place in a 2x2 square: an even row of x was seen by rows 1 and 3 of the weight, an odd one by rows 0
    and 2. XLA's own form multiplies with the zeros between the rows of y too: 275 ms instead of 126 for [8, 16, 16,
    512] on two EPYC cores (benchmarks/kernels.py).
    """
    n, h, w, _ = y.shape
    turned = weight.transpose(0, 1, 3, 2)[::-1, ::-1]
    rows = []
    for i in (0, 1):
        places = [convolve(y, turned[i::2, j::2], 1, ((1 - i, i), (1 - j, j))) for j in (0, 1)]
        rows.append(jnp.stack(places, axis=3))
    return jnp.stack(rows, axis=2).reshape(n, 2 * h, 2 * w, weight.shape[2])


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3, 4))
def _by_weight(x: Array, y: Array, stride: int, padding: Padding, shape: tuple[int, ...]) -> Array:
    """The transpose of the convolution by the weight, whose shape is given: the weight gradient."""
    weight = jax.ShapeDtypeStruct(shape, x.dtype)
    return jax.linear_transpose(lambda weight: convolve(x, weight, stride, padding), weight)(y)[0]


def _keep(function):
    """A forward rule that keeps the two array arguments for the backward rule."""
    return lambda a, b, *static: (function(a, b, *static), (a, b))


def _convolve_backward(stride: int, padding: Padding, residuals: tuple[Array, Array], y: Array) -> tuple[Array, Array]:
    x, weight = residuals
    return (
        _transposed(y, weight, stride, padding, x.shape),
        _by_weight(x, y, stride, padding, weight.shape),
    )


def _transposed_backward(
    stride: int, padding: Padding, shape: tuple[int, ...], residuals: tuple[Array, Array], x: Array
) -> tuple[Array, Array]:
    y, weight = residuals
    return trilinear_convolve(x, weight, stride, padding), _by_weight(x, y, stride, padding, weight.shape)


def _by_weight_backward(
    stride: int, padding: Padding, shape: tuple[int, ...], residuals: tuple[Array, Array], weight: Array
) -> tuple[Array, Array]:
    x, y = residuals
    return _transposed(y, weight, stride, padding, x.shape), trilinear_convolve(x, weight, stride, padding)


trilinear_convolve.defvjp(_keep(trilinear_convolve), _convolve_backward)
_transposed.defvjp(_keep(_transposed), _transposed_backward)
_by_weight.defvjp(_keep(_by_weight), _by_weight_backward)
