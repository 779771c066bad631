"""The images of a generator as an image set: seeds 0, 1, 2, ... on all devices, enlarged to the size of the reals."""

import dataclasses
import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from stylegen import ops, sampling
from stylegen.evaluation import EvaluationError
from stylegen.evaluation.image_sets import ImageSet, resolution_text
from stylegen.io.progress import counted
from stylegen.networks.generator import Generator, in_float32
from stylegen.networks.synthesis import NoiseMode
from stylegen.sampling.programs import noise_from_seeds

MAX_BATCH, BATCH_PIXELS = 32, 2**23  # images a device at once; eight of 1024 pixels


@dataclasses.dataclass(frozen=True)
class Drawing:
    """How images are drawn for a metric."""

    psi: float = 1.0  # none: metrics are of the untruncated generator unless one asks
    cutoff: int | None = None
    noise: NoiseMode = "random"  # as the original's metrics
    first_seed: int = 0


class GeneratedSet(ImageSet):
    """Images of consecutive seeds: those of ``stylegen.sample`` to rounding, drawn in float32 at highest precision."""

    count = None
    batch: int

    def __init__(
        self, G: Generator, drawing: Drawing, resolution: int | None = None, labels: np.ndarray | None = None
    ) -> None:
        """Prepare to draw.

        Args:
            G: the generator.
            drawing: truncation, noise, first seed.
            resolution: images of an earlier stage are enlarged to it, as the original evaluates them.
            labels: a class for each position, of a class-conditional generator.

        Raises:
            EvaluationError: it has classes and there are no labels, or psi or cutoff is out of range.
        """
        if G.c_dim and labels is None:
            raise EvaluationError(
                f"this generator has {counted(G.c_dim, 'class')}; their frequencies are taken from the data."
            )
        if drawing.cutoff is not None and drawing.cutoff < 0:
            raise EvaluationError(f"cutoff = {drawing.cutoff}: must be the number of layers to truncate, from 0 on.")
        if not np.isfinite(drawing.psi):
            raise EvaluationError(f"psi = {drawing.psi}: must be a finite number; 1 is no truncation.")
        G = in_float32(G)
        self._G, self._drawing, self._labels = G, drawing, labels
        size = resolution or G.resolution
        self.resolution, self.channels = G.config.shape_at(size), G.image_channels
        self._enlarge = size // G.resolution
        self._mesh = Mesh(np.array(jax.local_devices()), ("data",))
        self.batch = max(1, min(MAX_BATCH, BATCH_PIXELS // math.prod(self.resolution))) * self._mesh.size
        self._placed = jax.device_put(G, NamedSharding(self._mesh, PartitionSpec()))

    @property
    def provenance(self) -> dict[str, Any]:
        """The snapshot and how it is sampled."""
        G = self._G
        return {
            "generator": G.source,
            "kimg": G.kimg,
            "resolution": resolution_text(self.resolution),
            "drawn_at": resolution_text(G.shape),
            "alpha": float(G.alpha),
            "channels": self.channels,
            "compute_dtype": G.config.compute_dtype,
            "precision": G.config.precision,
            "first_seed": self._drawing.first_seed,
            "psi": self._drawing.psi,
            "cutoff": self._drawing.cutoff,
            "noise": self._drawing.noise,
            "labels": "as frequent as in the data" if G.c_dim else None,
        }

    def read(self, positions: np.ndarray) -> Array:
        """Draw up to ``batch`` of them; a smaller batch is padded, so that one program does."""
        seeds = self._drawing.first_seed + positions
        padded = np.concatenate([seeds, np.repeat(seeds[-1:], self.batch - len(seeds))])
        inputs = [sampling.latents(padded.tolist(), self._G.z_dim), padded.astype(np.uint32)]
        if self._labels is not None:
            labels = self._labels[np.minimum(padded - self._drawing.first_seed, len(self._labels) - 1)]
            inputs.append(np.eye(self._G.c_dim, dtype=np.float32)[labels])
        placed = jax.device_put(inputs, NamedSharding(self._mesh, PartitionSpec("data")))
        images = _draw(
            self._placed,
            np.float32(self._drawing.psi),
            *placed,
            enlarge=self._enlarge,
            cutoff=self._drawing.cutoff,
            noise=self._drawing.noise,
        )
        return images[: len(seeds)]


@functools.partial(jax.jit, static_argnames=("enlarge", "cutoff", "noise"))
def _draw(
    G: Generator,
    psi: Array,
    z: Array,
    seeds: Array,
    c: Array | None = None,
    *,
    enlarge: int,
    cutoff: int | None,
    noise: NoiseMode,
) -> Array:
    ws = G.broadcast(G.mapping(z, c), psi=psi, cutoff=cutoff)
    pixels = ops.to_uint8(G.synthesis(ws, noise=noise_from_seeds(seeds, G.num_noise) if noise == "random" else noise))
    return jnp.repeat(jnp.repeat(pixels, enlarge, axis=1), enlarge, axis=2)
