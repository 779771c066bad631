"""Placement of arrays: the mesh of devices, the one sharding rule, and the vote to stop.

The state is on every device, a batch is split along its first axis. Networks and losses know nothing of it: they are
written for the whole batch, and the compiler inserts the collectives. ``processes`` makes processes find each other.
"""

from collections.abc import Callable, Iterable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec, Sharding

from stylegen.config import Config, ConfigError


def make_mesh(config: Config) -> Mesh:
    """All devices, or the first ``run.devices`` of each process, along one axis ``data``, a process's side by side.

    Raises:
        ConfigError: more devices are asked for than there are, processes have different numbers of them, or a stage's
            batch cannot be split over them.
    """
    by_process: dict[int, list[jax.Device]] = {}
    for device in jax.devices():
        by_process.setdefault(device.process_index, []).append(device)
    fewest, most = (f(map(len, by_process.values())) for f in (min, max))
    per_process = config.run.devices or most
    if per_process > fewest:
        available = f"this machine has {fewest}" if len(by_process) == 1 else f"a process has {fewest}, another {most}"
        fix = "; set run.devices to the smaller number" if fewest < most else ""
        raise ConfigError(f"run.devices = {config.run.devices}: {available} ({jax.devices()[0].platform}){fix}.")
    devices = [device for index in sorted(by_process) for device in by_process[index][:per_process]]
    check_splits(config, len(devices), config.stage_resolutions)
    return Mesh(np.array(devices), ("data",))


def check_splits(config: Config, devices: int, resolutions: Iterable[int]) -> None:
    """Raise ConfigError if the batch of one of these stages cannot be split over so many devices."""
    for resolution in resolutions:
        size = config.size_text(resolution)
        batch = config.batch_at(resolution)
        group = min(config.discriminator.mbstd_group_size, batch)
        if batch % (group * devices):
            raise ConfigError(
                f"The batch of {batch} at {size} pixels does not split over {devices} devices in "
                f"minibatch-std groups of {group}: make data.batch (or schedule.batch) a multiple of "
                f"{group * devices}, or set run.devices."
            )
        shrink = config.loss.pl_batch_shrink
        if config.loss.pl_weight and batch // shrink % devices:
            raise ConfigError(
                f"loss.pl_batch_shrink = {shrink}: it leaves {batch // shrink} images of the batch of {batch} at "
                f"{size} pixels, which do not split over {devices} devices; make it smaller."
            )


def parts(config: Config, resolution: int, batch: int, devices: int) -> int:
    """Parts that a stage's batch is computed in, the fewest of equal size that ``run.micro_batch`` allows.

    A minibatch-std group lies within one part.
    """
    own = batch // devices
    return _parts(own, min(config.discriminator.mbstd_group_size, batch), config.micro_batch_at(resolution) or own)


def path_parts(config: Config, resolution: int, batch: int, devices: int) -> int:
    """The same for a path-length step, whose images are a fraction of the batch, and so are those at once."""
    shrink = config.loss.pl_batch_shrink
    own = batch // shrink // devices
    return _parts(own, 1, max((config.micro_batch_at(resolution) or batch) // shrink, 1))


def _parts(own: int, group: int, most: int) -> int:
    """The smallest number of equal parts of whole groups, of at most ``most`` images each; at least one group each."""
    groups = max(own // group, 1)
    return next((n for n in range(1, groups) if groups % n == 0 and own // n <= most), groups)


def layout(config: Config, mesh: Mesh) -> dict[str, Any]:
    """What decides in which order a step's sums are taken: two runs of one layout are equal to the bit."""
    return {
        "processes": jax.process_count(),
        "devices": mesh.devices.size,
        "device": mesh.devices.flat[0].device_kind,
        "micro_batch": config.run.micro_batch,
    }


def layout_change(before: dict[str, Any], now: dict[str, Any]) -> str:
    """A sentence on how a run goes on that was at another layout before, or at the same one."""
    changed = [f"{name} {before.get(name)} -> {now[name]}" for name in now if before.get(name) != now[name]]
    if not changed:
        return "On devices as before: the run goes on bit for bit, if their kernels are deterministic."
    return (
        f"Not as before: {', '.join(changed)}. The state is the same to the bit; steps from here on are the same up to "
        "rounding, because sums are taken in another order."
    )


def replicated(mesh: Mesh) -> NamedSharding:
    """On every device: the state."""
    return NamedSharding(mesh, PartitionSpec())


def split_batch(mesh: Mesh) -> NamedSharding:
    """Divided along the first axis: images and labels."""
    return NamedSharding(mesh, PartitionSpec("data"))


def split_latents(mesh: Mesh) -> NamedSharding:
    """Divided along the second axis: latents of a batch, and of its style mixing."""
    return NamedSharding(mesh, PartitionSpec(None, "data"))


def share(batch: np.ndarray) -> np.ndarray:
    """This process's part of an array as long as a batch, as the mesh splits it."""
    return np.split(batch, jax.process_count())[jax.process_index()]


def put_batch(mesh: Mesh, batch: dict[str, np.ndarray]) -> dict[str, jax.Array]:
    """Host arrays of this process's share of a batch as global arrays split over the mesh."""
    sharding = split_batch(mesh)
    return {name: jax.make_array_from_process_local_data(sharding, value) for name, value in batch.items()}


def put_replicated(mesh: Mesh, tree: Any) -> Any:
    """A tree of arrays, on every device."""
    return copies(tree, replicated(mesh))


def copies(tree: Any, sharding: Sharding | None) -> Any:
    """Copies of a tree of arrays on every device of a replicated sharding; None is the default device.

    Every process gives the same arrays. They may be donated: their memory is no one else's.
    """
    if sharding is None or sharding.is_fully_addressable:
        return jax.device_put(tree, sharding, may_alias=False)
    # device_put would compare each array with the other processes' first.
    devices = sharding.addressable_devices_indices_map(())  # in the sharding's order, which arrays of keys need
    trees = [jax.device_put(tree, device, may_alias=False) for device in devices]
    return jax.tree.map(
        lambda *parts: jax.make_array_from_single_device_arrays(parts[0].shape, sharding, list(parts)), *trees
    )


def local(tree: Any) -> Any:
    """Replicated arrays as this process's own on one of its devices: computing with them takes no other process."""
    return jax.tree.map(lambda x: x.addressable_data(0), tree)


class StopVote:
    """Whether any process is asked to stop, known to all of them at the same step.

    A signal reaches one process, at any time; one that stopped by itself would leave the others waiting in a sum. So
    each step carries a vote, a sum over devices like those of the step. It is counted a step later, when it has long
    been taken, so that nothing waits for it. A single process needs no vote.
    """

    def __init__(self, mesh: Mesh, requested: Callable[[], bool]):
        self._requested = requested
        self._pending: jax.Array | None = None
        self._alone = jax.process_count() == 1
        if not self._alone:
            split, copied = split_batch(mesh), replicated(mesh)
            self._ballots = [
                jax.make_array_from_process_local_data(split, np.full(len(mesh.local_devices), vote, np.int32))
                for vote in (0, 1)
            ]
            self._count = jax.jit(jnp.max, in_shardings=split, out_shardings=copied).lower(self._ballots[0]).compile()

    def __call__(self) -> bool:
        """Vote, and return the result of the previous vote; all processes call this once a step."""
        if self._alone:
            return self._requested()
        before, self._pending = self._pending, self._count(self._ballots[self._requested()])
        return before is not None and bool(before)
