"""Videos of walks: what styles every frame has, one image a frame or a grid of them, and the frames themselves.

A ``Walk`` is made by ``seed_walk`` (or ``editing.walks`` from a file) and changed by ``truncated``, ``mixed`` and
others; ``draw`` gives its frames. The walk that ``stylegen.walk`` gives is the simplest of them.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import jax.numpy as jnp
import numpy as np

from stylegen.io import images
from stylegen.io.progress import counted
from stylegen.networks.generator import Generator
from stylegen.networks.mapping import truncate
from stylegen.networks.synthesis import NoiseMode
from stylegen.sampling import curves
from stylegen.sampling.batches import default_batch
from stylegen.sampling.generate import Labels, SamplingError, latents, mix, styles, synthesize
from stylegen.sampling.interpolation import PathError

Path = Literal["linear", "eased", "cubic", "circle"]
Frames = np.ndarray  # numbers of frames [n], whole


@dataclass(frozen=True)
class Walk:
    """The styles of every frame of a video; computed when they are asked for."""

    frames: int
    styles: Callable[[Frames], np.ndarray]  # of some frames: ws [n, cells, num_ws, w_dim], not truncated
    cells: tuple[int, int] = (1, 1)  # rows and columns of images in a frame

    def changed(self, change: Callable[[Frames, np.ndarray], np.ndarray]) -> "Walk":
        """The walk with the styles that ``change`` makes of frames' numbers and styles."""
        return replace(self, styles=lambda frames: change(frames, self.styles(frames)))


def seed_walk(
    G: Generator,
    seeds: Sequence[int],
    *,
    path: Path = "linear",
    space: Literal["z", "w"] = "w",
    frames: int | Sequence[int] = 60,
    loop: bool = False,
    labels: Labels = None,
    grid: tuple[int, int] = (1, 1),
    radius: float = 1.0,
    batch: int | None = None,
) -> Walk:
    """A walk through seeds, in one cell or in each of a grid.

    Args:
        G: the generator.
        seeds: shared among the cells in order, as many for each; of one seed a cell stays there.
        path: from seed to seed straight, eased or cubic (``curves.curve``); or a circle of noise around each cell's one
            seed, which is a closed loop through no seed (``curves.noise_loop``).
        space: w, or z on great circles. A circle is always one of z.
        frames: from one seed to the next, one number for all or one each; of a circle or a single seed, in all.
        loop: return from the last seed to the first.
        labels: class of each seed, or one for all; in z, and on a circle, a cell stays in one class.
        grid: rows and columns.
        radius: of the circles.
        batch: latents mapped at once, as in ``styles``.

    Raises:
        SamplingError, PathError: arguments that do not fit each other.
    """
    cells, per_cell = grid[0] * grid[1], _seeds_per_cell(len(seeds), grid)
    if path == "circle" and per_cell > 1:
        raise PathError(f"a circle begins with one seed; {counted(per_cell, 'seed')} for each image are too many.")
    stays = per_cell == 1
    segments = 1 if stays else per_cell if loop else per_cell - 1
    steps = [frames] * segments if isinstance(frames, int) else list(frames)
    if len(steps) != segments:
        raise PathError(f"{counted(len(steps), 'number')} of frames for {counted(segments, 'part')} of a walk.")
    at = curves.positions(steps, closed=loop or stays)
    z = latents(seeds, G.z_dim)
    if path == "circle" or (space == "z" and not stays):
        of_frames = _in_z(G, seeds, z, path, loop, labels, (cells, per_cell), radius, batch)
    else:
        ws = styles(G, z, labels=labels, batch=batch).reshape(cells, per_cell, G.num_ws, G.w_dim)
        of_frames = _in_w(ws, "linear" if path == "circle" else path, loop)
    return Walk(len(at), lambda numbers: of_frames(at[numbers]), grid)


def _seeds_per_cell(seeds: int, grid: tuple[int, int]) -> int:
    """How many of the seeds each cell has; raises PathError unless all have as many."""
    rows, columns = grid
    if rows < 1 or columns < 1 or not seeds or seeds % (rows * columns):
        raise PathError(
            f"{counted(seeds, 'seed')} cannot be shared among {rows} rows and {columns} columns: give as many for "
            "each image."
        )
    return seeds // (rows * columns)


def _in_w(ws: np.ndarray, kind: curves.Kind, loop: bool) -> Callable[[np.ndarray], np.ndarray]:
    """Styles [n, cells, num_ws, w_dim] of positions on curves through ws [cells, points, num_ws, w_dim]."""
    lines = [curves.curve(points, kind, loop) for points in ws]
    return lambda positions: np.stack([[line(p) for line in lines] for p in positions])


