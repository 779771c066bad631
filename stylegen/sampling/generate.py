"""Seeds to z to w to images: sampling, truncation, mixing and walks with a ``Generator``.

Everything takes and returns numpy arrays. Work goes through the network in batches, so that memory stays bounded. With
``batch`` every one of them has that size, the last one padded: any number of images compiles once, and an image is the
same to the bit whatever else is requested. Without it the size is ``default_batch``, and a few images have a smaller
program of their own: one image costs about one image. Programs of different sizes round differently: on a CPU the
shipped generator's images differ by 1.3e-6 at most, and 4 in 100,000 values of uint8 by one level.
Truncation, mixing and paths: Karras, Laine and Aila 2019 ("StyleGAN"), Sec. 3 and appendix B.
"""

import dataclasses
import functools
import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Literal

import numpy as np
from jax import Array
from jaxtyping import Float, Float32, Num, Shaped

from stylegen.io.progress import counted
from stylegen.networks.generator import Generator
from stylegen.networks.synthesis import NoiseMode
from stylegen.sampling import batches, centers, interpolation, programs
from stylegen.sampling.batches import Batch, default_batch, fetched
from stylegen.sampling.centers import Towards
from stylegen.sampling.labels import Labels, SamplingError, class_numbers

Seeds = Iterable[int] | np.ndarray

NOISE_MODES = ("const", "random", "none")
MAX_SEED = 2**32 - 1  # of numpy.random.RandomState


def latents(seeds: Seeds, z_dim: int) -> Float32[np.ndarray, "n z_dim"]:
    """The latents z [N, z_dim] of some seeds, float32.

    Each is ``np.random.RandomState(seed).randn(1, z_dim)``, as in all published StyleGAN code, so that a seed means the
    same z everywhere.

    Raises:
        SamplingError: no seeds, or one that is no integer from 0 to 2**32 - 1.
    """
    numbers = _checked_seeds(seeds)
    z = np.empty((len(numbers), z_dim), np.float32)
    generator = np.random.RandomState()  # seeded for each row: making one takes ten times as long as its numbers
    for row, seed in zip(z, numbers, strict=True):
        generator.seed(seed)
        row[:] = generator.randn(z_dim)
    return z


def styles(
    G: Generator,
    z: Num[np.ndarray | Array, "n z_dim"],
    *,
    labels: Labels = None,
    psi: float = 1.0,
    cutoff: int | None = None,
    towards: Towards = "mean",
    batch: int | None = None,
) -> Float32[np.ndarray, "n num_ws w_dim"]:
    """Map latents to styles and truncate them.

    Args:
        G: the generator.
        z: [N, z_dim].
        labels: class of each image, or one for all, by number or name; needed by a class-conditional generator,
            refused by another.
        psi: truncation: 1 is none, 0 gives the mean image, between them variety is traded for fidelity. The mean is
            that of all classes, as in StyleGAN2-ADA: a small psi takes the class away too.
        cutoff: layers that are truncated, counted from the coarsest; None is all.
        towards: what psi draws to: that mean, the mean of the image's class, or the nearest of several centers
            (``centers``).
        batch: latents mapped at once, fewer are padded; if None, ``default_batch`` of the resolution or fewer.

    Returns:
        ws [N, num_ws, w_dim], float32.

    Raises:
        SamplingError: shapes, labels, psi or cutoff that do not fit.
        CenterError: there are no such centers.
    """
    if towards != "mean":
        _mapping(G, psi, cutoff)  # what does not fit is said now
        labels = class_numbers(G, labels)
        ws = styles(G, z, labels=labels, batch=batch)
        classes = None if labels is None else np.broadcast_to(np.asarray(labels), len(ws))
        return centers.truncate(ws, centers.centers_of(G, ws[:, 0], towards, classes), psi, cutoff)
    z = np.asarray(z, np.float32)
    if z.ndim != 2 or z.shape[0] == 0 or z.shape[1] != G.z_dim:
        raise SamplingError(f"z has shape {z.shape}; this generator needs [N, {G.z_dim}].")
    c = one_hot(G, labels, len(z))
    mapping = _mapping(G, psi, cutoff)

    def run(part: Batch) -> Array:
        return mapping(*part.padded(z[part.rows], None if c is None else c[part.rows]))

    return _collect(fetched(run, _parts(G, len(z), batch)))


