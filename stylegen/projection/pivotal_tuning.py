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

from stylegen import ops, sampling
from stylegen.io.progress import counted
from stylegen.metrics.extractors import Distance
from stylegen.networks.generator import Generator, in_float32
from stylegen.projection import loss as projection_loss
from stylegen.projection.descent import ADAM, Step
from stylegen.projection.loss import Weights
from stylegen.projection.result import Projection, ProjectionError, fingerprint
from stylegen.projection.search import check_targets
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
    descent = descend(G, projection, targets, options, distance=distance, labels=labels)
    losses = ([float(step.losses)] for step in descent)
    for _ in losses if progress is None else progress(losses, options.steps, "steps"):
        pass
    return descent.generator(), descent.projection()


class Tuning:
    """The steps of a tuning: iterate over them, and stop when you like."""

    def __init__(
        self,
        G: Generator,
        projection: Projection,
        targets: np.ndarray,
        options: Options,
        distance: Distance | None,
        labels: int | str | None,
    ) -> None:
        """Begin; ``descend`` checks the arguments, which are its own."""
        self._G, self._pivot, self._options = G, projection, options
        perceptual = None if distance is None or not options.weights.perceptual else distance.network
        self._fixed = {
            "perceptual": perceptual,
            "ws": jnp.asarray(projection.ws),
            "noise": None if projection.noise is None else jnp.asarray(projection.noise),
            "goal": projection_loss.make_goal(perceptual, jnp.asarray(projection_loss.to_target(targets))),
        }
        # A copy: the steps give the buffers of their arguments away.
        self._weights = jax.tree.map(jnp.array, G.params["synthesis"])
        self._moments = optax.adam(1.0, **ADAM).init(self._weights)
        self._rng = np.random.default_rng(options.seed)
        z = self._rng.standard_normal((1000, G.z_dim), np.float32)
        self._w = sampling.styles(G, z, labels=labels if G.c_dim else None)
        spread = float(np.square(self._w[:, 0] - self._w[:, 0].mean(axis=0)).sum(axis=1).mean() ** 0.5)
        self._reach = options.reach * spread
        self._steps = 0

    def __iter__(self) -> Iterator[Step]:
        """The steps that are left; the losses of each are a single number, the mean of all targets."""
        while self._steps < self._options.steps:
            yield self._take()

    def _take(self) -> Step:
        step, o = self._steps, self._options
        pivot = self._pivot.ws[step % len(self._pivot.ws)]
        nearby_ws = _nearby_styles(pivot, self._w[self._rng.integers(len(self._w))], self._reach)
        rates = (np.float32(o.learning_rate), np.float32(o.locality))
        self._weights, self._moments, loss, images = _step(
            self._weights, self._moments, rates, nearby_ws, self._G, self._fixed, parts=o.weights, local=o.locality > 0
        )
        self._steps += 1
        return Step(step, loss, images)

    def generator(self) -> Generator:
        """The generator as it is tuned so far; it computes in float32."""
        weights = jax.tree.map(jnp.array, self._weights)  # a copy: the next step gives them away
        return dataclasses.replace(_with_synthesis(self._G, weights), source=f"{self._G.source}, tuned")

    def projection(self) -> Projection:
        """The projection, which now names the tuned generator too."""
        generators = (*self._pivot.generators, fingerprint(self.generator()))
        return dataclasses.replace(self._pivot, generators=generators)


def descend(
    G: Generator,
    projection: Projection,
    targets: np.ndarray,
    options: Options | None = None,
    *,
    distance: Distance | None = None,
    labels: int | str | None = None,
) -> Tuning:
    """The tuning of ``tune`` as an iterator of steps that can be stopped and continued; the arguments are the same.

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
    return Tuning(in_float32(G), projection, targets, options, distance, labels)


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
) -> tuple[Any, Any, Array, Array]:
    """One step of Adam on the synthesis network's weights: (weights, moments, loss, images before the step)."""
    rate, locality = rates
    perceptual = fixed["perceptual"]

    def loss(weights: Any) -> tuple[Array, Array]:
        candidate = _with_synthesis(G, weights)
        images = candidate.synthesis(fixed["ws"], noise="const" if fixed["noise"] is None else fixed["noise"])
        total = jnp.mean(projection_loss.image_loss(perceptual, fixed["goal"], images, parts))
        if local:
            goal = projection_loss.make_goal(perceptual, G.synthesis(nearby_ws))
            drift = projection_loss.image_loss(perceptual, goal, candidate.synthesis(nearby_ws), parts)
            total = total + locality * jnp.mean(drift)
        return total, images

    (value, images), gradient = jax.value_and_grad(loss, has_aux=True)(weights)
    updates, moments = optax.adam(1.0, **ADAM).update(gradient, moments)
    weights = jax.tree.map(lambda x, update: x + rate * update, weights, updates)
    return weights, moments, value, ops.to_uint8(images)
