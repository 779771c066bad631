"""Resizing as the networks' own tools do it, as two small matrices: exact, differentiable, the same on every device."""

import functools
from typing import Literal

import jax.numpy as jnp
import numpy as np
from jax import Array, lax

Filter = Literal["tensorflow", "triangle"]


def resize(images: Array, size: int, kind: Filter) -> Array:
    """Resize [N, h, w, C] to [N, size, size, C], float32.

    Args:
        images: of any kind of number.
        size: pixels a side.
        kind: tensorflow is the bilinear resize of TensorFlow 1: corners aligned at the top left, no antialiasing.
            triangle is bilinear with aligned centers, and antialiased where it makes smaller.
    """
    x = images.astype(jnp.float32)
    for axis in (1, 2):
        if x.shape[axis] != size:
            matrix = resize_matrix(x.shape[axis], size, kind)
            moved = jnp.tensordot(x, matrix, axes=((axis,), (1,)), precision=lax.Precision.HIGHEST)
            x = jnp.moveaxis(moved, -1, axis)
    return x


@functools.cache
def resize_matrix(old: int, new: int, kind: Filter) -> np.ndarray:
    """The matrix [new, old] that resizes one axis, float32."""
    if kind == "triangle":
        return _triangle(old, new)
    # TensorFlow computes places in float32, and so where a new pixel falls exactly on an old one.
    places = np.arange(new, dtype=np.float32) * np.float32(old / new)
    low = np.minimum(places.astype(np.int64), old - 1)
    weight = places - low.astype(np.float32)
    matrix = np.zeros((new, old), np.float32)
    rows = np.arange(new)
    np.add.at(matrix, (rows, low), 1 - weight)
    np.add.at(matrix, (rows, np.minimum(low + 1, old - 1)), weight)
    return matrix


def _triangle(old: int, new: int) -> np.ndarray:
    scale = old / new
    centers = (np.arange(new) + 0.5) * scale - 0.5
    distance = np.abs(centers[:, None] - np.arange(old)[None, :]) / max(scale, 1.0)
    weights = np.maximum(1 - distance, 0)
    return (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)