def sample_w(G: Generator, n: int, seed: int = 0, labels: Labels = None) -> Float32[np.ndarray, "n w_dim"]:
    """Random w [n, w_dim], not truncated, for their mean, spread and directions; ``labels`` as in ``styles``."""
    z = np.random.default_rng(seed).standard_normal((n, G.z_dim), np.float32)
    return styles(G, z, labels=labels, batch=min(n, 1000))[:, 0]


def synthesize(
    G: Generator,
    ws: Num[np.ndarray | Array, "*n layers w_dim"],
    *,
    noise: NoiseMode | Num[np.ndarray | Array, "images num_noise"] = "const",
    noise_seeds: Sequence[int] | None = None,
    as_float: bool = False,
    batch: int | None = None,
) -> Shaped[np.ndarray, "*n h w channels"]:
    """Draw the images of some styles, at the resolution (and fade) that the generator was taken at.

    Args:
        G: the generator.
        ws: [..., num_ws, w_dim], with any leading dimensions; layers beyond num_ws are not used.
        noise: const is the network's own, the same for all images; random is drawn from ``noise_seeds``; or none; or
            the noise itself, [N, num_noise], a row for each image in order.
        noise_seeds: for random noise, a seed for each image in order; 0, 1, 2, ... if None.
        as_float: give float32 around [-1, 1], unclipped, instead of uint8.
        batch: images drawn at once, fewer are padded; if None, ``default_batch`` of the resolution or fewer.

    Returns:
        [..., h, w, C], uint8 (or float32); squares of ``G.resolution`` pixels unless the network has another shape.

    Raises:
        SamplingError: shapes, seeds or noise that do not fit.
    """
    ws = np.asarray(ws, np.float32)
    if ws.ndim < 2 or ws.size == 0 or ws.shape[-2] < G.num_ws or ws.shape[-1] != G.w_dim:
        raise SamplingError(f"ws has shape {ws.shape}; this generator needs [..., {G.num_ws}, {G.w_dim}].")
    rows = ws[..., : G.num_ws, :].reshape(-1, G.num_ws, G.w_dim)
    mode, extra = _noise_inputs(G, len(rows), noise, noise_seeds)
    synthesis = _synthesis(G, mode, as_float)

    def run(part: Batch) -> Array:
        return synthesis(*part.padded(rows[part.rows], extra[part.rows]))

    images = _collect(fetched(run, _parts(G, len(rows), batch)))
    return images.reshape(*ws.shape[:-2], *images.shape[1:])


def sample(
    G: Generator,
    seeds: Seeds,
    *,
    labels: Labels = None,
    psi: float = 1.0,
    cutoff: int | None = None,
    towards: Towards = "mean",
    noise: NoiseMode = "const",
    as_float: bool = False,
    batch: int | None = None,
) -> Shaped[np.ndarray, "n h w channels"]:
    """The images of some seeds: uint8 [N, r, r, C] (float32 with ``as_float``).

    A seed gives the same image whatever else is in the list, random noise included, which is drawn from the seed too:
    to the bit with the same ``batch``, to rounding without. Arguments and errors are those of ``styles`` and
    ``synthesize``. For more than fits in memory there is ``stream``.
    """
    return _collect(
        stream(
            G,
            seeds,
            labels=labels,
            psi=psi,
            cutoff=cutoff,
            towards=towards,
            noise=noise,
            as_float=as_float,
            batch=batch,
        )
    )


def stream(
    G: Generator,
    seeds: Seeds,
    *,
    labels: Labels = None,
    psi: float = 1.0,
    cutoff: int | None = None,
    towards: Towards = "mean",
    noise: NoiseMode = "const",
    as_float: bool = False,
    batch: int | None = None,
) -> Iterator[np.ndarray]:
    """Like ``sample``, a batch at a time, in order: arrays [up to batch, r, r, C]. Wrong arguments raise at once."""
    numbers = _checked_seeds(seeds)
    labels = class_numbers(G, labels)
    classes = None if one_hot(G, labels, len(numbers)) is None else np.broadcast_to(np.asarray(labels), len(numbers))
    _check_noise(noise)
    mapping, synthesis = _mapping(G, psi, cutoff), _synthesis(G, noise, as_float)

    def run(part: Batch) -> Array:
        batch_seeds = numbers[part.rows]
        if towards != "mean":
            chosen = None if classes is None else classes[part.rows]
            z = latents(batch_seeds, G.z_dim)
            own = styles(G, z, labels=chosen, psi=psi, cutoff=cutoff, towards=towards, batch=part.size)
            return synthesis(*part.padded(own, np.asarray(batch_seeds, np.uint32)))
        c = None if classes is None else one_hot(G, classes[part.rows], len(batch_seeds))
        ws = mapping(*part.padded(latents(batch_seeds, G.z_dim), c))  # stays on the device
        return synthesis(ws, *part.padded(np.asarray(batch_seeds, np.uint32)))

    return fetched(run, _parts(G, len(numbers), batch))


