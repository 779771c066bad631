"""Perceptual path length: how much images change for a small step of the latent (StyleGAN, Sec. 4.1).

Karras, Laine and Aila 2019, with the constants of their published code: steps of 1e-4, the smallest and largest
hundredth left out, images of more than 256 pixels averaged down to that.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from stylegen.array_types import Array
from stylegen.metrics import MetricError
from stylegen.sphere import slerp

EPSILON = 1e-4
LOWEST, HIGHEST = 1, 99  # percentiles; what is outside of them is left out
MAX_SIDE = 256
Space = Literal["z", "w"]
Sampling = Literal["full", "end"]
Crop = Literal["none", "face"]
# z0, z1, t
Ends = tuple[Float[np.ndarray, "n z_dim"], Float[np.ndarray, "n z_dim"], Float[np.ndarray, " n"]]


@dataclass(frozen=True)
class PathLength:
    """The result: mean and std of the lengths that were kept, and how many those are."""

    mean: float
    std: float
    kept: int


def path_length(
    mapping: Callable[[np.ndarray], np.ndarray],
    draw: Callable[[np.ndarray], Array],
    distance: Callable[[Array, Array], Array],
    ends: Iterator[Ends],
    *,
    space: Space,
    epsilon: float = EPSILON,
    crop: Crop = "none",
) -> PathLength:
    """Mean of distance(G(path(t)), G(path(t + epsilon))) / epsilon^2 (StyleGAN, Eq. 2 and 3).

    Args:
        mapping: latents z [N, z_dim] to styles w [N, w_dim].
        draw: styles [2N, w_dim], pair by pair, to float images [2N, r, r, C] around [-1, 1]; noise must be the same
            in both of a pair.
        distance: images, twice, to [N]; quadratic in small differences, as LPIPS is.
        ends: batches of two latents and a place between them, as ``path_ends`` gives them.
        space: spherical steps in z, or straight ones in w.
        epsilon: the step.
        crop: face is the part of FFHQ's images that has the face, which the original crops to.

    Raises:
        MetricError: no images.
    """
    if space not in ("z", "w"):
        raise MetricError(f"space = {space!r}: must be z or w.")
    lengths = []
    for z0, z1, t in ends:
        if space == "z":
            w = np.stack([mapping(_on_sphere(z0, z1, s)) for s in (t, t + epsilon)], axis=1)
        else:
            # In float64, because the step is near the precision of float32.
            w0, w1 = (np.asarray(mapping(z), np.float64) for z in (z0, z1))
            w = np.stack([w0 + (w1 - w0) * s[:, None] for s in (t, t + epsilon)], axis=1)
        images = prepare(draw(w.reshape(-1, w.shape[-1]).astype(np.float32)), crop)
        lengths.append(np.asarray(distance(images[::2], images[1::2]), np.float64) / epsilon**2)
    if not lengths:
        raise MetricError("a path length needs at least one pair of latents.")
    return summarize(np.concatenate(lengths))


def summarize(lengths: Float[np.ndarray, " n"]) -> PathLength:
    """Mean of the lengths between the percentiles 1 and 99, both of them kept."""
    low = np.percentile(lengths, LOWEST, method="lower")
    high = np.percentile(lengths, HIGHEST, method="higher")
    typical = lengths[(low <= lengths) & (lengths <= high)]
    return PathLength(float(typical.mean()), float(typical.std()), len(typical))


def path_ends(n: int, z_dim: int, *, sampling: Sampling, seed: int = 0, batch: int = 8) -> Iterator[Ends]:
    """``n`` pairs of normal latents [.., z_dim] and places t [..], in batches, float64.

    Args:
        n: pairs in all.
        z_dim: size of a latent.
        sampling: full places t anywhere on the path, end at its beginning.
        seed: of the latents; the batch has no influence on them.
        batch: pairs at once.
    """
    if sampling not in ("full", "end"):
        raise MetricError(f"sampling = {sampling!r}: must be full or end.")
    rng = np.random.RandomState(seed)
    for start in range(0, n, batch):
        rows = [(rng.randn(z_dim), rng.randn(z_dim), rng.random_sample()) for _ in range(min(batch, n - start))]
        z0, z1, t = (np.stack(column) for column in zip(*rows, strict=True))
        yield z0, z1, t if sampling == "full" else np.zeros_like(t)


def _on_sphere(z0: np.ndarray, z1: np.ndarray, t: np.ndarray) -> np.ndarray:
    """Points on the great circles from z0 to z1 [N, D] at t [N], of length sqrt(D), float64.

    The length is that of a typical latent; a mapping network that normalizes its input sees directions only.
    """
    return slerp(z0, z1, t[:, None]) * np.sqrt(z0.shape[1])


def prepare(images: Float[Array, "n h w c"], crop: Crop = "none") -> Float[Array, "n _ _ c"]:
    """Crop [N, r, r, C], and average it down to at most 256 pixels."""
    if crop == "face":
        eighth = images.shape[1] // 8
        images = images[:, eighth * 3 : eighth * 7, eighth * 2 : eighth * 6]
    elif crop != "none":
        raise MetricError(f"crop = {crop!r}: must be none or face.")
    n, h, w, c = images.shape
    factor = min(h, w) // MAX_SIDE
    if factor > 1 and h % factor == w % factor == 0:
        images = jnp.mean(images.reshape(n, h // factor, factor, w // factor, factor, c), axis=(2, 4))
    return images
