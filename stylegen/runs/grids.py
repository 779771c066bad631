"""The image grids of a run: the first reals, and samples of the moving average from fixed latents."""

import dataclasses

import numpy as np
from jax.sharding import Mesh

from stylegen import data, sampling, values
from stylegen.config import Config
from stylegen.networks.generator import Generator
from stylegen.runs import directory
from stylegen.runtime import sharding
from stylegen.training import augment
from stylegen.training.schedule import Stage
from stylegen.training.state import GENERATOR_FIELDS, TrainState, blank_state, ema_generator

NUM_STYLES = 64  # as many as a grid has images by default: the same program
SAMPLED_FIELDS = ("nimg", *GENERATOR_FIELDS.values())  # fields of the state that samples need
MAX_GRID_SIDE = 4096  # pixels; a grid of large images has fewer of them


class SampleGrids:
    """Draws grids into a run directory, by process 0."""

    def __init__(self, config: Config, mesh: Mesh, source: data.ImageSource, log: directory.Log):
        """Draw the latents.

        Args:
            config: of the run.
            mesh: where its state is.
            source: the data.
            log: where grids go.
        """
        self._config, self._mesh, self._source, self._log = config, mesh, source, log
        columns, rows = config.run.grid
        self._latents = sampling.latents(range(columns * rows), config.generator.z_dim)

    def generator(self, state: TrainState, stage: Stage) -> Generator:
        """The moving average, to sample from."""
        local = sharding.local({name: getattr(state, name) for name in SAMPLED_FIELDS})
        return ema_generator(self._config, dataclasses.replace(state, **local), stage)

    def styles(self, state: TrainState, stage: Stage) -> np.ndarray:
        """Styles w [64, w_dim] of the moving average's mapping network, always of the same latents."""
        G = self.generator(state, stage)
        z = sampling.latents(range(NUM_STYLES), G.z_dim)
        labels = np.arange(NUM_STYLES) % G.c_dim if G.c_dim else None
        return np.asarray(sampling.styles(G, z, labels=labels))[:, 0]

    def rehearse(self, resolution: int) -> None:
        """Sample a grid from zeros at a resolution, in a fade and after it, so that a tick has nothing to compile."""
        blank = blank_state(self._config)
        placed = sharding.put_replicated(self._mesh, {name: getattr(blank, name) for name in SAMPLED_FIELDS})
        state = dataclasses.replace(blank, **placed)
        for alpha in (0.5, 1.0):
            self._draw(state, Stage(0, resolution, alpha, 1, 0.0))
        self.styles(state, Stage(0, resolution, 1.0, 1, 0.0))  # in larger batches than a small grid's

    def _grid_shape(self) -> tuple[int, int]:
        """Columns and rows of the grids, fewer where images are large."""
        columns, rows = self._config.run.grid
        height, width = self._config.shape_at(self._config.resolution)
        return min(columns, max(MAX_GRID_SIDE // width, 1)), min(rows, max(MAX_GRID_SIDE // height, 1))

    def save_reals(self) -> None:
        """``reals.png``: the first images of the data at full resolution; ``augmented.png``: as augmented at most."""
        columns, rows = self._grid_shape()
        indices = np.arange(min(columns * rows, self._source.num_images))
        reals = self._source.read(indices, self._config.resolution)["image"]
        if self._config.is_arrays:
            reals = values.to_bytes(reals)
        self._log.grid("reals", values.as_rgb(reals, self._config.is_arrays), columns, 0)
        if self._config.augment.mode != "none":
            sheet = augment.sheet(reals, self._config.augment)
            self._log.grid("augmented", values.as_rgb(sheet, self._config.is_arrays), columns, 0)

    def _draw(self, state: TrainState, stage: Stage) -> np.ndarray:
        """Samples of the moving average for a grid, uint8, from fixed latents."""
        columns, rows = self._grid_shape()
        n = columns * rows
        G = self.generator(state, stage)
        labels = np.arange(n) % G.c_dim if G.c_dim else None
        return sampling.synthesize(G, sampling.styles(G, self._latents[:n], labels=labels), noise="const")

    def save_fakes(self, state: TrainState, stage: Stage, nimg: int) -> None:
        """``fakes000123.png`` and ``fakes.png``: samples of the moving average from fixed latents.

        Samples are enlarged to the full resolution, so that all grids of a run have one size.
        """
        scale = self._config.resolution // stage.resolution
        samples = values.as_rgb(self._draw(state, stage), self._config.is_arrays)
        name = f"fakes{nimg // 1000:06d}"
        self._log.grid(name, samples, self._grid_shape()[0], nimg, scale=scale, newest="fakes")
