"""Trees of arrays: their leaves by name, their size."""

from typing import Any

import jax

from stylegen.networks.build import Params


def count_parameters(params: Params) -> int:
    """Number of trained numbers in a tree."""
    return sum(leaf.size for leaf in jax.tree.leaves(params))


def by_path(tree: Any, separator: str = ".") -> dict[str, Any]:
    """Leaves (arrays, or their shapes and dtypes) by path (``synthesis.blocks.b8.conv0.weight``), in JAX's order.

    Container classes do not show: a state and a dict of its fields give the same.
    """
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {jax.tree_util.keystr(path, simple=True, separator=separator): leaf for path, leaf in leaves}
