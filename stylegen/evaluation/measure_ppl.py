"""Perceptual path length of a generator, by a metric's name."""

from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from stylegen import sampling
from stylegen.evaluation import EvaluationError
from stylegen.evaluation.collect import Progress
from stylegen.evaluation.image_sets import resolution_text
from stylegen.evaluation.measure import ON_WHITE, SEED, Result, provenance
from stylegen.evaluation.metric_names import Metric
from stylegen.metrics.extractors import Distance
from stylegen.metrics.ppl import EPSILON, HIGHEST, LOWEST, MAX_SIDE, Crop, Ends, PathLength, path_ends, path_length
from stylegen.networks.generator import Generator, in_float32
from stylegen.pretrained import lpips


def check(metric: Metric, *, classes: int, resolution: int, crop: Crop = "none", network: lpips.Name = "vgg16") -> None:
    """Raise EvaluationError unless path lengths of such a generator can be measured; ``resolution`` is its full one."""
    if classes:
        raise EvaluationError(f"{metric.name}: path lengths of class-conditional generators are not supported.")
    side = resolution // 2 if crop == "face" else resolution  # resolution: pixels of the shorter side
    if side < lpips.MIN_SIDES[network]:
        raise EvaluationError(
            f"{metric.name}: the distance sees images of {lpips.MIN_SIDES[network]} pixels at least, and these have "
            f"{side}."
        )


def measure_ppl(
    metric: Metric, G: Generator, distance: Distance, *, crop: Crop = "none", progress: Progress | None = None
) -> Result:
    """One of ppl_zfull, ppl_zend, ppl_wfull, ppl_wend.

    Noise is the network's own, the same at both ends of a step; there is no truncation. Images of an earlier stage
    are enlarged to the full size, as for the other metrics. They are drawn in float32 at highest precision: a step of
    1e-4 is below the resolution of bfloat16.

    Raises:
        EvaluationError: as ``check``.
    """
    resolution = G.config.resolution
    network = distance.network.name
    full = G.config.shape_at(resolution)
    check(metric, classes=G.c_dim, resolution=min(full), crop=crop, network=network)
    if crop == "face" and full[0] != full[1]:
        raise EvaluationError(f"{metric.name}: the crop of FFHQ's faces is of squares; give --ppl-crop none.")
    assert metric.fakes is not None
    G = in_float32(G)
    # Both ends of a step lie in one batch, so that rounding is the same for both.
    pairs = max(1, sampling.default_batch(max(full)) // 2)
    enlarge = resolution // G.resolution

    def mapping(z: np.ndarray) -> np.ndarray:
        return sampling.styles(G, z, batch=pairs)[:, 0]

    def draw(w: np.ndarray) -> Array:
        ws = np.broadcast_to(w[:, None], (len(w), G.num_ws, G.w_dim))
        images = jnp.asarray(sampling.synthesize(G, ws, noise="const", as_float=True, batch=2 * pairs))
        return jnp.repeat(jnp.repeat(images, enlarge, axis=1), enlarge, axis=2)

    ends = path_ends(metric.fakes, G.z_dim, sampling=metric.sampling, seed=SEED, batch=pairs)
    if progress:
        ends = _shown(ends, progress, metric.fakes)
    lengths = path_length(mapping, draw, distance, ends, space=metric.space, crop=crop)
    details = _details(metric, G, lengths, distance, crop)
    return Result(metric.name, lengths.mean, details)


def _details(metric: Metric, G: Generator, lengths: PathLength, distance: Distance, crop: Crop) -> dict[str, Any]:
    """What a path length says of itself."""
    full = G.config.shape_at(G.config.resolution)
    details = provenance(metric) | {
        "distance": distance.provenance,
        "epsilon": EPSILON,
        "percentiles": [LOWEST, HIGHEST],
        "kept": lengths.kept,
        "deviation": lengths.std,
        "crop": crop,
        "largest_side": MAX_SIDE,
        "device": jax.default_backend(),
        "fakes": {
            "generator": G.source,
            "kimg": G.kimg,
            "resolution": resolution_text(full),
            "drawn_at": resolution_text(G.shape),
            "alpha": float(G.alpha),
            "count": metric.fakes,
            "compute_dtype": G.config.compute_dtype,
            "precision": G.config.precision,
            "latent_seed": SEED,
            "psi": 1.0,
            "noise": "const",
        },
    }
    if G.image_channels in (2, 4):
        details["transparency"] = ON_WHITE
    return details


def _shown(ends: Iterator[Ends], progress: Progress, total: int) -> Iterator[Ends]:
    """The same batches, with progress, which counts the pairs of each."""
    latest: list[Ends] = []

    def firsts() -> Iterator[np.ndarray]:
        for end in ends:
            latest[:] = [end]
            yield end[0]

    for _ in progress(firsts(), total, "pairs"):
        yield latest[0]
