"""Where arrays live: the mesh of devices and the one sharding rule.

The state is on every device, a batch is split along its first axis. Networks and losses know nothing of it: they are
written for the whole batch, and the compiler inserts the sums over devices.
"""

from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from stylegen.config import Config, ConfigError


def make_mesh(config: Config) -> Mesh:
    """All devices, or the first ``run.devices`` of them, along one axis ``data``.

    Raises:
        ConfigError: more devices are asked for than there are, or a stage's batch cannot be split over them.
    """
    devices = jax.devices()
    wanted = config.run.devices or len(devices)
    if wanted > len(devices):
        raise ConfigError(
            f"run.devices = {wanted}: JAX has {len(devices)} ({devices[0].platform}); give that or fewer."
        )
    for resolution in config.stage_resolutions:
        batch = config.batch_at(resolution)
        group = min(config.discriminator.mbstd_group_size, batch)
        if batch % (group * wanted):
            raise ConfigError(
                f"The batch of {batch} at {resolution} pixels does not split over {wanted} devices in minibatch-std "
                f"groups of {group}: make data.batch (or schedule.batch) a multiple of {group * wanted}, "
                "or set run.devices."
            )
    return Mesh(np.array(devices[:wanted]), ("data",))


def replicated(mesh: Mesh) -> NamedSharding:
    """On every device: the state."""
    return NamedSharding(mesh, PartitionSpec())


def split_batch(mesh: Mesh) -> NamedSharding:
    """Divided along the first axis: images and labels."""
    return NamedSharding(mesh, PartitionSpec("data"))


def split_latents(mesh: Mesh) -> NamedSharding:
    """Divided along the second axis: latents of a batch, and of its style mixing."""
    return NamedSharding(mesh, PartitionSpec(None, "data"))


def put_batch(mesh: Mesh, batch: dict[str, np.ndarray]) -> dict[str, jax.Array]:
    """Host arrays of this process's share of a batch as global arrays split over the mesh."""
    sharding = split_batch(mesh)
    return {name: jax.make_array_from_process_local_data(sharding, value) for name, value in batch.items()}


def put_replicated(mesh: Mesh, tree: Any) -> Any:
    """A tree of arrays, on every device."""
    return jax.device_put(tree, replicated(mesh))
