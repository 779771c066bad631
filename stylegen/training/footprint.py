"""The memory of a training step, predicted from the configuration alone: nothing is compiled.

The prediction is the state and the features of the images that a device computes at once, each times a factor. The
factors are the larger ones of the compiler's counts in docs/scaling.md (H100, jax 0.10.2, 2026-11-27): there the
prediction is from 6 % below to 29 % above. ``--dry-run --target`` compiles, and is exact.
"""

import math

import jax
import jax.numpy as jnp

from stylegen.config import Config
from stylegen.networks.layers import width_at
from stylegen.runtime import sharding
from stylegen.training.state import abstract_state

FEATURE_COPIES = 7.5  # bytes that an image takes, over those of the two networks' features
STATE_COPIES = 2.0  # bytes of state, gradients and scaled weights, over those of the state


def features(config: Config, resolution: int) -> int:
    """Numbers in the features of one image, one map for each block of both networks, at a stage's resolution."""
    networks = (config.generator, config.discriminator)
    return sum(
        math.prod(config.shape_at(r)) * width_at(net, r)
        for net in networks
        for r in config.resolutions
        if r <= resolution
    )


def image_bytes(config: Config, resolution: int) -> float:
    """Bytes that each image takes that is computed at once."""
    return FEATURE_COPIES * features(config, resolution) * jnp.dtype(config.compute_dtype).itemsize


def fixed_bytes(config: Config) -> float:
    """Bytes of a device that do not depend on the batch."""
    arrays = jax.tree.leaves(abstract_state(config))
    return STATE_COPIES * sum(leaf.size * 4 for leaf in arrays)


def step_bytes(config: Config, resolution: int, devices: int) -> float:
    """Bytes that a step of a stage takes on each device."""
    batch = config.batch_at(resolution)
    at_once = batch // devices // sharding.parts(config, resolution, batch, devices)
    return fixed_bytes(config) + at_once * image_bytes(config, resolution)


def fitting(config: Config, memory: float) -> int | None:
    """The largest ``run.micro_batch`` with which a step at full resolution fits so many bytes of a device.

    None if not even one minibatch-std group does.
    """
    group = min(config.discriminator.mbstd_group_size, config.batch_at(config.resolution))
    images = (memory - fixed_bytes(config)) / image_bytes(config, config.resolution)
    most = int(images) // group * group if images >= group else 0
    return most or None
