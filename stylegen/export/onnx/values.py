"""The values of a program that is being converted, and the order of their axes.

JAX's images are [N, H, W, C], and ONNX's [N, C, H, W]. Every value of four axes is kept in ONNX's order, so that the
graph has no transposes between convolutions. All other values keep their own order, called natural here.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

Dim = Any  # a whole number, or a symbolic dimension of jax.export such as n or 8*h
TO_ONNX, TO_JAX = (0, 3, 1, 2), (0, 2, 3, 1)  # permutations of the axes of images


@dataclass(frozen=True, eq=False)
class Value:
    """An array of the program: a constant, or a tensor of the graph.

    Broadcasting is lazy, because ONNX's operators broadcast by themselves: ``stored`` has a 1 where the array repeats.
    """

    shape: tuple[Dim, ...]  # as JAX has it, in natural order
    dtype: np.dtype
    stored: tuple[Dim, ...]  # as the tensor or the constant has it, in natural order
    name: str = ""  # of the tensor, which is in ONNX's order
    constant: np.ndarray | None = None  # in natural order

    @property
    def expanded(self) -> np.ndarray:
        """The constant in its full shape, which must have no symbolic dimension."""
        assert self.constant is not None
        return np.broadcast_to(self.constant, self.shape)


def constant(array: Any) -> Value:
    """A value that is known before the program runs."""
    array = np.asarray(array)
    return Value(array.shape, array.dtype, array.shape, constant=array)


def is_static(dim: Dim) -> bool:
    """Whether a dimension is a number."""
    return isinstance(dim, int | np.integer)


def onnx_axis(rank: int, axis: int) -> int:
    """The place of a natural axis in the tensor."""
    return TO_ONNX.index(axis) if rank == len(TO_ONNX) else axis


def onnx_order(rank: int) -> Sequence[int]:
    """The natural axes in the order of the tensor."""
    return TO_ONNX if rank == len(TO_ONNX) else range(rank)


def broadcast(shapes: Sequence[tuple[Dim, ...]], rank: int) -> tuple[Dim, ...]:
    """The common shape of those of ``rank`` axes; scalars go with all. Dimensions that are not 1 are the same."""
    result: list[Dim] = [1] * rank
    for shape in shapes:
        if len(shape) == rank:
            result = [b if is_static(a) and a == 1 else a for a, b in zip(result, shape, strict=True)]
    return tuple(result)
