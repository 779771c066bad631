"""Fine-tune a generator so that it draws a projected image exactly (Roich et al. 2021, "Pivotal Tuning").

The projected styles, the pivot, stay fixed; the weights of the synthesis network are trained.
"""

import dataclasses
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array

from stylegen import sampling
from stylegen.io.progress import counted
from stylegen.metrics.extractors import Distance
from stylegen.networks.generator import Generator, in_float32
from stylegen.projection import loss as projection_loss
from stylegen.projection.loss import Weights
from stylegen.projection.result import Projection, ProjectionError, fingerprint
from stylegen.projection.search import ADAM, check_targets
from stylegen.runtime import compilation

Progress = Callable[[Iterable[list[float]], int, str], Iterator[list[float]]]


@dataclasses.dataclass(frozen=True)
class Options:
    """How to tune."""

    steps: int = 350  # Roich et al.
    learning_rate: float = 3e-4  # of Adam (Roich et al.)
    locality: float = 0.1  # weight of staying the same for other styles (Roich et al., Eq. 4); 0 is none
    # How far from the pivot those other styles are, in units of the spread of w. Roich et al. have a length of 30.
    reach: float = 1.0
    seed: int = 0
    weights: Weights = Weights()


def tune(
    G: Generator,
    projection: Projection,
    targets: np.ndarray,
    options: Options | None = None,
    *,
    distance: Distance | None = None,
    labels: int | str | None = None,
    progress: Progress | None = None,
) -> tuple[Generator, Projection]:
    """Tune a generator to the targets of a projection, all of them together.

    Args:
        G: the generator.
        projection: of the targets, by this generator.
        targets: uint8 [N, r, r, C].
        options: how.
        distance: of the perceptual loss; None for pixels alone.
        labels: a class for the other styles, of a class-conditional generator.
        progress: as in ``projection.search.project``.

    Returns:
        the tuned generator, which computes in float32 as the tuning did, and the projection, which now names it too.

    Raises:
        ProjectionError: the arguments do not fit together.
    """
    options = options or Options()
    check_targets(G, targets)
    if len(targets) != len(projection.ws):
        raise ProjectionError(
            f"{counted(len(targets), 'target')} for a projection of {counted(len(projection.ws), 'image')}."
        )
    for name, low in (("steps", 1), ("learning_rate", 0), ("locality", 0), ("reach", 0)):
        if not getattr(options, name) >= low:
            raise ProjectionError(f"{name} = {getattr(options, name)}: must be at least {low}.")
    G = in_float32(G)
    tuned: dict[str, Any] = {"weights": G.params["synthesis"]}
    losses = _descend(G, projection, targets, options, distance, labels, tuned)
    for _ in losses if progress is None else progress(losses, options.steps, "steps"):
        pass
    tuned_generator = dataclasses.replace(_with_synthesis(G, tuned["weights"]), source=f"{G.source}, tuned")
    generators = (*projection.generators, fingerprint(tuned_generator))
    return tuned_generator, dataclasses.replace(projection, generators=generators)


def _descend(
    G: Generator,
    projection: Projection,
    targets: np.ndarray,
    options: Options,
    distance: Distance | None,
    labels: int | str | None,
    tuned: dict[str, Any],
) -> Iterator[list[float]]:
    """Take all steps and yield the loss of each. At the end ``tuned`` has the synthesis network's weights."""
    perceptual = None if distance is None or not options.weights.perceptual else distance.network
    noise = None if projection.noise is None else jnp.asarray(projection.noise)
    fixed = {
        "perceptual": perceptual,
        "ws": jnp.asarray(projection.ws),
        "noise": noise,
        "goal": projection_loss.make_goal(perceptual, jnp.asarray(projection_loss.to_target(targets))),
    }
    # A copy: the steps give the buffers of their arguments away.
    weights = jax.tree.map(jnp.array, G.params["synthesis"])
    moments = optax.adam(1.0, **ADAM).init(weights)
    rng = np.random.default_rng(options.seed)
    z = rng.standard_normal((1000, G.z_dim), np.float32)
    w = sampling.styles(G, z, labels=labels if G.c_dim else None)
    reach = options.reach * float(np.square(w[:, 0] - w[:, 0].mean(axis=0)).sum(axis=1).mean() ** 0.5)
    for step in range(options.steps):
        nearby_ws = _nearby_styles(projection.ws[step % len(targets)], w[rng.integers(len(w))], reach)
        rates = (np.float32(options.learning_rate), np.float32(options.locality))
        weights, moments, loss = _step(
            weights, moments, rates, nearby_ws, G, fixed, parts=options.weights, local=options.locality > 0
        )
        tuned["weights"] = weights
        yield [float(loss)]


def _nearby_styles(pivot: np.ndarray, toward: np.ndarray, reach: float) -> np.ndarray:
    """Styles [1, num_ws, w_dim] at a distance from the pivot, toward random ones (Roich et al., Eq. 3)."""
    direction = toward - pivot
    length = np.linalg.norm(direction, axis=-1, keepdims=True)
    return (pivot + np.float32(reach) * direction / np.maximum(length, np.float32(1e-8)))[None]


def _with_synthesis(G: Generator, weights: Any) -> Generator:
    """The generator with other weights of its synthesis network."""
    return dataclasses.replace(G, params={**G.params, "synthesis": weights})


@compilation.jit(static_argnames=("parts", "local"), donate_argnums=(0, 1))
def _step(
    weights: Any,
    moments: Any,
    rates: tuple[Array, Array],
    nearby_ws: Array,
    G: Generator,
    fixed: Any,
    *,
    parts: Weights,
    local: bool,
) -> tuple[Any, Any, Array]:
    """One step of Adam on the weights of the synthesis network: (weights, Adam's moments, loss)."""
    rate, locality = rates
    perceptual = fixed["perceptual"]

    def loss(weights: Any) -> Array:
        candidate = _with_synthesis(G, weights)
        images = candidate.synthesis(fixed["ws"], noise="const" if fixed["noise"] is None else fixed["noise"])
        total = jnp.mean(projection_loss.image_loss(perceptual, fixed["goal"], images, parts))
        if local:
            goal = projection_loss.make_goal(perceptual, G.synthesis(nearby_ws))
            drift = projection_loss.image_loss(perceptual, goal, candidate.synthesis(nearby_ws), parts)
            total = total + locality * jnp.mean(drift)
        return total

    value, gradient = jax.value_and_grad(loss)(weights)
    updates, moments = optax.adam(1.0, **ADAM).update(gradient, moments)
    return jax.tree.map(lambda x, update: x + rate * update, weights, updates), moments, value
