"""A batch computed in several parts, one after the other, with averaged gradients: the same numbers in less memory.

Every random number is drawn for the whole batch, and a part takes those of its own images. Losses and penalties are
means over images, and a minibatch-std group lies within one part, so that the mean over parts is the batch's own, up to
rounding. ``runtime.sharding.parts`` says how many parts there are.
"""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
from jax import Array, lax

from stylegen.config import Config
from stylegen.runtime import sharding

Tree = TypeVar("Tree")
Gradients = TypeVar("Gradients")


@dataclass(frozen=True, eq=False)
class Part:
    """One of several equal parts of a batch of N images; it has M of them.

    Each of the devices, which the batch is split over along its first axis, gives the part as many of its own images:
    neighbors, so that nothing travels between devices and groups of neighbors stay together.
    """

    index: Array | int = 0  # may be traced
    count: int = 1
    devices: int = 1

    def of(self, tree: Tree, axis: int = 0) -> Tree:
        """The part's own of arrays that have N entries along an axis: M of them, in the batch's order."""
        if self.count == 1:
            return tree

        def own(x: Array) -> Array:
            before, n, after = x.shape[:axis], x.shape[axis], x.shape[axis + 1 :]
            split = x.reshape(*before, self.devices, self.count, n // (self.devices * self.count), *after)
            chosen = lax.dynamic_index_in_dim(split, self.index, axis + 1, keepdims=False)
            return chosen.reshape(*before, n // self.count, *after)

        return jax.tree.map(own, tree)

    def whole(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """The shape [N, ...] of the batch that this part, of shape [M, ...], is of."""
        return shape[0] * self.count, *shape[1:]


WHOLE = Part()


def mean_over_parts(
    gradients_of: Callable[[Part], tuple[Gradients, Any]], count: int, devices: int, *, like: Gradients
) -> tuple[Gradients, Any]:
    """Gradients of a batch and what comes with them, from those of its parts.

    The parts run in a scan, so that one part's activations are in memory at a time, and its program is compiled once.

    Args:
        gradients_of: a part to its gradients, a tree like ``like``, and a tree of means over its images, or of arrays
            whose mean over the first axis matters alone.
        count: of the parts. With one, this is ``gradients_of(WHOLE)``.
        devices: that the batch is split over.
        like: the parameters.

    Returns:
        (mean gradients, the rest averaged over the parts too).
    """
    if count == 1:
        return gradients_of(WHOLE)

    def add(total: Gradients, index: Array) -> tuple[Gradients, Any]:
        gradients, rest = gradients_of(Part(index, count, devices))
        return jax.tree.map(jnp.add, total, gradients), rest

    total, rest = lax.scan(add, jax.tree.map(jnp.zeros_like, like), jnp.arange(count))
    return jax.tree.map(lambda x: x / count, total), jax.tree.map(lambda x: jnp.mean(x, axis=0), rest)


def smaller(config: Config, resolution: int, devices: int) -> int | None:
    """A value of ``run.micro_batch`` with which a device computes about half as many images of a stage at once.

    None if there is none: each part is one minibatch-std group already, or the least value is in use.
    """
    batch = config.batch_at(resolution)
    group = min(config.discriminator.mbstd_group_size, batch)
    parts = sharding.parts(config, resolution, batch, devices)
    at_once = batch // devices // parts
    value = max(at_once // 2 // (config.resolution // resolution) // group * group, group)
    run = dataclasses.replace(config.run, micro_batch=value)
    more = sharding.parts(dataclasses.replace(config, run=run), resolution, batch, devices)
    return value if more > parts else None


def out_of_memory(config: Config, resolution: int, devices: int) -> str:
    """What to say, and what to type, where a device's memory did not hold a stage's step."""
    batch = config.batch_at(resolution)
    at_once = batch // devices // sharding.parts(config, resolution, batch, devices)
    value = smaller(config, resolution, devices)
    advice = (
        f"--run.micro-batch {value} computes the same numbers with fewer images at once"
        if value
        else "fewer cannot be: use devices with more memory, --compute-dtype bfloat16, or fewer channels"
    )
    rows, columns = config.shape_at(resolution)
    what = f"the step at {columns}x{rows} pixels with {at_once} images at once on each device"
    return (
        f"Out of memory: {what}. The same command goes on from the last checkpoint; {advice}. "
        "--dry-run --target says beforehand what fits."
    )
