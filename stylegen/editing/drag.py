"""Drag points of an image to other places by moving its styles: DragGAN (Pan et al. 2023, "Drag Your GAN").

Each step has two parts. Motion supervision (Sec. 3.2, Eq. 1) pulls the features around each handle a pixel toward its
target by a gradient step on w+. Point tracking (Sec. 3.3, Eq. 2) then looks for the handle's first features nearby.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array

from stylegen import ops, sampling
from stylegen.editing.directions import EditError
from stylegen.networks.generator import Generator, in_float32
from stylegen.networks.mapping import num_styles
from stylegen.projection.descent import ADAM
from stylegen.runtime import compilation

MAX_POINTS = 8  # so many are computed always, so that one program serves any number
# Radii of motion supervision and of tracking, as shares of the side: 3 and 12 of 512 pixels (Pan et al., Sec. 3.4).
SUPERVISED, TRACKED = 3 / 512, 12 / 512
FEWEST_SUPERVISED, FEWEST_TRACKED = 1, 2  # pixels: shares of small images round to 0
SPREAD_SAMPLES = 1000  # of w
STAY = 0.02  # of the tracker's preference for places that are not far, by the size of the features, for each pixel


@dataclass(frozen=True)
class Options:
    """How to drag."""

    steps: int = 200  # at most
    learning_rate: float = 0.01  # of Adam; 0.05 is faster and changes the rest of the image
    at: int | None = None  # resolution of the block whose features are followed; None: half of the image's
    layers: int | None = None  # coarsest layers of w+ that move; None: those that the followed features depend on
    mask_weight: float = 20.0  # of the features outside of the mask (Pan et al., Sec. 3.4)
    # Of the squared distance from the styles at the start, in units of the variance of w. It is not in the paper, whose
    # generators have more layers behind those that move; a small one drifts to another image without it.
    style_weight: float = 0.05
    tolerance: float = 0.5  # pixels from its target at which a point has arrived


@dataclass(frozen=True, eq=False)
class Step:
    """The image after a step."""

    step: int  # taken, from 1
    image: np.ndarray  # uint8 [r, r, C]
    points: np.ndarray  # [points, 2], (y, x) in pixels: where the tracker has found the handles
    distances: np.ndarray  # [points], pixels to the targets
    loss: float  # before the step

    @property
    def arrived(self) -> bool:
        """Whether the tracker has found all points at their targets."""
        return bool(np.all(self.distances == 0))


class Drag:
    """A drag, step by step: iterate over it, and stop when you like. ``ws`` has the styles now.

    The iteration ends when the tracker finds all points at their targets, or after ``options.steps``. The tracker
    follows features and can be wrong: look at the image.
    """

    def __init__(
        self,
        G: Generator,
        ws: np.ndarray,
        points: Sequence[Sequence[float]] | np.ndarray,
        targets: Sequence[Sequence[float]] | np.ndarray,
        options: Options | None = None,
        *,
        mask: np.ndarray | None = None,
        noise: np.ndarray | None = None,
    ) -> None:
        """Prepare; nothing moves yet.

        Args:
            G: the generator; it computes in float32.
            ws: styles of the image [num_ws, w_dim].
            points: up to ``MAX_POINTS`` handles [points, 2], (y, x) in pixels; 0 is the center of the first one.
            targets: where they are to go, likewise.
            options: how.
            mask: where the image may change, [r, r], bool or shares of 1; everywhere if None.
            noise: [num_noise]; the network's own if None.

        Raises:
            EditError: points, targets, styles, mask, noise or options that do not fit.
        """
        self._G, self._options = in_float32(G), options or Options()
        check_options(G, self._options)
        if G.shape[0] != G.shape[1]:
            raise EditError(
                f"images of {G.config.size_text(G.resolution)} pixels: points are dragged in square images alone."
            )
        r = G.resolution
        start, goal = _checked_points("points", points, r), _checked_points("targets", targets, r)
        if len(start) != len(goal):
            raise EditError(f"{len(start)} points and {len(goal)} targets: give a target for each point.")
        self._count = len(start)
        self._start = jnp.asarray(_checked_styles(ws, G))[None]
        self._ws = jnp.array(self._start)  # a copy, because the steps give its buffer away
        self._moments = optax.scale_by_adam(**ADAM).init(self._ws)
        self._points, self._targets = _padded(start), _padded(goal)
        active = jnp.arange(MAX_POINTS) < self._count
        self._noise = _checked_noise(noise, self._G)
        self._static = _static(G, self._options)
        shares = _checked_mask(mask, r)
        handles, features = _first(self._G, self._start, self._noise, self._points, static=self._static)
        weights = (0.0 if mask is None else self._options.mask_weight, self._options.style_weight)
        self._fixed = _Fixed(
            self._start,
            self._noise,
            self._targets,
            active,
            handles,
            features,
            jnp.asarray(shares),
            jnp.asarray(weights, jnp.float32),
            jnp.float32(_variance(self._G)),
            jnp.float32(self._options.tolerance),
        )
        self._taken = 0

    def __iter__(self) -> Iterator[Step]:
        while self._taken < self._options.steps:
            step = self.step()
            yield step
            if step.arrived:
                return

    def step(self) -> Step:
        """Take one more step, arrived or not."""
        rate = np.float32(self._options.learning_rate)
        self._ws, self._moments, self._points, image, distances, loss = _step(
            self._ws, self._moments, self._points, rate, self._G, self._fixed, static=self._static
        )
        self._taken += 1
        left = np.asarray(distances)[: self._count]
        return Step(self._taken, np.asarray(image), np.asarray(self._points)[: self._count], left, float(loss))

    @property
    def ws(self) -> np.ndarray:
        """The styles now, [num_ws, w_dim]."""
        return np.array(self._ws[0])


def drag(
    G: Generator,
    ws: np.ndarray,
    points: Sequence[Sequence[float]] | np.ndarray,
    targets: Sequence[Sequence[float]] | np.ndarray,
    options: Options | None = None,
    *,
    mask: np.ndarray | None = None,
    noise: np.ndarray | None = None,
) -> tuple[np.ndarray, list[Step]]:
    """Drag points of an image to their targets; arguments and errors are those of ``Drag``.

    Returns:
        the styles at the end [num_ws, w_dim], and all steps.
    """
    moving = Drag(G, ws, points, targets, options, mask=mask, noise=noise)
    steps = list(moving)
    return moving.ws, steps


def check_options(G: Generator, options: Options) -> None:
    """Raise EditError, naming field, value and fix, for options that this generator does not allow."""
    o, blocks = options, [r for r in G.config.resolutions if r <= G.resolution]
    if o.at is not None and o.at not in blocks:
        raise EditError(f"at = {o.at}: the blocks of this generator are {', '.join(map(str, blocks))}.")
    if o.layers is not None and not 1 <= o.layers <= G.num_ws:
        raise EditError(f"layers = {o.layers}: must be from 1 to {G.num_ws}, from the coarsest.")
    if o.steps < 1:
        raise EditError(f"steps = {o.steps}: must be at least 1.")
    for name, least in (("learning_rate", 0), ("mask_weight", 0), ("style_weight", 0), ("tolerance", 0)):
        value = getattr(o, name)
        if not (least <= value < np.inf):
            raise EditError(f"{name} = {value}: must be a finite number of at least {least}.")


@dataclass(frozen=True)
class _Static:
    """What programs are compiled anew for."""

    at: int
    layers: int
    supervised: int  # radius in pixels
    tracked: int


def _static(G: Generator, options: Options) -> _Static:
    r = G.resolution
    at = options.at or max(r // 2, 4)
    layers = options.layers or min(num_styles(at) + (G.config.generator.block == "demod"), G.num_ws)
    supervised = max(FEWEST_SUPERVISED, round(SUPERVISED * r))
    return _Static(at, layers, supervised, max(FEWEST_TRACKED, round(TRACKED * r)))


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class _Fixed:
    """What stays the same in all steps of a drag; K is ``MAX_POINTS``."""

    ws: Array  # at the start, [1, num_ws, w_dim]
    noise: Array  # [1, num_noise]
    targets: Array  # [K, 2]
    active: Array  # bool [K]
    handles: Array  # features around the points at the start, [K, Q, C]
    features: Array  # all of them, [r, r, C]
    mask: Array  # 1 where the image may change, [r, r]
    weights: Array  # of mask and of styles, [2]
    variance: Array  # of w, the mean over its components
    tolerance: Array  # pixels


def _features(G: Generator, ws: Array, noise: Array, at: int) -> tuple[Array, Array]:
    """The image [r, r, C] of ws [1, num_ws, w_dim], and a block's features at the image's size [r, r, C']."""
    images, features = G.features(ws, at, noise=noise)
    r = G.resolution
    return images[0], jax.image.resize(features[0], (r, r, features.shape[-1]), "bilinear")


@compilation.jit(static_argnames="static")
def _first(G: Generator, ws: Array, noise: Array, points: Array, *, static: _Static) -> tuple[Array, Array]:
    _, features = _features(G, ws, noise, static.at)
    return bilinear(features, _around(points, static.supervised)), features


@compilation.jit(static_argnames="static", donate_argnums=(0, 1))
def _step(
    ws: Array, moments: Any, points: Array, rate: Array, G: Generator, fixed: _Fixed, *, static: _Static
) -> tuple[Array, Any, Array, Array, Array, Array]:
    """One step of Adam, then tracking: (ws, moments, points [K, 2], image uint8, distances [K], loss)."""
    moves = (jnp.arange(ws.shape[1]) < static.layers)[None, :, None]
    ahead = fixed.targets - points
    distances = jnp.linalg.norm(ahead, axis=-1)
    # A pixel toward the target, or all the way where that is less.
    shift = ahead / jnp.maximum(distances, 1e-6)[:, None] * jnp.minimum(distances, 1.0)[:, None]
    pulled = (fixed.active & (distances > fixed.tolerance)).astype(jnp.float32)
    around = _around(points, static.supervised)

    def loss(ws: Array) -> Array:
        _, features = _features(G, ws, fixed.noise, static.at)
        # Differs from the paper, which pulls toward the features of the step before: those drift, and colors with them.
        motion = jnp.mean(jnp.abs(bilinear(features, around + shift[:, None]) - fixed.handles), axis=(1, 2))
        outside = jnp.mean(jnp.abs(features - fixed.features) * (1 - fixed.mask)[..., None])
        drift = jnp.mean(jnp.square(ws - fixed.ws)) / fixed.variance
        return jnp.sum(motion * pulled) + fixed.weights[0] * outside + fixed.weights[1] * drift

    value, gradient = jax.value_and_grad(loss)(ws)
    updates, moments = optax.scale_by_adam(**ADAM).update(jnp.where(moves, gradient, 0), moments)
    ws = jnp.where(moves, ws - rate * updates, fixed.ws)
    image, features = _features(G, ws, fixed.noise, static.at)
    points = jnp.where(fixed.active[:, None], _tracked(features, points, fixed.handles, static), points)
    left = jnp.linalg.norm(fixed.targets - points, axis=-1)
    left = jnp.where(left <= fixed.tolerance, 0.0, left)
    return ws, moments, points, ops.to_uint8(image), left, value


def _tracked(features: Array, points: Array, handles: Array, static: _Static) -> Array:
    """The places [K, 2] near each point that look most like its first surroundings (Eq. 2).

    Differs from the paper, which compares single features. In a plain area those are all alike, and the nearest one is
    anywhere; the surroundings are less so, and of places that are alike the one that is least away is taken.
    """
    offsets = _square(static.tracked)
    candidates = jnp.clip(jnp.round(points)[:, None] + offsets[None], 0, features.shape[0] - 1)
    places = _around(candidates.reshape(-1, 2), static.supervised).reshape(*candidates.shape[:2], -1, 2)
    distances = jnp.mean(jnp.abs(bilinear(features, places) - handles[:, None]), axis=(2, 3))
    stay = STAY * jnp.mean(jnp.abs(handles), axis=(1, 2))
    nearest = jnp.argmin(distances + stay[:, None] * jnp.linalg.norm(offsets, axis=-1)[None], axis=1)
    return jnp.take_along_axis(candidates, nearest[:, None, None], axis=1)[:, 0]


def _around(points: Array, radius: int) -> Array:
    """All places of the disc around each of some points [K, 2], a pixel apart: [K, Q, 2]."""
    offsets = _square(radius)
    inside = np.linalg.norm(offsets, axis=-1) <= radius * 1.5
    return points[:, None] + offsets[inside][None]


def _square(radius: int) -> np.ndarray:
    """Offsets (y, x) [Q, 2] of all pixels of a square around 0."""
    side = np.arange(-radius, radius + 1)
    y, x = (grid.ravel() for grid in np.meshgrid(side, side, indexing="ij"))
    return np.stack([y, x], axis=-1).astype(np.float32)


def bilinear(features: Array, places: Array) -> Array:
    """Features [h, w, C] at places [..., 2], (y, x) in pixels, clipped to the borders: [..., C]."""
    h, w, _ = features.shape
    y, x = jnp.clip(places[..., 0], 0, h - 1), jnp.clip(places[..., 1], 0, w - 1)
    top, left = jnp.floor(y).astype(jnp.int32), jnp.floor(x).astype(jnp.int32)
    bottom, right = jnp.minimum(top + 1, h - 1), jnp.minimum(left + 1, w - 1)
    ty, tx = (y - top)[..., None], (x - left)[..., None]
    above = features[top, left] * (1 - tx) + features[top, right] * tx
    return above * (1 - ty) + (features[bottom, left] * (1 - tx) + features[bottom, right] * tx) * ty


def _variance(G: Generator) -> float:
    """Variance of w, the mean over its components; of all classes together where there are some."""
    z = np.random.default_rng(0).standard_normal((SPREAD_SAMPLES, G.z_dim), np.float32)
    labels = np.arange(SPREAD_SAMPLES) % G.c_dim if G.c_dim else None
    return float(np.var(sampling.styles(G, z, labels=labels)[:, 0], axis=0).mean())


def _padded(points: np.ndarray) -> Array:
    return jnp.asarray(np.concatenate([points, np.zeros((MAX_POINTS - len(points), 2), np.float32)]))


def _checked_styles(ws: np.ndarray, G: Generator) -> np.ndarray:
    """Styles of one image, [num_ws, w_dim], float32."""
    ws = np.asarray(ws, np.float32)
    if ws.shape != (G.num_ws, G.w_dim) or not np.isfinite(ws).all():
        raise EditError(f"ws is {ws.shape}; wanted are finite numbers [{G.num_ws}, {G.w_dim}].")
    return ws


def _checked_noise(noise: np.ndarray | None, G: Generator) -> Array:
    """Noise of one image, [1, num_noise], float32; the network's own if None."""
    row = jnp.asarray(G.constant_noise() if noise is None else noise, jnp.float32).reshape(1, -1)
    if row.shape[1] != G.num_noise:
        raise EditError(f"noise has {row.shape[1]} numbers; this generator needs {G.num_noise}.")
    return row


def _checked_points(name: str, points: Sequence[Sequence[float]] | np.ndarray, side: int) -> np.ndarray:
    """The points as float32 [n, 2]; raises EditError, which names them, where they are none."""
    try:
        array = np.asarray(points, np.float32)
    except (TypeError, ValueError):
        array = np.empty(0, np.float32)
    if array.ndim != 2 or array.shape[1:] != (2,) or not 1 <= len(array) <= MAX_POINTS:
        raise EditError(f"{name} are {array.shape}; wanted are 1 to {MAX_POINTS} places (y, x), [n, 2].")
    if not (np.isfinite(array).all() and (array >= -0.5).all() and (array <= side - 0.5).all()):
        raise EditError(f"{name} {array.tolist()}: must lie in the image, from 0 to {side - 1}.")
    return array


def _checked_mask(mask: np.ndarray | None, side: int) -> np.ndarray:
    if mask is None:
        return np.ones((side, side), np.float32)
    shares = np.asarray(mask, np.float32)
    if shares.shape != (side, side) or not ((shares >= 0) & (shares <= 1)).all():
        raise EditError(f"mask is {shares.shape}; wanted are shares of 1, [{side}, {side}].")
    return shares
