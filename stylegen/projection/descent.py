"""The descent of a projection, a step at a time: Adam on the latents of some targets.

Abdal, Qin and Wonka 2019 (Image2StyleGAN: w+, pixels and a perceptual distance) and Karras et al. 2020 (StyleGAN2,
appendix D: w, the ramps of the learning rate, exploration, noise).
"""

import dataclasses
import math
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array

from stylegen import ops
from stylegen.metrics.extractors import Distance
from stylegen.networks.generator import Generator
from stylegen.networks.synthesis import NoiseMode
from stylegen.projection import loss as projection_loss
from stylegen.projection.loss import Weights
from stylegen.projection.result import Projection, fingerprint
from stylegen.runtime import compilation

Space = Literal["z", "w", "w+", "w+noise"]
Start = Literal["nearest", "mean"]
ADAM = {"b1": 0.9, "b2": 0.999}


@dataclass(frozen=True)
class Options:
    """How to project. Shares are of the number of steps."""

    space: Space = "w+"  # one z; one w; a w for each layer; that and the noise
    steps: int = 500
    learning_rate: float = 0.1  # of Adam at its highest (StyleGAN2)
    ramp_up: float = 0.05  # share in which the rate rises from 0 (StyleGAN2)
    ramp_down: float = 0.25  # share in which it falls to 0 again along a cosine (StyleGAN2)
    # Normal noise on the styles, falling to 0 at three quarters of the steps, in units of the root mean square distance
    # of w from its mean. StyleGAN2 has 0.05 for each component; from the nearest start 0 finds more (docs/quality.md).
    exploration: float = 0.0
    exploration_share: float = 0.75
    start: Start = "nearest"  # the random image most like the target; or w_avg
    starts: int = 1  # so many of the nearest are descended from; the one that ends with the smallest loss is kept
    candidates: int | None = None  # random images to choose the nearest from; None: by resolution
    seed: int = 0  # of candidates and exploration
    batch: int | None = None  # targets at once; None: by resolution
    weights: Weights = Weights()


def learning_rate(options: Options, step: int) -> float:
    """Adam's rate at a step: a line up, a plateau and a cosine down (StyleGAN2, appendix D)."""
    elapsed, remaining = (step + 1) / options.steps, 1 - step / options.steps
    up = min(1.0, elapsed / options.ramp_up) if options.ramp_up else 1.0
    down = min(1.0, remaining / options.ramp_down) if options.ramp_down else 1.0
    return options.learning_rate * up * (0.5 - 0.5 * math.cos(math.pi * down))


def exploration(options: Options, step: int) -> float:
    """Standard deviation of the noise on the styles, in units of the spread of w (StyleGAN2, appendix D)."""
    share = options.exploration_share
    return options.exploration * max(0.0, 1 - step / (options.steps * share)) ** 2 if share else 0.0


class Step(NamedTuple):
    """A step of a descent. Its arrays are still being computed; numpy waits for them."""

    step: int  # taken before it
    losses: Array  # [N], of the images
    images: Array  # uint8 [N, r, r, C], before the step's update


