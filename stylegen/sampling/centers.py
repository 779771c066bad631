"""Centers to truncate towards, other than the mean of all w: the mean of each class, and centers of clusters.

Truncation towards the one mean of w takes the class of a conditional generator away, and the variety of one that was
trained on many kinds of images. Towards the mean of its own class an image keeps the first, towards the nearest of
several centers the second (multi-modal truncation: Mokady et al. 2022, "Self-Distilled StyleGAN", Sec. 4.2, who choose
the center by LPIPS; here it is by the distance in w). Centers are means of samples, computed when they are first asked
for, and kept on disk by the weights of the mapping network.
"""

import hashlib
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Literal

import numpy as np

from stylegen.errors import StylegenError
from stylegen.io.files import replacing
from stylegen.networks.generator import Generator
from stylegen.networks.trees import by_path
from stylegen.sampling import batches, programs
from stylegen.untrusted import FileError
from stylegen.untrusted.npz import Npz

Towards = Literal["mean", "class", "nearest"]
PER_CLASS = 1000  # samples whose mean is that of a class
NUM_SAMPLES = 10_000  # that clusters are found in
NUM_CENTERS = 64
MAPPED_AT_ONCE = 1000
VERSION = 1  # of what is kept on disk


class CenterError(StylegenError):
    """There are no such centers; the message says why."""


def class_centers(G: Generator) -> np.ndarray:
    """The mean of w of each class: [c_dim, w_dim], float32.

    Raises:
        CenterError: the generator has no classes.
    """
    if not G.c_dim:
        raise CenterError("psi towards the class's mean: this generator has no classes; use mean or nearest.")

    def compute() -> np.ndarray:
        z = _latents(G, PER_CLASS)
        return np.stack([_mapped(G, z, np.full(len(z), label)).mean(axis=0) for label in range(G.c_dim)])

    return _cached(G, f"class-{PER_CLASS}", (G.c_dim, G.w_dim), compute)


def kmeans_centers(G: Generator, count: int = NUM_CENTERS) -> np.ndarray:
    """Centers of clusters of w by k-means: [count, w_dim], float32; always the same for the same generator.

    Raises:
        CenterError: ``count`` is not from 1 to a tenth of the samples.
    """
    if not 1 <= count <= NUM_SAMPLES // 10:
        raise CenterError(f"count = {count}: must be from 1 to {NUM_SAMPLES // 10:,} centers.")

    def compute() -> np.ndarray:
        from scipy.cluster.vq import kmeans2

        labels = np.arange(NUM_SAMPLES) % G.c_dim if G.c_dim else None
        w = _mapped(G, _latents(G, NUM_SAMPLES), labels)
        centers, members = kmeans2(w.astype(np.float64), count, iter=20, minit="++", seed=np.random.default_rng(0))
        return centers[np.unique(members)]  # one that lost all its members is no center

    return _cached(G, f"kmeans-{count}-{NUM_SAMPLES}", (None, G.w_dim), compute)


def centers_of(G: Generator, w: np.ndarray, towards: Towards, labels: np.ndarray | None) -> np.ndarray:
    """The center of each style: [N, w_dim].

    Args:
        G: the generator.
        w: [N, w_dim], not truncated.
        towards: mean is ``w_avg``; class is the mean of the label's class; nearest of ``kmeans_centers``.
        labels: [N]; needed by class.

    Raises:
        CenterError: an unknown kind, or classes that are not there.
    """
    if towards == "mean":
        return np.broadcast_to(np.asarray(G.w_avg), w.shape)
    if towards == "class":
        centers = class_centers(G)
        assert labels is not None  # of a generator with classes, which one_hot has asked for
        return centers[labels]
    if towards != "nearest":
        raise CenterError(f"towards = {towards!r}: must be mean, class or nearest.")
    centers = kmeans_centers(G)
    squares = np.square(centers).sum(axis=1) - 2 * w @ centers.T  # plus |w|^2, the same for all
    return centers[np.argmin(squares, axis=1)]


def truncate(ws: np.ndarray, centers: np.ndarray, psi: float, cutoff: int | None = None) -> np.ndarray:
    """Styles ws [N, num_ws, w_dim] drawn to a center each [N, w_dim], in layers below ``cutoff`` (None: all)."""
    below = slice(ws.shape[1] if cutoff is None else cutoff)
    truncated = np.array(ws, np.float32)
    truncated[:, below] = centers[:, None] + np.float32(psi) * (truncated[:, below] - centers[:, None])
    return truncated


def _latents(G: Generator, count: int) -> np.ndarray:
    return np.random.RandomState(0).randn(count, G.z_dim).astype(np.float32)


def _mapped(G: Generator, z: np.ndarray, labels: np.ndarray | None) -> np.ndarray:
    """Styles w [N, w_dim] of latents."""
    parts = batches.split(len(z), MAPPED_AT_ONCE, fixed=False)
    c = None if labels is None else np.eye(G.c_dim, dtype=np.float32)[labels]

    def run(part: batches.Batch) -> programs.Array:
        inputs = part.padded(z[part.rows], None if c is None else c[part.rows])
        return programs.map_latents(G, np.float32(1), np.int32(G.num_ws), *inputs)[:, 0]

    return np.concatenate(list(batches.fetched(run, parts)))


_IN_MEMORY: dict[str, np.ndarray] = {}


def _cached(G: Generator, kind: str, shape: tuple[int | None, int], compute: Callable[[], np.ndarray]) -> np.ndarray:
    """Centers from memory or disk, or computed and kept. A cache that cannot be read or written is done without."""
    digest = hashlib.sha256(f"{VERSION} {kind} {G.config.generator.block}".encode())
    for name, leaf in sorted(by_path(G.params["mapping"]).items()):
        digest.update(name.encode())
        digest.update(np.ascontiguousarray(leaf).tobytes())
    key = digest.hexdigest()[:24]
    if key in _IN_MEMORY:
        return _IN_MEMORY[key]
    path = folder() / f"{kind}-{key}.npz"
    centers = _read(path, shape)
    if centers is None:
        centers = np.asarray(compute(), np.float32)
        with suppress(OSError), replacing(path) as partial:
            np.savez(partial, centers=centers)
    _IN_MEMORY[key] = centers
    return centers


def folder() -> Path:
    """Where centers are kept."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "stylegen" / "centers"


def _read(path: Path, shape: tuple[int | None, int]) -> np.ndarray | None:
    """Centers from disk; None if there are none that can be used."""
    try:
        with Npz(path) as file:
            centers = file.read("centers")
    except (FileError, OSError):
        return None
    fits = centers.ndim == 2 and all(n in (None, m) for n, m in zip(shape, centers.shape, strict=True)) and len(centers)
    return centers if fits and centers.dtype == np.float32 and np.isfinite(centers).all() else None
