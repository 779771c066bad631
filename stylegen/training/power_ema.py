"""Power-function averages of weights, and any average of that family from a few of them afterwards (post-hoc EMA).

Karras et al. 2024, "Analyzing and Improving the Training Dynamics of Diffusion Models" (EDM2), Sec. 3 and appendix C.
The weight of the network at time tau in the average at time t is proportional to tau^gamma: the length of such an
average grows with training, and it forgets the random beginning by itself. Its length is named by the relative standard
deviation of that profile, such as 0.10 of the training. Time is the number of images shown.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np
from jax import Array

MIN_STD, MAX_STD = 0.01, 0.28  # relative standard deviations; the flat average over all of training has 0.289


def gamma_of(std: float) -> float:
    """The exponent whose profile tau^gamma on [0, 1] has this standard deviation (EDM2, Eq. 4, solved for gamma).

    std^2 = (gamma + 1) / ((gamma + 2)^2 (gamma + 3)), which falls as gamma grows from 0: 0.05 is 16.97, 0.1 is 6.94.
    """
    low, high = 0.0, 1e5
    for _ in range(200):
        middle = (low + high) / 2
        wide = (middle + 1) / ((middle + 2) ** 2 * (middle + 3)) > std**2
        low, high = (middle, high) if wide else (low, middle)
    return (low + high) / 2


def beta(nimg: Array | int, batch: int, gamma: float) -> Array:
    """The share of the average that stays in a step from ``nimg`` to ``nimg + batch`` images (EDM2, Eq. 5).

    (nimg / (nimg + batch))^(gamma + 1), which is 0 at the beginning: the first network is the first average.
    """
    before = jnp.asarray(nimg, jnp.float32)
    # log1p: of 10^7 images a batch is a part that a float32 ratio hardly shows.
    ratio = jnp.log1p(-batch / (before + batch))
    return jnp.where(before > 0, jnp.exp((gamma + 1) * ratio), 0.0)


@dataclass(frozen=True)
class Snapshot:
    """When an average was taken, and which."""

    nimg: int
    std: float


def reconstruction(snapshots: Sequence[Snapshot], target: Snapshot) -> tuple[np.ndarray, float]:
    """The weights with which a sum of kept averages is nearest to another one (EDM2, appendix C, Eq. 12 f.).

    The profiles, not the networks, are matched in least squares; that does not depend on what was trained. The weights
    sum to 1 here, so that what all averages have in common stays as it is.

    Args:
        snapshots: of averages that were kept, none later than the target.
        target: the average that is wanted.

    Returns:
        (weights [len(snapshots)], the part of the target's profile that is missed: 0 is exact, 1 all of it).
    """
    inner = np.array([[_inner(a, b) for b in snapshots] for a in snapshots])
    towards = np.array([_inner(a, target) for a in snapshots])
    scale = np.sqrt(np.diag(inner))  # profiles of unit length: their lengths differ by orders of magnitude
    sides = np.stack([towards, np.ones(len(snapshots))], axis=1) / scale[:, None]
    free, share = np.linalg.lstsq(inner / np.outer(scale, scale), sides, rcond=1e-12)[0].T / scale
    weights = free + share * (1 - free.sum()) / share.sum()  # Lagrange's multiplier
    norm = _inner(target, target)
    missed = norm - 2 * weights @ towards + weights @ inner @ weights
    return weights, math.sqrt(max(missed, 0.0) / norm)


def _inner(a: Snapshot, b: Snapshot) -> float:
    """The integral of the product of two profiles (gamma + 1) tau^gamma / t^(gamma + 1), each on [0, t]."""
    gamma_a, gamma_b = gamma_of(a.std), gamma_of(b.std)
    first = math.log(min(a.nimg, b.nimg))
    exponent = (gamma_a + gamma_b + 1) * first
    exponent -= (gamma_a + 1) * math.log(a.nimg) + (gamma_b + 1) * math.log(b.nimg)
    return (gamma_a + 1) * (gamma_b + 1) / (gamma_a + gamma_b + 1) * math.exp(exponent)
