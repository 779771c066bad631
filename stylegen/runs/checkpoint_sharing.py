"""A checkpoint for processes that share no disk: process 0 reads it, and the others get it from there."""

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from stylegen.networks.trees import by_path
from stylegen.runs import checkpoint_layout
from stylegen.runs.checkpoint_layout import Meta
from stylegen.runtime import processes


def from_process_0(
    result: tuple[Meta, dict[str, dict[str, np.ndarray]]] | None, templates: Mapping[str, dict[str, Any]]
) -> tuple[Meta, dict[str, dict[str, np.ndarray]]]:
    """A checkpoint that process 0 has read, in all processes, to the bit: through the devices, for it may be gigabytes.

    Args:
        result: its metadata, and its arrays by item and path; None in the other processes.
        templates: shapes and dtypes, a tree for each item.
    """
    from jax.experimental.multihost_utils import broadcast_one_to_all

    sealed = processes.broadcast(checkpoint_layout.seal(result[0]) if result else None)
    meta = result[0] if result else checkpoint_layout.unseal(sealed)
    shapes = {item: checkpoint_layout.stored_shapes(by_path(tree)) for item, tree in templates.items()}
    host = result[1] if result else jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), shapes)
    # A broadcast is a sum with zeros, which would make 0 of -0: so it is one of bits.
    as_bits = jax.tree.map(lambda leaf: leaf.view(np.uint32) if leaf.dtype.itemsize == 4 else leaf, host)
    received = broadcast_one_to_all(as_bits)
    return meta, jax.tree.map(lambda bits, leaf: np.asarray(bits).view(leaf.dtype), received, host)
