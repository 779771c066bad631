"""Sliced Wasserstein distance between patches of two sets of images, one resolution at a time; no weights needed.

Karras et al. 2018 ("Progressive growing"), Sec. 5, with the constants of their published code. The Laplacian pyramid
goes down to 16 pixels. There are 128 patches of 7x7 pixels an image and level, and 4 times 128 directions. Distances
are multiplied by 1000.
"""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Shaped, UInt8

from stylegen.array_types import Array
from stylegen.metrics import MetricError

PATCH, PATCHES_PER_IMAGE = 7, 128
MIN_RESOLUTION = 16
REPEATS, DIRECTIONS = 4, 128
SCALE = 1000.0
_FILTER = np.array([1, 4, 6, 4, 1], np.float32) / 16


class PatchSampler:
    """Draws patches from batches of images: all levels of the Laplacian pyramid, so many patches an image.

    The positions depend on the seed and on an image's place in the order, not on how the images are batched.
    """

    def __init__(
        self, shape: int | tuple[int, int], channels: int, seed: int = 0, patches: int = PATCHES_PER_IMAGE
    ) -> None:
        """Prepare for images of one size: pixels a side, or rows and columns. Levels go by the shorter side.

        Raises:
            MetricError: they are too small for a patch, or cannot be halved down to 16 pixels.
        """
        self._shape = rows, columns = (shape, shape) if isinstance(shape, int) else tuple(shape)
        self.levels = levels(min(rows, columns))
        halvings = 2 ** (len(self.levels) - 1)
        if max(rows, columns) % halvings:
            raise MetricError(f"images of {columns}x{rows} pixels cannot be halved {len(self.levels) - 1} times.")
        self.channels, self.patches = channels, patches
        self._rng = np.random.RandomState(seed)
        self._patches: dict[int, list[np.ndarray]] = {level: [] for level in self.levels}

    def update(self, images: UInt8[np.ndarray, "n h w c"]) -> None:
        """Draw from uint8 [N, r, r, C]; the patches are stored until ``take``."""
        wanted = (*self._shape, self.channels)
        if images.shape[1:] != wanted or images.dtype != np.uint8:
            raise MetricError(
                f"images are {images.dtype} {images.shape}; wanted uint8 [N, {', '.join(map(str, wanted))}]."
            )
        places = self._rng.random_sample((len(images), len(self.levels), self.patches, 2))
        pyramid = laplacian_pyramid(images, len(self.levels))
        for i, (level, image) in enumerate(zip(self.levels, pyramid, strict=True)):
            free = np.array([side // 2**i - PATCH for side in self._shape])
            corners = np.minimum((places[:, i] * (free + 1)).astype(np.int64), free)
            self._patches[level].append(_cut(np.asarray(image), corners))

    def take(self, level: int) -> Float[np.ndarray, "patches pixels c"]:
        """The patches of a level, float32 [N * patches, 7 * 7, C]; they are forgotten here."""
        return np.concatenate(self._patches.pop(level))


def levels(resolution: int) -> list[int]:
    """Resolutions that are compared, largest first.

    Raises:
        MetricError: images of this size have no such pyramid.
    """
    if resolution < PATCH:
        raise MetricError(f"images of {resolution} pixels are smaller than SWD's patches of {PATCH}x{PATCH}.")
    count = max(1, math.floor(math.log2(resolution / MIN_RESOLUTION)) + 1) if resolution >= MIN_RESOLUTION else 1
    if resolution % 2 ** (count - 1):
        raise MetricError(
            f"images of {resolution} pixels cannot be halved down to {MIN_RESOLUTION}; SWD needs a power of two, or a "
            "multiple of one that is large enough."
        )
    return [resolution >> i for i in range(count)]


def laplacian_pyramid(images: Shaped[np.ndarray, "n h w c"], count: int) -> list[Float[Array, "n _ _ c"]]:
    """Levels of the Laplacian pyramid (Burt and Adelson 1983) of [N, r, r, C], finest first; the last is low-pass.

    Each level but the last is what is lost when the image is blurred, halved and brought back to its size. The filter
    is [1, 4, 6, 4, 1]/16 along each axis, and images are mirrored at their borders.
    """
    return _pyramid(images, count)


@functools.partial(jax.jit, static_argnames="count")
def _pyramid(images: Array, count: int) -> list[Array]:
    current = images.astype(jnp.float32)
    bands = []
    for _ in range(count - 1):
        smaller = _down(current)
        bands.append(current - _up(smaller))
        current = smaller
    return [*bands, current]


def _filtered(x: Array) -> Array:
    """[1, 4, 6, 4, 1]/16 along height and width of [N, h, w, C], mirrored at the borders without repeating the edge."""
    for axis in (1, 2):
        size = x.shape[axis]
        padding = [(2, 2) if a == axis else (0, 0) for a in range(4)]
        padded = jnp.pad(x, padding, mode="reflect")
        shifted = [jax.lax.slice_in_dim(padded, i, i + size, axis=axis) for i in range(5)]
        x = sum(part * weight for part, weight in zip(shifted, _FILTER, strict=True))
    return x


def _down(x: Array) -> Array:
    return _filtered(x)[:, ::2, ::2]


def _up(x: Array) -> Array:
    """Twice the size: every other pixel zero, filtered, and times 4, which makes up for the zeros."""
    n, h, w, c = x.shape
    spread = jnp.zeros((n, 2 * h, 2 * w, c), x.dtype).at[:, ::2, ::2].set(x)
    return _filtered(spread) * 4


def _cut(images: np.ndarray, corners: np.ndarray) -> np.ndarray:
    """Patches [N * P, 49, C] of [N, r, r, C] at corners [N, P, 2]."""
    n, per_image, _ = corners.shape
    offsets = np.arange(PATCH)
    rows = corners[:, :, 0, None, None] + offsets[:, None]
    columns = corners[:, :, 1, None, None] + offsets[None, :]
    patches = images[np.arange(n)[:, None, None, None], rows, columns]
    return patches.reshape(n * per_image, PATCH * PATCH, -1)


def sliced_wasserstein(a: Float[np.ndarray, "n pixels c"], b: Float[np.ndarray, "n pixels c"], seed: int = 0) -> float:
    """Mean distance of sorted projections on random directions, after each channel is standardized in each set.

    Args:
        a: patches [N, pixels, C].
        b: as many patches, as large.
        seed: of the directions.

    Raises:
        MetricError: shapes that differ.
    """
    if a.shape != b.shape or a.ndim != 3:
        raise MetricError(f"patches have shapes {a.shape} and {b.shape}; both must be [N, pixels, C], and alike.")
    a, b = _standardize(a), _standardize(b)
    rng = np.random.RandomState(seed)
    distances = []
    for _ in range(REPEATS):
        directions = rng.randn(a.shape[1], DIRECTIONS)
        directions = (directions / np.linalg.norm(directions, axis=0)).astype(np.float32)
        # Sorting runs along rows that lie together in memory.
        sorted_a, sorted_b = (np.sort(directions.T @ x.T, axis=1) for x in (a, b))
        distances.append(np.abs(sorted_a - sorted_b).mean(dtype=np.float64))
    return float(np.mean(distances))


def _standardize(patches: np.ndarray) -> np.ndarray:
    """Zero mean and unit standard deviation of each channel over all patches and pixels; float32 [N, pixels * C]."""
    mean = patches.mean(axis=(0, 1), dtype=np.float64)
    std = patches.std(axis=(0, 1), dtype=np.float64)
    # A channel that does not vary is zero after the mean is taken off, whatever it is divided by.
    scaled = (patches - mean.astype(np.float32)) / np.where(std > 0, std, 1).astype(np.float32)
    return scaled.reshape(len(patches), -1)


def compare(fakes: PatchSampler, reals: PatchSampler, seed: int = 0) -> dict[int, float]:
    """Distance by resolution, times 1000, of two samplers that have seen equally many images."""
    if fakes.levels != reals.levels:
        raise MetricError(f"images of {fakes.levels[0]} and of {reals.levels[0]} pixels cannot be compared.")
    return {
        level: SCALE * sliced_wasserstein(fakes.take(level), reals.take(level), seed + i)
        for i, level in enumerate(fakes.levels)
    }
