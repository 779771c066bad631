"""Kernel distance between two sets of features, which with Inception's features is KID (Binkowski et al. 2018)."""

import numpy as np
from jaxtyping import Float, Int

from stylegen.metrics import MetricError
from stylegen.metrics.moments import checked

SUBSETS, SUBSET_SIZE = 100, 1000  # of the authors' code, and of StyleGAN2-ADA and torch-fidelity


def kernel_distance(
    fakes: Float[np.ndarray, "n d"],
    reals: Float[np.ndarray, "m d"],
    fake_subsets: Int[np.ndarray, "s k"],
    real_subsets: Int[np.ndarray, "s k"],
) -> float:
    """Mean over subsets of the unbiased squared MMD with the kernel (x·y/D + 1)^3.

    Computed in float64, so that the difference of large sums loses nothing.

    Args:
        fakes: features [N, D].
        reals: features [M, D].
        fake_subsets: rows of ``fakes`` in each subset, int [S, m]; see ``draw_subsets``.
        real_subsets: rows of ``reals``, int [S, m].

    Raises:
        MetricError: shapes that do not fit.
    """
    fakes, reals = checked(fakes, "features of fakes"), checked(reals, "features of reals")
    if fakes.shape[1] != reals.shape[1]:
        raise MetricError(f"features of {fakes.shape[1]} and of {reals.shape[1]} numbers cannot be compared.")
    if fake_subsets.shape != real_subsets.shape:
        raise MetricError(f"subsets have shapes {fake_subsets.shape} and {real_subsets.shape}; they must be alike.")
    pairs = zip(fake_subsets, real_subsets, strict=True)
    return float(np.mean([squared_mmd(fakes[rows], reals[columns]) for rows, columns in pairs]))


def squared_mmd(x: Float[np.ndarray, "m d"], y: Float[np.ndarray, "m d"]) -> float:
    """Unbiased estimate of the squared MMD of x [m, D] and y [m, D] (Binkowski et al. 2018, Eq. 4). May be negative."""
    m = len(x)
    x, y = x.astype(np.float64), y.astype(np.float64)
    within = sum(_sum_off_diagonal(_kernel(z, z)) for z in (x, y))
    return float(within / (m * (m - 1)) - 2 * _kernel(x, y).mean())


def draw_subsets(n: int, subsets: int, size: int, seed: int) -> Int[np.ndarray, "{subsets} k"]:
    """Rows of each subset, int [subsets, min(size, n)], drawn without repetition within a subset.

    Raises:
        MetricError: fewer than two rows.
    """
    size = min(size, n)
    if size < 2:
        raise MetricError(f"KID needs at least 2 images of each kind; there are {n}.")
    rng = np.random.RandomState(seed)
    return np.stack([rng.choice(n, size, replace=False) for _ in range(subsets)])


def _kernel(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return (x @ y.T / x.shape[1] + 1) ** 3


def _sum_off_diagonal(matrix: np.ndarray) -> float:
    return float(matrix.sum() - np.trace(matrix))
