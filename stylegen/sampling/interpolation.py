"""Paths between latents: straight for styles w, spherical for normal latents z. Pure numpy."""

from collections.abc import Iterator
from typing import Literal

import numpy as np
from jaxtyping import Num

from stylegen import sphere
from stylegen.errors import StylegenError


class PathError(StylegenError):
    """There is no such path; the message says why."""


def interpolate(a: Num[np.ndarray, "*shape"], b: Num[np.ndarray, "*shape"], n: int) -> Num[np.ndarray, "points ..."]:
    """``n`` points on the straight line from ``a`` to ``b``, both included: ``[n, *a.shape]``. The path to take in w.

    Raises:
        PathError: shapes differ, or n is less than 2.
    """
    return _between("lerp", a, b, n)


def slerp(a: Num[np.ndarray, "*shape"], b: Num[np.ndarray, "*shape"], n: int) -> Num[np.ndarray, "points ..."]:
    """``n`` points on the great circle from ``a`` to ``b``, both included: ``[n, *a.shape]``. The path to take in z.

    The angle grows at constant speed, the length goes straight from that of ``a`` to that of ``b``. Vectors are along
    the last axis. A normal z of many dimensions has nearly constant length, which a straight line would leave.

    Raises:
        PathError: shapes differ, or n is less than 2.
    """
    return _between("slerp", a, b, n)


def walk(points: np.ndarray, frames: int, loop: bool, kind: Literal["lerp", "slerp"]) -> Iterator[np.ndarray]:
    """Go from each of ``points`` [K, ...] to the next in ``frames`` equal steps, ``num_frames`` points one at a time.

    A loop returns to the first point and ends one step before it, so that a repeated video does not stand still there.
    """
    for i in range(len(points) if loop else len(points) - 1):
        a, b = points[i], points[(i + 1) % len(points)]
        yield from (_KINDS[kind](a, b, step / frames) for step in range(frames))
    if not loop:
        yield points[-1]


def num_frames(points: int, frames: int, loop: bool) -> int:
    """Number of points that ``walk`` gives.

    Raises:
        PathError: fewer than two points, or no frames.
    """
    if points < 2:
        raise PathError("an interpolation needs at least two seeds.")
    if frames < 1:
        raise PathError(f"frames = {frames}: must be at least 1, from each seed to the next.")
    return points * frames if loop else (points - 1) * frames + 1


def _between(kind: str, a: np.ndarray, b: np.ndarray, n: int) -> np.ndarray:
    a, b = np.asarray(a), np.asarray(b)
    if a.shape != b.shape:
        raise PathError(f"the ends of a path have shapes {a.shape} and {b.shape}; they must be alike.")
    if n < 2:
        raise PathError(f"n = {n}: a path has at least its two ends.")
    return np.stack([_KINDS[kind](a, b, i / (n - 1)) for i in range(n)])


def lerp_at(a: np.ndarray, b: np.ndarray, t: float) -> np.ndarray:
    """A share t of the straight way from a to b, in the dtype of a."""
    return (a * (1 - t) + b * t).astype(a.dtype)


def slerp_at(a: np.ndarray, b: np.ndarray, t: float) -> np.ndarray:
    """A share t of the way on a great circle, along the last axis; lengths change straight."""
    if t in (0, 1):
        return b if t else a
    length_a, length_b = (sphere.norm(x.astype(np.float64)) for x in (a, b))
    return (sphere.slerp(a, b, t) * (length_a * (1 - t) + length_b * t)).astype(a.dtype)


_KINDS = {"lerp": lerp_at, "slerp": slerp_at}
