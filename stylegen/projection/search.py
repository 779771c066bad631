"""Find the styles with which a generator draws a given image.

Gradient descent on the styles. From Abdal, Qin and Wonka 2019 (Image2StyleGAN) come w+ and the loss of pixels and a
perceptual distance. From Karras et al. 2020 (StyleGAN2, appendix D) come w, the ramps of the learning rate, exploration
and noise.
"""

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, get_args

import numpy as np
from jax import Array

from stylegen import sampling
from stylegen.io.images import layout_hint
from stylegen.metrics.extractors import Distance
from stylegen.networks.generator import Generator, in_float32
from stylegen.projection import loss as projection_loss
from stylegen.projection.descent import Descent, Options, Space, Start, about
from stylegen.projection.loss import PerceptualName
from stylegen.projection.loss import Weights as Weights
from stylegen.projection.result import Projection, ProjectionError, fingerprint

Progress = Callable[[Iterable[list[float]], int, str], Iterator[list[float]]]
COMPARED_SIDE = 16  # pixels to which images are averaged down to find the nearest one to start from
MAX_BATCH = 16  # targets at once where the options do not say
CANDIDATES, CANDIDATE_PIXELS, FEWEST_CANDIDATES = 2000, 2000 * 64**2, 64  # fewer of larger images


@dataclass(frozen=True, eq=False)
class Result:
    """A projection and the course of its search."""

    projection: Projection
    frames: list[np.ndarray]  # uint8 [N, r, r, C] each, from the start to the end
    frame_steps: list[int]  # steps taken before each of them
    started: np.ndarray  # uint8 [N, r, r, C], the images that the search started from


def project(
    G: Generator,
    targets: np.ndarray,
    options: Options | None = None,
    *,
    distance: Distance | PerceptualName | None = None,
    labels: sampling.Labels = None,
    names: Iterable[str] | None = None,
    frames: int = 0,
    progress: Progress | None = None,
) -> Result:
    """Find the styles of images.

    Each target is searched for by itself. The same seed and batch size give the same result, on a CPU to the last bit.
    Another batch size, which other targets may bring along, rounds differently. Searches that converge then agree to
    1e-4 of ws in space w and to a few percent in w+, at the same loss; others may end elsewhere. The generator computes
    in float32 at highest precision, whatever it was trained in.

    Args:
        G: the generator.
        targets: uint8 [N, r, r, C], of the generator's size and channels.
        options: how.
        distance: of the perceptual loss: a name (auto is VGG-16 where its weights are here, else random_vgg), or what
            ``projection.loss.open_perceptual`` gave; None for pixels alone.
        labels: class of each image, or one for all, of a class-conditional generator.
        names: of the images; their numbers if None.
        frames: number of intermediate images to keep, at most.
        progress: passes losses on as steps are taken and shows how far they are; called with their number.

    Raises:
        ProjectionError: targets or options that do not fit.
        SamplingError: labels that do not fit.
        WeightsError: the weights of the network named by ``distance`` are missing.
    """
    options = options or Options()
    if isinstance(distance, str):
        distance = projection_loss.open_perceptual(distance)
    targets = np.asarray(targets)
    check_targets(G, targets)
    check_options(G, options)
    search = _Search(in_float32(G), options, distance, frames)
    search.run(targets, search.starts(targets, labels), progress)
    loss, latents, frame_images, started = search.best(len(targets))
    all_names = tuple(names) if names is not None else tuple(str(i) for i in range(len(targets)))
    projection = Projection(
        ws=latents["ws"],
        names=all_names,
        generators=(fingerprint(G),),
        noise=latents.get("noise"),
        z=latents.get("z"),
        loss=loss,
        about=about(G, options, distance),
    )
    return Result(projection, frame_images, search.frame_steps(), started)


def descend(
    G: Generator,
    targets: np.ndarray,
    options: Options | None = None,
    *,
    distance: Distance | None = None,
    labels: sampling.Labels = None,
) -> Descent:
    """The search of ``project`` as an iterator of steps, all targets together, that can be stopped and continued.

    Example::

        descent = descend(G, targets)
        for step, losses, images in descent:
            ...
        projection = descent.projection()

    Args:
        G: the generator.
        targets: uint8 [N, r, r, C], of the generator's size and channels.
        options: how; ``starts`` is 1, and ``batch`` is not used.
        distance: of the perceptual loss.
        labels: as of ``project``.

    Raises:
        ProjectionError, SamplingError: as ``project``; or options.starts is not 1.
    """
    options, targets = options or Options(), np.asarray(targets)
    check_targets(G, targets)
    check_options(G, options)
    if options.starts != 1:
        raise ProjectionError(f"starts = {options.starts}: a descent has 1; project keeps the best of several.")
    G = in_float32(G)
    return Descent(G, targets, _Search(G, options, distance, 0).starts(targets, labels), options, distance)


