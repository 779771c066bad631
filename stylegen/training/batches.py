"""Batches for a stage, on the devices: read by this process, in the order of the run."""

from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from stylegen import data, ops
from stylegen.config import Config
from stylegen.runtime import sharding
from stylegen.training.schedule import Stage


class Batches:
    """The batches of one stage after another; reader threads run ahead of the steps."""

    def __init__(self, config: Config, source: data.ImageSource, mesh: Mesh):
        """Read nothing yet.

        Args:
            config: of the run.
            source: the images.
            mesh: the devices that batches are divided among.
        """
        self._config, self._source, self._mesh = config, source, mesh
        self._pipeline: Any = None
        self.size: tuple[int, int] | None = None  # resolution and batch size that are being read

    def begin(self, stage: Stage, nimg: int, seed: int) -> None:
        """Read for a stage, from image number ``nimg`` of the run on, in the order that the seed gives.

        The original's minibatch-std groups are neighbors in the whole batch, whatever the number of processes.
        """
        self.close()
        order = ops.minibatch_std_order(stage.batch_size, self._config.discriminator.mbstd_group_size)
        self._pipeline = data.make_pipeline(
            self._source,
            stage.resolution,
            stage.batch_size,
            start=nimg,
            seed=seed,
            positions=sharding.share(np.array(order)),
            workers=self.workers(stage.resolution),
        )
        self.size = stage.resolution, stage.batch_size

    def workers(self, resolution: int) -> int:
        """Reader threads of a stage: those of the configuration, or as many as keep the devices busy."""
        if self._config.data.workers is not None:
            return self._config.data.workers
        accelerators = [device for device in self._mesh.local_devices if device.platform != "cpu"]
        return data.choose_workers(self._source, resolution, len(accelerators))

    def next(self) -> tuple[jax.Array, jax.Array]:
        """The next images uint8 [N, r, r, C] and labels int32 [N] of the whole batch, divided among the devices."""
        batch = next(self._pipeline)
        placed = sharding.put_batch(self._mesh, {name: batch[name] for name in ("image", "label")})
        return placed["image"], placed["label"]

    def close(self) -> None:
        """End the reader threads."""
        if self._pipeline is not None:
            self._pipeline.close()
        self._pipeline = self.size = None
