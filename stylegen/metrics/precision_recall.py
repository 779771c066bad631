"""Fidelity and diversity from nearest neighbors: improved precision and recall, density and coverage.

Kynkäänniemi et al. 2019 ("Improved Precision and Recall Metric") and Naeem et al. 2020 ("Reliable Fidelity and
Diversity Metrics"). A ball around each sample reaches to its k-th nearest neighbor of its own kind.
"""

from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Float

from stylegen.array_types import Array
from stylegen.metrics import MetricError
from stylegen.metrics.moments import checked

BLOCK = 2048  # rows whose distances to all others are in memory at once


def precision_recall(
    fakes: Float[np.ndarray, "n d"], reals: Float[np.ndarray, "m d"], k: int = 3
) -> tuple[float, float]:
    """Share of fakes in the balls of reals, and of reals in the balls of fakes (Kynkäänniemi et al., Eq. 2).

    Args:
        fakes: features [N, D].
        reals: features [M, D].
        k: neighbors, 3 in the paper.

    Raises:
        MetricError: shapes do not fit, or there are not more than k samples.
    """
    fakes, reals = _checked_pair(fakes, reals, k)
    precision = np.concatenate([near.any(axis=1) for near in _within(fakes, reals, _radii(reals, k))]).mean()
    recall = np.concatenate([near.any(axis=1) for near in _within(reals, fakes, _radii(fakes, k))]).mean()
    return float(precision), float(recall)


def density_coverage(
    fakes: Float[np.ndarray, "n d"], reals: Float[np.ndarray, "m d"], k: int = 5
) -> tuple[float, float]:
    """Balls of reals that a fake is in, over k, and share of reals with a fake in their ball (Naeem et al., Sec. 3).

    Density may exceed 1. Arguments and errors are those of ``precision_recall``; k is 5 in the paper.
    """
    fakes, reals = _checked_pair(fakes, reals, k)
    total, covered = 0, np.zeros(len(reals), bool)
    for near in _within(fakes, reals, _radii(reals, k)):
        total += int(near.sum())
        covered |= near.any(axis=0)
    return total / (k * len(fakes)), float(covered.mean())


def _radii(features: np.ndarray, k: int) -> np.ndarray:
    """Squared distance [N] of each row to its k-th nearest other row."""
    radii = []
    for start, block in _blocks(features):
        distances = _squared_distances(block, features)
        # A row's distance to itself is not always exactly 0 where it is computed from products.
        own = start + np.arange(len(block))
        distances = distances.at[np.arange(len(block)), own].set(jnp.inf)
        radii.append(np.asarray(-lax.top_k(-distances, k)[0][:, -1]))
    return np.concatenate(radii)


def _within(points: np.ndarray, centers: np.ndarray, radii: np.ndarray) -> Iterator[np.ndarray]:
    """Whether each point is in each center's ball, bool [block, M], a block of points at a time."""
    for _, block in _blocks(points):
        yield np.asarray(_squared_distances(block, centers) <= radii[None])


def _blocks(features: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    for start in range(0, len(features), BLOCK):
        yield start, features[start : start + BLOCK]


@jax.jit
def _squared_distances(x: Float[Array, "n d"], y: Float[Array, "m d"]) -> Float[Array, "n m"]:
    """[n, D] and [m, D] to [n, m].

    By products, for speed. The features come centered (see ``_checked_pair``), so that little cancels.
    """
    products = jnp.matmul(x, y.T, precision=lax.Precision.HIGHEST)
    squares = jnp.sum(x * x, axis=1)[:, None] + jnp.sum(y * y, axis=1)[None, :]
    return jnp.maximum(squares - 2 * products, 0)


def _checked_pair(fakes: np.ndarray, reals: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Both sets as float32, moved so that the mean of the reals is 0, which changes no distance."""
    fakes, reals = checked(fakes, "features of fakes"), checked(reals, "features of reals")
    if fakes.shape[1] != reals.shape[1]:
        raise MetricError(f"features of {fakes.shape[1]} and of {reals.shape[1]} numbers cannot be compared.")
    if k < 1 or min(len(fakes), len(reals)) <= k:
        raise MetricError(
            f"k = {k} nearest neighbors need more than {k} images of each kind; there are {len(fakes)} and "
            f"{len(reals)}."
        )
    center = reals.mean(axis=0, dtype=np.float64)
    return (fakes - center).astype(np.float32), (reals - center).astype(np.float32)