def check_targets(G: Generator, targets: np.ndarray) -> None:
    """Raise ProjectionError unless targets are uint8 [N, r, r, C] of this generator's size and channels."""
    shape = (*G.shape, G.image_channels)
    if targets.dtype != np.uint8 or targets.shape[1:] != shape or not len(targets):
        raise ProjectionError(
            f"targets are {targets.dtype} {targets.shape}; wanted are uint8 [N, {', '.join(map(str, shape))}]"
            f"{layout_hint(targets.shape)}."
        )


def check_options(G: Generator, options: Options) -> None:
    """Raise ProjectionError, naming field, value and fix, for options that this generator does not allow."""

    def check(ok: bool, name: str, value: object, fix: str) -> None:
        if not ok:
            raise ProjectionError(f"{name} = {value!r}: {fix}.")

    o, w = options, options.weights
    check(o.space in get_args(Space), "space", o.space, f"must be one of {', '.join(get_args(Space))}")
    check(o.start in get_args(Start), "start", o.start, f"must be one of {', '.join(get_args(Start))}")
    check(o.steps >= 1, "steps", o.steps, "must be at least 1")
    check(o.starts >= 1, "starts", o.starts, "must be at least 1")
    several = o.starts == 1 or o.start == "nearest"
    check(several, "starts", o.starts, "there is one mean to start from; several starts go with nearest")
    most = o.candidates or default_candidates(G.resolution)
    check(o.starts <= most, "starts", o.starts, f"must be at most the number of candidates, {most}")
    for name in ("candidates", "batch"):
        value = getattr(o, name)
        check(value is None or value >= 1, name, value, "must be at least 1")
    check(0 < o.learning_rate < math.inf, "learning_rate", o.learning_rate, "must be positive")
    for name in ("ramp_up", "ramp_down", "exploration_share"):
        check(0 <= getattr(o, name) <= 1, name, getattr(o, name), "must be a share of the steps, 0 to 1")
    check(0 <= o.exploration < math.inf, "exploration", o.exploration, "must be 0 (none) or more")
    check(0 <= o.seed < 2**32, "seed", o.seed, "must be in 0 to 4294967295")
    for name in ("pixel", "perceptual", "noise"):
        check(0 <= getattr(w, name) < math.inf, f"{name} weight", getattr(w, name), "must be 0 or more, and finite")
    check(w.pixel + w.perceptual > 0, "pixel weight", w.pixel, "with a perceptual weight of 0 nothing is left to match")
    check(w.scales >= 1, "scales", w.scales, "must be at least 1")
    if o.space == "z":
        check(o.start == "nearest", "start", o.start, "there is no mean of z; in space z it is nearest")
    if o.space == "w+noise":
        fix = "this generator has no noise inputs (generator.use_noise is False); use w+"
        check(G.config.generator.use_noise, "space", o.space, fix)


