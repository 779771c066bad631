"""Curves through points, in time: straight, eased, cubic, on spheres; closed ones; and loops of noise. Pure numpy."""

import math
from collections.abc import Callable, Sequence
from typing import Literal, get_args

import numpy as np
from jaxtyping import Float

from stylegen import sphere
from stylegen.sampling.interpolation import PathError, lerp_at, slerp_at

Kind = Literal["linear", "eased", "cubic"]
Curve = Callable[[float], np.ndarray]  # of the position: 0 at the first point, 1 at the second, 1.5 half-way on

MAX_HARMONICS = 64  # of a loop of noise
MAX_RADIUS = 20.0


def positions(steps: Sequence[int], closed: bool) -> Float[np.ndarray, " frames"]:
    """The position on a curve of every frame.

    Args:
        steps: frames from each point to the next.
        closed: the last of them lead back to the first point, which is not shown again at the end; else the last frame
            is the last point.

    Raises:
        PathError: no steps, or less than one from a point to the next.
    """
    if not steps or min(steps) < 1:
        raise PathError(f"frames = {min(steps, default=0)}: must be at least 1, from each point to the next.")
    parts = [number + np.arange(count) / count for number, count in enumerate(steps)]
    return np.concatenate([*parts, [] if closed else [float(len(steps))]])


def spread(frames: int, segments: int) -> list[int]:
    """``frames`` shared among segments as evenly as whole numbers can be; each has one at least."""
    edges = np.linspace(0, max(frames, segments), segments + 1).round().astype(int)
    return [int(n) for n in np.diff(edges)]


def curve(points: np.ndarray, kind: Kind = "linear", closed: bool = False, spherical: bool = False) -> Curve:
    """A curve that meets every point.

    ``linear`` goes straight, at a constant speed between two points. ``eased`` takes the same way, but starts and stops
    slowly (3t^2 - 2t^3). ``cubic`` is the spline of Catmull and Rom (1974): its direction does not jump at the points.

    Args:
        points: [K, ...]; one point is a curve that stays there.
        kind: of the curve.
        closed: it leads back from the last point to the first.
        spherical: for latents z: directions along the last axis turn on great circles, and lengths change straight.

    Raises:
        PathError: no points, or an unknown kind.
    """
    points = np.asarray(points)
    if kind not in get_args(Kind):
        raise PathError(f"path = {kind!r}: must be {', '.join(get_args(Kind))}.")
    if points.ndim < 1 or len(points) == 0:
        raise PathError("a path needs at least one point.")
    count = len(points)

    def at(position: float) -> np.ndarray:
        last = count - 1 if closed else max(count - 2, 0)
        i = min(max(int(math.floor(position)), 0), last)
        t = min(max(position - i, 0.0), 1.0)
        four = [_point(points, i + offset, closed) for offset in (-1, 0, 1, 2)]
        if kind != "cubic":
            t = t * t * (3 - 2 * t) if kind == "eased" else t
            return slerp_at(four[1], four[2], t) if spherical else lerp_at(four[1], four[2], t)
        if not spherical:
            return _catmull_rom(four, t).astype(points.dtype)
        direction = sphere.unit(_catmull_rom([sphere.unit(p) for p in four], t))
        lengths = lerp_at(sphere.norm(four[1].astype(np.float64)), sphere.norm(four[2].astype(np.float64)), t)
        return (direction * lengths).astype(points.dtype)

    return at


def _point(points: np.ndarray, i: int, closed: bool) -> np.ndarray:
    """The point of a number; beyond the ends of an open curve, the reflection of the neighbor of the end."""
    count = len(points)
    if closed or count == 1:
        return points[i % count]
    if i < 0:
        return 2 * points[0] - points[1]
    return points[i] if i < count else 2 * points[-1] - points[-2]


def _catmull_rom(points: Sequence[np.ndarray], t: float) -> np.ndarray:
    """Between the second and the third of four points."""
    a, b, c, d = points
    curved = 2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2 + (3 * b - a - 3 * c + d) * t**3
    return 0.5 * curved


def noise_loop(seed: int, size: int, radius: float = 1.0) -> Curve:
    """A closed walk of normal numbers [size], float32, of a position from 0 to 1, where it is at its beginning again.

    Every number is a Gaussian process on a circle: a sum of harmonics with random weights, so that at every moment the
    numbers are independent and standard normal. A larger radius has more harmonics, and changes faster and farther; as
    it goes to 0 one is left, which is a great circle.

    Args:
        seed: of the weights.
        size: of the result.
        radius: from 0 to ``MAX_RADIUS``.

    Raises:
        PathError: the radius is out of range.
    """
    if not 0 <= radius <= MAX_RADIUS:
        raise PathError(f"radius = {radius:g}: must be from 0 to {MAX_RADIUS:g}.")
    count = min(math.ceil(3 * radius) + 1, MAX_HARMONICS)
    harmonics = np.arange(1, count + 1)
    power = np.exp(-np.square(harmonics - 1) / (2 * max(radius, 1e-6) ** 2))
    weights = np.random.RandomState(seed).randn(2, count, size) * np.sqrt(power / power.sum())[:, None]

    def at(position: float) -> np.ndarray:
        angles = 2 * math.pi * harmonics * (position % 1.0)
        return (np.cos(angles) @ weights[0] + np.sin(angles) @ weights[1]).astype(np.float32)

    return at
