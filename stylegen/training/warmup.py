"""A first run of compiled programs, before they are needed."""

from collections.abc import Iterable
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from stylegen.config import Config
from stylegen.runtime import sharding
from stylegen.training.state import blank_state


def warm_up(config: Config, mesh: Mesh, programs: Iterable[Any], resolution: int, batch: int) -> None:
    """Run a stage's programs once, on zeros: on a processor, the first run of one takes as long as three to five.

    Measured with the quickstart on two EPYC cores, 2026-11-22: 196 ms instead of 40 at 16 pixels, 216 for 75 at 32.
    Not done on an accelerator, where there may be no room for another state; nor among several processes, whose sums
    over devices must come in one order.
    """
    if jax.default_backend() != "cpu" or jax.process_count() > 1:
        return
    images = np.zeros((batch, resolution, resolution, config.image_channels), np.uint8)
    placed = sharding.put_batch(mesh, {"image": images, "label": np.zeros(batch, np.int32)})
    state = sharding.put_replicated(mesh, blank_state(config))
    for program in programs:
        state, _ = program(state, placed["image"], placed["label"], np.float32(1), np.float32(0))
    jax.block_until_ready(state)