def default_candidates(resolution: int) -> int:
    """Default number of random images to choose the nearest from: 2000 up to 64 pixels."""
    return max(FEWEST_CANDIDATES, min(CANDIDATES, CANDIDATE_PIXELS // resolution**2))


class _Search:
    """The descent of all targets, group by group, and its results."""

    def __init__(self, G: Generator, options: Options, distance: Distance | None, frames: int) -> None:
        self._G, self._options, self._distance = G, options, distance
        self._every = max(1, math.ceil(options.steps / frames)) if frames else 0
        self.latents: list[dict[str, np.ndarray]] = []
        self.losses: list[np.ndarray] = []
        self.frames: list[list[np.ndarray]] = []
        self.started: list[np.ndarray] = []

    def starts(self, targets: np.ndarray, labels: sampling.Labels) -> dict[str, np.ndarray]:
        """The start of the search for each target: z or w or ws, noise, one-hot classes c if there are any, and spread.

        The spread [N] is the unit of exploration: that of w of the target's class, or of z.
        """
        G, o = self._G, self._options
        classes = sampling.one_hot(G, labels, len(targets))
        z = _latents(o.seed, o.candidates or default_candidates(G.resolution), G.z_dim)
        total = len(targets) * o.starts
        begin = {"z": np.empty((total, G.z_dim), np.float32), "w": np.empty((total, G.w_dim), np.float32)}
        spread = np.full(total, G.z_dim**0.5, np.float32)
        numbers = np.zeros(len(targets), int) if classes is None else classes.argmax(axis=1)
        for number in np.unique(numbers).tolist():
            rows = np.flatnonzero(numbers == number)
            w = sampling.styles(G, z, labels=None if classes is None else number)[:, 0]
            slots = (rows[:, None] * o.starts + np.arange(o.starts)).ravel()
            if o.space != "z":
                spread[slots] = np.square(w - w.mean(axis=0)).sum(axis=1).mean() ** 0.5
            if o.start == "nearest":
                nearest = _nearest(G, w, targets[rows], o.starts).ravel()
                begin["z"][slots], begin["w"][slots] = z[nearest], w[nearest]
            else:
                begin["w"][slots] = np.asarray(G.w_avg)
        latents: dict[str, np.ndarray] = {"ws": _repeated(begin["w"], G.num_ws)}
        if o.space in ("z", "w"):
            latents = {o.space: begin[o.space]}
        if o.space == "w+noise":
            latents["noise"] = np.repeat(np.asarray(G.constant_noise())[None], total, axis=0)
        latents["spread"] = spread
        return latents if classes is None else latents | {"c": np.repeat(classes, o.starts, axis=0)}

    def run(self, targets: np.ndarray, starts: dict[str, np.ndarray], progress: Progress | None) -> None:
        """Search from all starts, a group after the other; a target's starts follow one another."""
        rows = len(targets) * self._options.starts
        # Gradients of the generator and of the distance take several times the memory of sampling.
        size = self._options.batch or min(rows, sampling.default_batch(max(self._G.shape)), MAX_BATCH)
        groups = [np.minimum(np.arange(i, i + size), rows - 1) for i in range(0, rows, size)]

        def steps() -> Iterator[list[float]]:
            for group in groups:
                start = {name: x[group] for name, x in starts.items()}
                yield from self.optimize(targets[group // self._options.starts], start)

        total = self._options.steps * len(groups)
        for _ in steps() if progress is None else progress(steps(), total, "steps"):
            pass

    def best(self, count: int) -> tuple[np.ndarray, dict[str, np.ndarray], list[np.ndarray], np.ndarray]:
        """Of each of ``count`` targets the start whose last loss is the least.

        Returns:
            its losses [steps, count], its latents, its frames, and the image [count, h, w, C] that it began with.
        """
        starts = self._options.starts
        loss = np.concatenate(self.losses, axis=1)[:, : count * starts]
        best = np.arange(0, count * starts, starts) + loss[-1].reshape(-1, starts).argmin(axis=1)
        latents = {name: np.concatenate([part[name] for part in self.latents])[best] for name in self.latents[0]}
        frames = [np.concatenate(parts)[best] for parts in zip(*self.frames, strict=True)]
        return loss[:, best], latents, frames, np.concatenate(self.started)[best]

    def optimize(self, targets: np.ndarray, start: dict[str, np.ndarray]) -> Iterator[list[float]]:
        """Take all steps for one group of targets, keep the results, and yield the mean loss of each step."""
        descent = Descent(self._G, targets, start, self._options, self._distance)
        frames: list[np.ndarray] = []
        before: Array | None = None
        for step, loss, images in descent:
            if step == 0:
                self.started.append(np.asarray(images))
            if self._every and step % self._every == 0:
                frames.append(np.asarray(images))
            # One step late, so that the next one is under way while this one is looked at.
            yield [float(np.mean(loss if before is None else before))]
            before = loss
        self.latents.append(descent.latents)
        self.losses.append(descent.losses)
        if self._every:
            styles = self.latents[-1]["ws"]
            noise: Any = self.latents[-1].get("noise", "const")
            frames.append(sampling.synthesize(self._G, styles, noise=noise, batch=len(styles)))
        self.frames.append(frames)

    def frame_steps(self) -> list[int]:
        """Steps taken before each intermediate image."""
        return [*range(0, self._options.steps, self._every), self._options.steps] if self._every else []


def _latents(seed: int, n: int, z_dim: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((n, z_dim), np.float32)


def _nearest(G: Generator, w: np.ndarray, targets: np.ndarray, count: int) -> np.ndarray:
    """For each target the candidates w [K, w_dim] whose images, averaged down, differ least: indices [N, count]."""
    batch, thumbnails = 4 * sampling.default_batch(max(G.shape)), []
    for start in range(0, len(w), batch):
        ws = _repeated(w[start : start + batch], G.num_ws)
        thumbnails.append(_thumbnails(sampling.synthesize(G, ws)))
    candidates, compared = np.concatenate(thumbnails), _thumbnails(targets)
    differences = np.square(candidates).sum(axis=1)[None] - 2 * compared @ candidates.T
    return np.argsort(differences, axis=1, kind="stable")[:, :count]


def _thumbnails(images: np.ndarray) -> np.ndarray:
    """uint8 [N, h, w, C] averaged down to a shorter side of at most 16 pixels, as float rows [N, ...]."""
    n, h, w, c = images.shape
    factor = max(1, min(h, w) // COMPARED_SIDE)
    factor = math.gcd(1 << (factor.bit_length() - 1), h, w) if h != w else factor
    cells = images.reshape(n, h // factor, factor, w // factor, factor, c).mean(axis=(2, 4), dtype=np.float32)
    return cells.reshape(n, -1) / np.float32(255)


def _repeated(w: np.ndarray, layers: int) -> np.ndarray:
    return np.repeat(w[:, None], layers, axis=1)