def _in_z(
    G: Generator,
    seeds: Sequence[int],
    z: np.ndarray,
    path: Path,
    loop: bool,
    labels: Labels,
    shape: tuple[int, int],
    radius: float,
    batch: int | None,
) -> Callable[[np.ndarray], np.ndarray]:
    """Styles [n, cells, num_ws, w_dim] of positions on curves in z."""
    cells, per_cell = shape
    classes = None if labels is None else np.broadcast_to(np.asarray(labels), len(seeds)).reshape(shape)
    if classes is not None and (classes != classes[:, :1]).any():
        raise SamplingError("a walk in z stays in one class; give one label, or walk in w to pass between classes.")
    if path == "circle":
        lines = [curves.noise_loop(int(seed), G.z_dim, radius) for seed in seeds]
    else:
        points = z.reshape(cells, per_cell, -1)
        lines = [curves.curve(cell, path, loop, spherical=True) for cell in points]

    def of_frames(positions: np.ndarray) -> np.ndarray:
        z_frames = np.stack([[line(p) for line in lines] for p in positions])
        given = None if classes is None else np.tile(classes[:, 0], len(positions))
        ws = styles(G, z_frames.reshape(-1, G.z_dim), labels=given, batch=batch or min(len(lines) * 8, 64))
        return ws.reshape(len(positions), cells, G.num_ws, G.w_dim)

    return of_frames


def truncated(G: Generator, walk: Walk, psis: Sequence[float], cutoff: int | None = None) -> Walk:
    """The walk truncated: by one psi, or by several that psi passes through, evenly over the frames (a sweep).

    Args:
        G: the generator, whose ``w_avg`` is what styles are drawn to.
        walk: not truncated yet.
        psis: at least one.
        cutoff: layers that are truncated, counted from the coarsest; None is all.

    Raises:
        PathError: no psi, or one that is not finite.
    """
    if not psis or not np.isfinite(psis).all():
        raise PathError(f"psi = {list(psis)}: must be finite numbers, at least one.")
    line = curves.curve(np.asarray(psis, np.float32)[:, None])
    last = max(walk.frames - 1, 1)

    def change(frames: Frames, ws: np.ndarray) -> np.ndarray:
        values = np.stack([line(frame / last * (len(psis) - 1)) for frame in frames])
        return truncate_frames(G, ws, values[:, :, None, None], cutoff)

    return walk if list(psis) == [1.0] else walk.changed(change)


def truncate_frames(G: Generator, ws: np.ndarray, psi: np.ndarray, cutoff: int | None) -> np.ndarray:
    """Styles [n, cells, num_ws, w_dim], truncated by psi [n, 1, 1, 1]."""
    n, cells = ws.shape[:2]
    per_image = np.broadcast_to(psi, (n, cells, 1, 1)).reshape(-1, 1, 1)
    flat = ws.reshape(-1, *ws.shape[2:])
    return np.asarray(truncate(jnp.asarray(flat), G.w_avg, jnp.asarray(per_image), cutoff)).reshape(ws.shape)


def mixed(walk: Walk, ws_columns: np.ndarray, layers: Sequence[int]) -> Walk:
    """A style-mixing table whose one row moves: the walk's image at the left, and beside it the mixtures.

    Args:
        walk: of one image a frame, truncated.
        ws_columns: styles [columns, num_ws, w_dim] that ``layers`` come from.
        layers: 0 being the coarsest.

    Raises:
        PathError: the walk has a grid.
        SamplingError: shapes that do not match, or a layer that does not exist.
    """
    if walk.cells != (1, 1):
        raise PathError("the row of a style-mixing video is one walk, and no grid of them.")

    def change(_: Frames, ws: np.ndarray) -> np.ndarray:
        return np.concatenate([ws, mix(ws[:, 0], ws_columns, layers)], axis=1)

    return replace(walk.changed(change), cells=(1, 1 + len(ws_columns)))


def draw(
    G: Generator, walk: Walk, *, noise: NoiseMode = "const", noise_seed: int = 0, batch: int | None = None
) -> Iterator[np.ndarray]:
    """The frames of a walk, one at a time: uint8 [rows * r, columns * r, C].

    Args:
        G: the generator.
        walk: truncated where it is to be.
        noise: random noise is that of ``noise_seed`` in all frames, because noise that changes would flicker.
        noise_seed: of random noise.
        batch: images drawn at once; if None, ``default_batch`` of the resolution or fewer.
    """
    cells = walk.cells[0] * walk.cells[1]
    size = batch or min(default_batch(G.resolution), walk.frames * cells)
    at_once = max(size // cells, 1)
    for start in range(0, walk.frames, at_once):
        numbers = np.arange(start, min(start + at_once, walk.frames))
        ws = walk.styles(numbers)
        seeds = [noise_seed] * (len(numbers) * cells)
        drawn = synthesize(G, ws.reshape(-1, *ws.shape[2:]), noise=noise, noise_seeds=seeds, batch=size)
        for frame in drawn.reshape(len(numbers), cells, *drawn.shape[1:]):
            yield images.grid(frame, walk.cells[1])
