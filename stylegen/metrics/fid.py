"""Fréchet distance between two sets of features, which with Inception's features is FID (Heusel et al. 2017)."""

import warnings

import numpy as np
from jaxtyping import Float

from stylegen.metrics import MetricError
from stylegen.metrics.moments import Moments


def frechet_distance(a: Moments, b: Moments) -> float:
    """``|mu_a - mu_b|^2 + tr(A + B - 2 (A B)^(1/2))`` of the Gaussians with these moments (Heusel et al. 2017, Eq. 6).

    Warns where there are no more samples than features: the covariance then has not full rank, the distance is exact
    for these samples all the same, but far above that of many samples.

    Raises:
        MetricError: the moments are of different features, or of fewer than two samples.
    """
    if a.mean.shape != b.mean.shape:
        raise MetricError(f"features of {a.mean.size} and of {b.mean.size} numbers cannot be compared.")
    fewest = min(a.count, b.count)
    if fewest <= a.mean.size:
        warnings.warn(too_few_samples(fewest, a.mean.size), stacklevel=2)
    difference = a.mean - b.mean
    covariance_a, covariance_b = a.covariance, b.covariance
    traces = np.trace(covariance_a) + np.trace(covariance_b)
    return float(max(difference @ difference + traces - 2 * trace_root_product(covariance_a, covariance_b), 0.0))


def too_few_samples(samples: int, features: int) -> str:
    """The warning for no more samples than features."""
    return (
        f"{samples} samples are no more than the {features} features: the covariance has not full rank, and the "
        "Fréchet distance is far from that of many samples; compare it only with others of as many samples."
    )


def trace_root_product(a: Float[np.ndarray, "d d"], b: Float[np.ndarray, "d d"]) -> float:
    """tr((A B)^(1/2)) of two positive semidefinite matrices [D, D] of any rank.

    The eigenvalues of A B are the squares of the singular values of A^(1/2) B^(1/2), so the trace is the sum of those.
    Neither a product of covariances nor a root of its eigenvalues is ever formed, so there are no imaginary parts, and
    nothing has to be added to a singular matrix.
    """
    return float(np.linalg.svd(_root(a) @ _root(b), compute_uv=False).sum())


def _root(matrix: np.ndarray) -> np.ndarray:
    """The symmetric square root; eigenvalues below zero, which only rounding makes, count as zero."""
    values, vectors = np.linalg.eigh(matrix)
    return (vectors * np.sqrt(values.clip(0))) @ vectors.T