def mix(
    ws_rows: Float[np.ndarray, "rows num_ws w_dim"],
    ws_cols: Float[np.ndarray, "cols num_ws w_dim"],
    layers: Iterable[int],
) -> Float[np.ndarray, "rows cols num_ws w_dim"]:
    """Mix the styles of every row with those of every column (StyleGAN, Fig. 3).

    Args:
        ws_rows: [rows, num_ws, w_dim].
        ws_cols: [cols, num_ws, w_dim].
        layers: layers whose styles come from the column, 0 being the coarsest; the rest come from the row.

    Returns:
        [rows, cols, num_ws, w_dim].

    Raises:
        SamplingError: shapes that do not match, or a layer that does not exist.
    """
    ws_rows, ws_cols = np.asarray(ws_rows), np.asarray(ws_cols)
    if ws_rows.ndim != 3 or ws_cols.ndim != 3 or ws_rows.shape[1:] != ws_cols.shape[1:]:
        raise SamplingError(f"styles to mix are {ws_rows.shape} and {ws_cols.shape}; both must be [N, num_ws, w_dim].")
    num_ws = ws_rows.shape[1]
    column_layers = sorted(set(layers))
    if outside := [layer for layer in column_layers if not 0 <= layer < num_ws]:
        raise SamplingError(f"layer {outside[0]} does not exist: these styles have {num_ws}, 0 to {num_ws - 1}.")
    mixed = np.repeat(ws_rows[:, None], len(ws_cols), axis=1)
    mixed[:, :, column_layers] = ws_cols[None][:, :, column_layers]
    return mixed


def walk(
    G: Generator,
    seeds: Seeds,
    *,
    space: Literal["z", "w"] = "w",
    frames: int = 60,
    loop: bool = False,
    labels: Labels = None,
    psi: float = 1.0,
    cutoff: int | None = None,
    noise: NoiseMode = "const",
    batch: int | None = None,
) -> Iterator[np.ndarray]:
    """Frames of a walk from seed to seed, straight in w or spherical in z: uint8 [r, r, C] each.

    Args:
        G: the generator.
        seeds: at least two; each is met exactly.
        space: where to interpolate.
        frames: steps from one seed to the next; ``interpolation.num_frames`` of them in all.
        loop: return to the first seed.
        labels: class of each seed, or one for all; a walk in z stays in one class.
        psi: truncation, as in ``styles``.
        cutoff: layers truncated, as in ``styles``.
        noise: random noise is that of the first seed in all frames, because noise that changes would flicker.
        batch: frames drawn at once, as in ``synthesize``.

    Raises:
        SamplingError, PathError: at once, for arguments that do not fit, such as a walk in z between classes.
    """
    numbers = _checked_seeds(seeds)
    labels = class_numbers(G, labels)
    total = interpolation.num_frames(len(numbers), frames, loop)
    if space not in ("z", "w"):
        raise SamplingError(f"space = {space!r}: must be z or w.")
    _check_noise(noise)
    keyframes = latents(numbers, G.z_dim)
    ws = styles(G, keyframes, labels=labels, psi=psi, cutoff=cutoff, batch=batch)
    if space == "z" and labels is not None and np.unique(labels).size > 1:
        raise SamplingError("a walk in z stays in one class; give one label, or walk in w to pass between classes.")
    path = (
        interpolation.walk(ws, frames, loop, "lerp")
        if space == "w"
        else interpolation.walk(keyframes, frames, loop, "slerp")
    )
    c = None if labels is None or space == "w" else one_hot(G, int(np.ravel(labels)[0]), 1)
    mapping, synthesis = _mapping(G, psi, cutoff), _synthesis(G, noise, as_float=False)

    def run(part: Batch) -> Array:
        (points,) = part.padded(np.stack(list(itertools.islice(path, part.count))))
        classes = [] if c is None else [np.repeat(c, part.size, axis=0)]
        batch_ws = points if space == "w" else mapping(points, *classes)
        return synthesis(batch_ws, np.full(part.size, numbers[0], np.uint32))

    return itertools.chain.from_iterable(fetched(run, _parts(G, total, batch)))


