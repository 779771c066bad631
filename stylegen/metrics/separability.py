"""Disentanglement where factors can be read from images: separability by planes, and how cleanly a step changes one.

Linear separability: Karras, Laine and Aila 2019 ("StyleGAN"), Sec. 4.2.
"""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Bool, Float, Shaped

from stylegen.metrics import MetricError

RIDGE = 1e-4  # weight of the squared length of the slope for each sample, for x of unit variance
ITERATIONS = 50  # of Newton's method, at most; a dozen are needed
RAREST = 0.05  # a yes or no that is rarer than this is left out: a handful of samples say nothing
Factors = Mapping[str, np.ndarray]  # by name: [N] of bool, int (choices) or float, or colors [N, 3]; NaN is not there


def fit_logistic(x: Float[np.ndarray, "n d"], y: Float[np.ndarray, " n"]) -> tuple[Float[np.ndarray, " d"], float]:
    """Logistic regression of y [n] in {0, 1} on x [n, d] with a small ridge, by Newton's method: slope [d], offset."""
    design = np.concatenate([x, np.ones((len(x), 1))], axis=1)
    penalty = np.full(design.shape[1], RIDGE * len(x))
    penalty[-1] = 1e-9
    beta = np.zeros(design.shape[1])
    for _ in range(ITERATIONS):
        p = 1 / (1 + np.exp(-np.clip(design @ beta, -30, 30)))
        gradient = design.T @ (p - y) + penalty * beta
        curvature = (design * (p * (1 - p) + 1e-9)[:, None]).T @ design + np.diag(penalty)
        step = np.linalg.solve(curvature, gradient)
        beta -= step
        if np.abs(step).max() < 1e-8:
            break
    return beta[:-1], float(beta[-1])


def conditional_entropy(y: Bool[np.ndarray, " n"], x: Bool[np.ndarray, " n"]) -> float:
    """H(Y|X) of two arrays [n] of bool, in nats: what is left to know of y where x is known."""
    total = 0.0
    for value in (False, True):
        here = y[x == value]
        for share in (here.mean(), 1 - here.mean()) if len(here) else ():
            total -= len(here) / len(y) * (share * np.log(share) if share > 0 else 0.0)
    return float(total)


def linear_separability(latents: Float[np.ndarray, "n d"], factors: Factors) -> tuple[float, dict[str, float]]:
    """How well a plane in the space of latents [N, D] tells each yes-or-no factor: exp of the sum of H(Y|X); 1 is best.

    Differs from the original: logistic regression for the linear SVM, fitted to every other sample and judged on the
    rest, and no leaving out of the half that the classifier is least sure of.

    Returns:
        the score, and H(Y|X) in nats by name, of the factors that are bool and not too rare.

    Raises:
        MetricError: no factor is left.
    """
    usable = {
        name: values
        for name, values in factors.items()
        if values.dtype == bool and RAREST <= values.mean() <= 1 - RAREST
    }
    if not usable:
        raise MetricError("linear separability needs a factor that is yes or no, and neither always.")
    x = (latents - latents.mean(axis=0)) / (latents.std(axis=0) + 1e-12)
    entropies = {}
    for name, values in usable.items():
        slope, offset = fit_logistic(x[::2], values[::2].astype(float))
        entropies[name] = conditional_entropy(values[1::2], x[1::2] @ slope + offset > 0)
    return float(np.exp(sum(entropies.values()))), entropies


def difference(a: Shaped[np.ndarray, " n *color"], b: Shaped[np.ndarray, " n *color"]) -> float:
    """Mean difference of a factor in pairs: length for numbers and colors, share of unequal ones for the rest.

    Pairs in which it is not there in one of the two do not count; NaN if there are no others.
    """
    if a.dtype.kind != "f":
        return float(np.mean(a != b))
    length = np.linalg.norm(a - b, axis=-1) if a.ndim == 2 else np.abs(a - b)
    there = length[~np.isnan(length)]
    return float(there.mean()) if len(there) else float("nan")


def changes(before: Factors, after: Factors, scale: Factors) -> dict[str, float]:
    """How much each factor changes from image to image, in units of how much two random images differ.

    Args:
        before: factors of N images.
        after: those of the same images, moved.
        scale: those of random images, at least two.

    Returns:
        By name; 1 is as different as two random images. Left out are numbers that do not vary, and yes-or-no factors
        and choices that are as good as always the same: by a rare one a single image would seem a great change.
    """
    half = len(next(iter(scale.values()))) // 2
    relative = {}
    for name in before:
        usual = difference(scale[name][:half], scale[name][half : 2 * half])
        here = difference(before[name], after[name])
        least = 0.0 if before[name].dtype.kind == "f" else 2 * RAREST * (1 - RAREST)
        if usual > least and not np.isnan(here):
            relative[name] = here / usual
    return relative


def cleanness(changed: Mapping[str, float]) -> tuple[str, float]:
    """The factor that changes most, and its share of the changes of all: 1 is that nothing else changes."""
    name = max(changed, key=lambda factor: changed[factor])
    total = sum(changed.values())
    return name, changed[name] / total if total else 0.0
