"""Points on great circles, the paths between normal latents. Pure numpy."""

import numpy as np

PARALLEL = 1e-6  # sine of an angle so small that its two vectors span no plane


def slerp(a: np.ndarray, b: np.ndarray, t: np.ndarray | float) -> np.ndarray:
    """Directions on the great circles from ``a`` (t = 0) to ``b`` (t = 1), at constant speed (Shoemake 1985).

    cos(t angle) u + sin(t angle) p, with ``u = a/|a|`` and p the unit vector at right angles to it in their plane.
    Parallel and opposite vectors leave the plane open: it is then that of u and the axis farthest from it.

    Args:
        a: vectors [..., D] of any length; only their directions count.
        b: [..., D].
        t: one number, or [..., 1].

    Returns:
        [..., D], float64, of length 1: give them the length that is wanted.
    """
    u, v = unit(a), unit(b)
    # Unlike the arc cosine of the dot product, this keeps its precision at angles near 0 and pi.
    angle = 2 * np.arctan2(norm(u - v), norm(u + v))
    p = v - np.sum(u * v, axis=-1, keepdims=True) * u
    axis = np.eye(u.shape[-1])[np.argmin(np.abs(u), axis=-1)]
    any_p = axis - np.sum(u * axis, axis=-1, keepdims=True) * u
    p = unit(np.where(norm(p) < PARALLEL, any_p, p))
    return np.cos(t * angle) * u + np.sin(t * angle) * p


def norm(x: np.ndarray) -> np.ndarray:
    """Lengths [..., 1] of vectors [..., D]."""
    return np.linalg.norm(x, axis=-1, keepdims=True)


def unit(x: np.ndarray) -> np.ndarray:
    """Directions of vectors [..., D], float64; a zero vector stays zero."""
    x = np.asarray(x, np.float64)
    length = norm(x)
    return x / np.where(length == 0, 1, length)