def one_hot(G: Generator, labels: Labels, n: int) -> np.ndarray | None:
    """Labels of ``n`` images as float32 [n, c_dim], or None for a generator without classes.

    Raises:
        SamplingError: labels are missing, unexpected, too few, too many or no class of the generator.
    """
    labels = class_numbers(G, labels)
    if G.c_dim == 0:
        if labels is not None:
            raise SamplingError("labels were given, but this generator has no classes.")
        return None
    if labels is None:
        raise SamplingError(
            f"this generator has {counted(G.c_dim, 'class')}: give labels, each from 0 to {G.c_dim - 1}."
        )
    numbers = np.asarray(labels)
    if numbers.ndim == 0:
        numbers = np.repeat(numbers, n)
    if numbers.shape != (n,):
        raise SamplingError(
            f"{counted(numbers.size, 'label')} for {counted(n, 'image')}: give one for each, or a single one for all."
        )
    for label in numbers.tolist():
        if not isinstance(label, int) or not 0 <= label < G.c_dim:
            raise SamplingError(f"label {label!r} is no class of this generator: its {G.c_dim} are 0 to {G.c_dim - 1}.")
    return np.eye(G.c_dim, dtype=np.float32)[numbers]


def _mapping(G: Generator, psi: float, cutoff: int | None) -> Callable[..., Array]:
    """The function of z [n, z_dim], and c [n, c_dim] of a generator with classes, that gives truncated ws."""
    if not math.isfinite(psi):
        raise SamplingError(f"psi = {psi}: must be a finite number; 1 is no truncation.")
    if cutoff is not None and cutoff < 0:
        raise SamplingError(f"cutoff = {cutoff}: must be the number of layers to truncate, 0 to {G.num_ws}.")
    if G.fading:
        G = dataclasses.replace(G, alpha=1.0)  # the mapping network does not use it, so a stage has one such program
    layers = G.num_ws if cutoff is None else min(cutoff, G.num_ws)
    return functools.partial(programs.map_latents, G, np.float32(psi), np.int32(layers))


def _synthesis(G: Generator, noise: NoiseMode | Literal["given"], as_float: bool) -> Callable[..., Array]:
    """The function of ws [n, num_ws, w_dim], and seeds [n] or given noise, that gives images."""
    return functools.partial(programs.draw, G, noise=noise, as_float=as_float)


def _noise_inputs(
    G: Generator, n: int, noise: NoiseMode | np.ndarray | Array, noise_seeds: Sequence[int] | None
) -> tuple[NoiseMode | Literal["given"], np.ndarray]:
    """The kind of noise of ``n`` images, and their seeds or the noise itself."""
    mode: NoiseMode | Literal["given"]
    if isinstance(noise, str):
        _check_noise(noise)
        mode = noise
        extra = np.asarray(_checked_seeds(range(n) if noise_seeds is None else noise_seeds), np.uint32)
    else:
        mode, extra = "given", np.asarray(noise, np.float32)
        if extra.shape[1:] != (G.num_noise,):
            raise SamplingError(f"noise has shape {extra.shape}; this generator needs [N, {G.num_noise}].")
    if len(extra) != n:
        what = "noise seeds" if isinstance(noise, str) else "rows of noise"
        raise SamplingError(f"{len(extra)} {what} for {counted(n, 'image')}: give one for each.")
    return mode, extra


def _parts(G: Generator, n: int, batch: int | None) -> list[Batch]:
    if batch is not None and batch < 1:
        raise SamplingError(f"batch = {batch}: must be at least 1.")
    return batches.split(n, batch or default_batch(max(G.shape)), fixed=batch is not None)


def _collect(batches: Iterator[np.ndarray]) -> np.ndarray:
    return np.concatenate(list(batches))


def _checked_seeds(seeds: Seeds) -> list[int]:
    numbers = []
    for seed in seeds:
        if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or not 0 <= seed <= MAX_SEED:
            raise SamplingError(f"seed {seed!r}: must be a whole number from 0 to {MAX_SEED}.")
        numbers.append(int(seed))
    if not numbers:
        raise SamplingError("no seeds were given.")
    return numbers


def _check_noise(noise: str) -> None:
    if noise not in NOISE_MODES:
        raise SamplingError(f"noise = {noise!r}: must be one of {', '.join(NOISE_MODES)}.")