class Descent:
    """The descent of some targets, one ``Step`` at a time: iterate, and stop when you like.

    ``latents`` has what was found so far, and is what another iteration goes on from.
    """

    def __init__(
        self,
        G: Generator,
        targets: np.ndarray,
        start: dict[str, np.ndarray],
        options: Options,
        distance: Distance | None = None,
    ) -> None:
        """Begin; ``descend`` checks the arguments and finds the start.

        Args:
            G: the generator, in float32.
            targets: uint8 [N, r, r, C].
            start: for each target z or w or ws, noise, one-hot classes c if there are any, and spread.
            options: how; each target has one start.
            distance: of the perceptual loss.
        """
        self._G, self._options, self._distance = G, options, distance
        self._network = None if distance is None or not options.weights.perceptual else distance.network
        start = dict(start)
        self._c, self._spread = start.pop("c", None), start.pop("spread")
        # The descent donates the buffers of its arguments, so they must not be the caller's.
        self._latent = {name: jnp.array(x) for name, x in start.items()}
        self._goal = _goal(self._network, jnp.asarray(projection_loss.to_target(targets)))
        self._moments = optax.scale_by_adam(**ADAM).init(self._latent)
        self._rng = np.random.default_rng(options.seed)
        self._losses: list[Array] = []

    def __iter__(self) -> Iterator[Step]:
        for step in range(self.taken, self._options.steps):
            yield self._take(step)

    def _take(self, step: int) -> Step:
        G, o = self._G, self._options
        # The same for all targets but for the spread of each, so that none depends on another.
        layers = (G.num_ws,) if o.space.startswith("w+") else ()
        shift = self._rng.standard_normal((1, *layers, G.z_dim if o.space == "z" else G.w_dim), np.float32)
        shift = shift * (np.float32(exploration(o, step)) * self._spread).reshape(-1, *[1] * (shift.ndim - 1))
        rate, fixed = np.float32(learning_rate(o, step)), (self._network, self._goal, self._c)
        self._latent, self._moments, losses, images = _step(
            self._latent, self._moments, rate, shift, G, fixed, weights=o.weights
        )
        self._losses.append(losses)
        return Step(step, losses, images)

    @property
    def steps(self) -> int:
        """That it has in all, taken or not."""
        return self._options.steps

    @property
    def taken(self) -> int:
        """Steps taken so far, in all iterations."""
        return len(self._losses)

    @property
    def latents(self) -> dict[str, np.ndarray]:
        """The latents now, by name, and ``ws`` [N, num_ws, w_dim] in every space."""
        latents = {name: np.asarray(x) for name, x in self._latent.items()}
        return latents | {"ws": np.asarray(_styles_of(self._latent, self._G, self._c))}

    @property
    def losses(self) -> np.ndarray:
        """Of all steps taken, [steps, N]."""
        return np.stack([np.asarray(loss) for loss in self._losses])

    def projection(self, names: Iterable[str] | None = None) -> Projection:
        """What was found so far, under these names of the targets; their numbers if None."""
        latents = self.latents
        return Projection(
            ws=latents["ws"],
            names=tuple(names) if names is not None else tuple(str(i) for i in range(len(latents["ws"]))),
            generators=(fingerprint(self._G),),
            noise=latents.get("noise"),
            z=latents.get("z"),
            loss=self.losses if self._losses else None,
            about=about(self._G, self._options, self._distance),
        )


@compilation.jit()
def _goal(network: Any, targets: Array) -> dict[str, Any]:
    return projection_loss.make_goal(network, targets)


def _styles(latent: dict[str, Array], G: Generator, c: Array | None, shift: Array | float = 0.0) -> Array:
    """ws [N, num_ws, w_dim] of the latents, with ``shift`` [N, num_ws, dim] or [N, dim] added to them."""
    if "ws" in latent:
        return latent["ws"] + shift
    return G.broadcast(latent["w"] + shift if "w" in latent else G.mapping(latent["z"] + shift, c))


@compilation.jit()
def _styles_of(latent: dict[str, Array], G: Generator, c: Array | None) -> Array:
    return _styles(latent, G, c)


@compilation.jit(static_argnames="weights", donate_argnums=(0, 1))
def _step(
    latent: dict[str, Array], moments: Any, rate: Array, shift: Array, G: Generator, fixed: Any, *, weights: Weights
) -> tuple[dict[str, Array], Any, Array, Array]:
    """One step of Adam for all targets: (latents, Adam's moments, losses [N], images before the step)."""
    perceptual, goal, c = fixed

    def loss(latent: dict[str, Array]) -> tuple[Array, tuple[Array, Array]]:
        noise: NoiseMode | Array = latent.get("noise", "const")
        images = G.synthesis(_styles(latent, G, c, shift), noise=noise)
        losses = projection_loss.image_loss(perceptual, goal, images, weights)
        if "noise" in latent:
            losses = losses + weights.noise * projection_loss.noise_penalty(
                latent["noise"], G.resolution, G.config.const_shape
            )
        return jnp.sum(losses), (losses, images)

    gradient, (losses, images) = jax.grad(loss, has_aux=True)(latent)
    updates, moments = optax.scale_by_adam(**ADAM).update(gradient, moments)
    latent = jax.tree.map(lambda x, update: x - rate * update, latent, updates)
    if "noise" in latent:
        latent["noise"] = projection_loss.normalized_noise(latent["noise"], G.resolution, G.config.const_shape)
    return latent, moments, losses, ops.to_uint8(images)


def _without_folder(source: str) -> str:
    """An absolute path by its last part alone: a projection is given to others, whom my folders do not concern."""
    return os.path.basename(source) if os.path.isabs(source) else source


def about(G: Generator, options: Options, distance: Distance | None) -> dict[str, Any]:
    """The origin of a projection, for JSON."""
    perceptual = distance is not None and options.weights.perceptual > 0
    return {
        "generator": f"{_without_folder(G.source) or 'a generator'} at {G.kimg:g} kimg",
        "options": dataclasses.asdict(options),
        "perceptual": distance.provenance if perceptual and distance is not None else None,
    }
