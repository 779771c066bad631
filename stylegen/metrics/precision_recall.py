"""Fidelity and diversity from nearest neighbors: improved precision and recall, density and coverage.

Kynkäänniemi et al. 2019 ("Improved Precision and Recall Metric") and Naeem et al. 2020 ("Reliable Fidelity and
Diversity Metrics"). A ball around each sample reaches to its k-th nearest neighbor of its own kind.
"""

import functools
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
PAIR_NUMBERS = 2**17  # float64 numbers of pairs at once: a megabyte fits into a cache (7 µs a pair, else 25)
ROUNDING = 2.0**-23  # of one operation in float32, with a factor of 2 for the order of sums and products in parts


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
    """Squared distance [N] of each row to its k-th nearest other row, float64."""
    centered = _centered(features, features)
    radii = []
    for start, block in _blocks(centered):
        own = start + np.arange(len(block))
        rows, columns = np.nonzero(np.asarray(_candidates(block, centered, own, k=k)))
        distances = _squared_distances(features, start + rows, features, columns)
        ends = np.searchsorted(rows, np.arange(1, len(block)))
        radii += [np.partition(candidates, k - 1)[k - 1] for candidates in np.split(distances, ends)]
    return np.array(radii)


def _within(points: np.ndarray, centers: np.ndarray, radii: np.ndarray) -> Iterator[np.ndarray]:
    """Whether each point is in each center's ball, bool [block, M], a block of points at a time."""
    near = _centered(centers, centers)
    for start, block in _blocks(_centered(points, centers)):
        inside, undecided = (np.array(mask) for mask in _compared(block, near, radii.astype(np.float32)))
        rows, columns = np.nonzero(undecided)
        inside[rows, columns] = _squared_distances(points, start + rows, centers, columns) <= radii[columns]
        yield inside


def _blocks(features: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    for start in range(0, len(features), BLOCK):
        yield start, features[start : start + BLOCK]


def _centered(features: np.ndarray, others: np.ndarray) -> np.ndarray:
    """float32, moved by the mean of ``others``: that changes no distance, and less is lost by ``_bounds``."""
    return (features - others.mean(axis=0, dtype=np.float64)).astype(np.float32)


def _squared_distances(x: np.ndarray, rows: np.ndarray, y: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Of some pairs, x[rows] and y[columns]: [pairs], by differences in float64. Equal pairs give equal numbers."""
    size = max(1, PAIR_NUMBERS // x.shape[1])
    parts = [slice(start, start + size) for start in range(0, len(rows), size)]
    differences = (x[rows[part]].astype(np.float64) - y[columns[part]] for part in parts)
    return np.concatenate([np.zeros(0), *(np.square(difference).sum(axis=1) for difference in differences)])


@functools.partial(jax.jit, static_argnames="k")
def _candidates(x: Array, y: Array, own: Array, *, k: int) -> Array:
    """Which rows of y may be among the k nearest of each row of x, bool [n, m]; ``own`` is its own number in y."""
    lower, upper = _bounds(x, y)
    lower, upper = (bound.at[jnp.arange(len(x)), own].set(jnp.inf) for bound in (lower, upper))
    return lower <= -lax.top_k(-upper, k)[0][:, -1:]


@jax.jit
def _compared(x: Array, y: Array, radii: Array) -> tuple[Array, Array]:
    """Which rows of x are in the balls of y for certain, and of which that is open: two of bool [n, m]."""
    lower, upper = _bounds(x, y)
    inside = upper <= radii[None]
    return inside, (lower <= radii[None]) & ~inside


def _bounds(x: Float[Array, "n d"], y: Float[Array, "m d"]) -> tuple[Float[Array, "n m"], Float[Array, "n m"]]:
    """Between which two numbers the squared distance of each pair lies: two of [n, m].

    By products, for speed: |x|^2 + |y|^2 - 2xy. What cancels there is all of a distance that is small against the
    vectors, as within clusters that are far apart. So the products decide only what is certain of a sum of so many
    rounded numbers, and ``_squared_distances`` the rest.
    """
    products = jnp.matmul(x, y.T, precision=lax.Precision.HIGHEST)
    square_x, square_y = (jnp.sum(v * v, axis=1) for v in (x, y))
    distances = square_x[:, None] + square_y[None, :] - 2 * products
    slack = (x.shape[1] + 16) * ROUNDING * jnp.square(jnp.sqrt(square_x)[:, None] + jnp.sqrt(square_y)[None, :])
    return distances - slack, distances + slack


def _checked_pair(fakes: np.ndarray, reals: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Both sets, if they can be compared."""
    fakes, reals = checked(fakes, "features of fakes"), checked(reals, "features of reals")
    if fakes.shape[1] != reals.shape[1]:
        raise MetricError(f"features of {fakes.shape[1]} and of {reals.shape[1]} numbers cannot be compared.")
    if k < 1 or min(len(fakes), len(reals)) <= k:
        raise MetricError(
            f"k = {k} nearest neighbors need more than {k} images of each kind; there are {len(fakes)} and "
            f"{len(reals)}."
        )
    return fakes, reals
