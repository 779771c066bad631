"""Style transfer of a video: frame by frame, each blended with the moved one before; and how steady that is.

A frame by itself gets strokes that jump, since small changes of the content change much of the result. Here the result
before is moved along with the content (motion of blocks between the two contents, found by matching them at a quarter
of the size and then at full size) and mixed in where the moved content agrees with the new one, so not where something
was hidden.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from stylegen.runtime import compilation

BLEND = 0.7  # share of the moved result before, where the contents agree
_BLOCK = 8  # pixels a side of what moves together; matched over thrice that, so that it has something to hold on to
_REACH = 7  # pixels that a block may have moved, at a quarter of the size; 28 in all
_AGREE = 12.0  # gray levels: contents that differ by more hardly count as the same
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)

Transfer = Callable[[np.ndarray], np.ndarray]


@dataclass
class Consistency:
    """Mean change, in gray levels, of what should have stayed: each frame against the moved one before, where seen."""

    content: list[float] = field(default_factory=list)  # of the video itself: noise and imperfect motion
    single: list[float] = field(default_factory=list)  # of frames transferred one by one
    blended: list[float] = field(default_factory=list)  # of what is given back

    def __str__(self) -> str:
        if not self.content:
            return "a single frame, so nothing to compare"
        content, single, blended = (float(np.mean(x)) for x in (self.content, self.single, self.blended))
        return (
            f"change along the motion {blended:.2f} gray levels; {single:.2f} without blending, "
            f"{content:.2f} in the video itself"
        )


def blended(
    frames: Iterable[np.ndarray], transfer: Transfer, blend: float = BLEND, consistency: Consistency | None = None
) -> Iterator[np.ndarray]:
    """Transferred frames, steadied.

    Args:
        frames: uint8 [h, w, 3] each.
        transfer: gives a frame its style.
        blend: share of the moved result before, in [0, 1); 0 leaves every frame by itself.
        consistency: receives the measurements.

    Yields:
        uint8 [h, w, 3].
    """
    before: tuple[np.ndarray, np.ndarray, np.ndarray] | None = None
    for frame in frames:
        single = transfer(frame)
        result = single
        if before is not None:
            content, alone, last = before
            motion = estimate_motion(content, frame)
            agreement, mixed, changes = _blend(content, frame, alone, single, last, motion, blend)
            result = np.asarray(mixed)
            if consistency is not None and float(agreement) > 0:
                series_of = (consistency.content, consistency.single, consistency.blended)
                for series, change in zip(series_of, changes, strict=True):
                    series.append(float(change))
        before = (frame, single, result)
        yield result


def estimate_motion(before: np.ndarray, now: np.ndarray) -> np.ndarray:
    """Where each pixel of ``now`` was in ``before``, relative to where it is: float32 [h, w, 2], (down, right)."""
    return np.asarray(_motion(jnp.asarray(before), jnp.asarray(now)))


@compilation.jit(precision=None)
def _motion(before: Array, now: Array) -> Array:
    a, b = (image.astype(jnp.float32) @ _LUMA for image in (before, now))
    small = [_shrunk(_shrunk(image)) for image in (a, b)]
    coarse = _matched(small[0], small[1], jnp.zeros((*small[0].shape, 2), jnp.int32), _REACH)
    start = 4 * coarse.repeat(4, 0).repeat(4, 1)
    pad = [(0, a.shape[0] - start.shape[0]), (0, a.shape[1] - start.shape[1]), (0, 0)]
    motion = _matched(a, b, jnp.pad(start, pad, mode="edge"), 3)
    return motion.astype(jnp.float32)


def _shrunk(x: Array) -> Array:
    h, w = (side // 2 * 2 for side in x.shape)
    return (x[0:h:2, 0:w:2] + x[1:h:2, 0:w:2] + x[0:h:2, 1:w:2] + x[1:h:2, 1:w:2]) / 4


def _matched(a: Array, b: Array, start: Array, reach: int) -> Array:
    """The displacement [h, w, 2] within ``reach`` of ``start`` for which ``a`` resembles ``b`` most, block by block.

    The present displacement, and small ones, are preferred a little, so that flat places stand still.
    """
    y, x = jnp.mgrid[0 : b.shape[0], 0 : b.shape[1]]
    offsets = jnp.mgrid[-reach : reach + 1, -reach : reach + 1].reshape(2, -1).T

    def cost_of(offset: Array) -> Array:
        at = (y + start[..., 0] + offset[0], x + start[..., 1] + offset[1])
        moved = a[jnp.clip(at[0], 0, a.shape[0] - 1), jnp.clip(at[1], 0, a.shape[1] - 1)]
        return _box(jnp.abs(moved - b), 3 * _BLOCK // 2) + 0.02 * jnp.sum(jnp.abs(offset))

    def better(best: tuple[Array, Array], offset: Array) -> tuple[tuple[Array, Array], None]:
        cost = cost_of(offset)
        closer = cost < best[0]
        return (jnp.where(closer, cost, best[0]), jnp.where(closer[..., None], offset, best[1])), None

    none = (jnp.full(b.shape, jnp.inf), jnp.zeros((*b.shape, 2), jnp.int32))
    (_, best), _ = jax.lax.scan(better, none, offsets)
    return start + best


def _box(x: Array, radius: int) -> Array:
    """Means over squares, from sums along each axis; the edges repeat."""
    for axis in (0, 1):
        pad = [(radius + 1, radius) if a == axis else (0, 0) for a in (0, 1)]
        sums = jnp.cumsum(jnp.pad(x, pad, mode="edge"), axis=axis)
        n = x.shape[axis]
        ahead = jax.lax.slice_in_dim(sums, 2 * radius + 1, 2 * radius + 1 + n, axis=axis)
        x = (ahead - jax.lax.slice_in_dim(sums, 0, n, axis=axis)) / (2 * radius + 1)
    return x


def warp(image: Array, motion: Array) -> Array:
    """``image`` [h, w, C] read at the places that ``motion`` [h, w, 2] says, between pixels linearly."""
    h, w = motion.shape[:2]
    y, x = jnp.mgrid[0:h, 0:w]
    at = [jnp.clip(p + motion[..., i], 0, side - 1) for i, (p, side) in enumerate(((y, h), (x, w)))]
    low = [jnp.floor(p).astype(jnp.int32) for p in at]
    high = [jnp.minimum(p + 1, side - 1) for p, side in zip(low, (h, w), strict=True)]
    ty, tx = ((p - q)[..., None] for p, q in zip(at, low, strict=True))
    image = image.astype(jnp.float32)
    top = image[low[0], low[1]] * (1 - tx) + image[low[0], high[1]] * tx
    return top * (1 - ty) + (image[high[0], low[1]] * (1 - tx) + image[high[0], high[1]] * tx) * ty


@compilation.jit(precision=None)
def _blend(
    before: Array, now: Array, alone: Array, single: Array, last: Array, motion: Array, blend: float
) -> tuple[Array, Array, list[Array]]:
    """How much is seen in both, the blended frame, and the mean changes of content, single frames and result."""
    difference = jnp.mean(jnp.abs(warp(before, motion) - now), axis=-1)
    h, w = motion.shape[:2]
    y, x = jnp.mgrid[0:h, 0:w]
    inside = [(p + motion[..., i] >= 0) & (p + motion[..., i] <= n - 1) for i, (p, n) in enumerate(((y, h), (x, w)))]
    seen = jnp.exp(-jnp.square(_box(difference, 2) / _AGREE)) * inside[0] * inside[1]
    share = blend * seen[..., None]
    moved = warp(last, motion)
    mixed = single * (1 - share) + moved * share
    pairs = ((warp(before, motion), now), (warp(alone, motion), single), (moved, mixed))
    total = jnp.maximum(jnp.sum(seen), 1e-6)
    changes = [jnp.sum(jnp.mean(jnp.abs(a - b), axis=-1) * seen) / total for a, b in pairs]
    return jnp.sum(seen), jnp.clip(mixed + 0.5, 0, 255).astype(jnp.uint8), changes
