"""Rules of primitives that move numbers about: shapes, parts, and arrays put together."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from stylegen.export import ExportError
from stylegen.export.onnx.graph import Graph
from stylegen.export.onnx.values import TO_JAX, Dim, Value, constant, is_static, onnx_axis, onnx_order

TO_THE_END = 2**63 - 1  # of a slice in ONNX
TO_THE_START = -(2**63) + 1  # of a slice that goes backward


def _aval(equation: Any) -> tuple[tuple[Dim, ...], np.dtype]:
    aval = equation.outvars[0].aval
    return tuple(aval.shape), np.dtype(aval.dtype)


def _broadcast_in_dim(graph: Graph, equation: Any, inputs: list[Value]) -> list[Value]:
    (shape, dtype), x = _aval(equation), inputs[0]
    axes = equation.params["broadcast_dimensions"]
    stored: list[Dim] = [1] * len(shape)
    for axis, size in zip(axes, x.stored, strict=True):
        stored[axis] = size
    if x.constant is not None:
        return [Value(shape, dtype, tuple(stored), constant=x.constant.reshape(stored))]
    if len(x.shape) == len(shape):
        return [Value(shape, dtype, tuple(stored), x.name)]
    name = x.name
    if len(x.shape) == len(TO_JAX):
        name = graph.node("Transpose", [name], perm=list(TO_JAX))
    places = [onnx_axis(len(shape), axis) for axis in axes]
    if places != sorted(places):
        name = graph.node("Transpose", [name], perm=[int(i) for i in np.argsort(places)])
    if added := [i for i in range(len(shape)) if i not in places]:
        name = graph.node("Unsqueeze", [name, graph.integers(added)])
    return [Value(shape, dtype, tuple(stored), name)]


def _reshape(graph: Graph, equation: Any, inputs: list[Value]) -> list[Value]:
    shape, dtype = _aval(equation)
    if equation.params.get("dimensions") is not None:
        raise ExportError("a reshape with another order of axes cannot be converted.")
    symbolic = [dim for dim in shape if not is_static(dim)]
    if len(symbolic) == 1:  # ONNX finds a single one by itself
        target = graph.integers([int(dim) if is_static(dim) else -1 for dim in shape])
    else:
        target = graph.shape(shape)
    return [graph.from_natural(shape, dtype, graph.node("Reshape", [graph.natural(inputs[0]), target]))]


def _squeezed(graph: Graph, x: Value, axes: Sequence[int]) -> Value:
    """x without some axes, whose size is 1."""
    if not axes:
        return x
    shape = tuple(size for axis, size in enumerate(x.shape) if axis not in axes)
    return graph.from_natural(shape, x.dtype, graph.node("Squeeze", [graph.natural(x), graph.integers(axes)]))


def _squeeze(graph: Graph, equation: Any, inputs: list[Value]) -> list[Value]:
    return [_squeezed(graph, inputs[0], equation.params["dimensions"])]


def _part(graph: Graph, x: Value, parts: dict[int, tuple[Any, Any, int]]) -> Value:
    """A part of x.

    Args:
        graph: the graph.
        x: the array.
        parts: start, stop and step by natural axis; None as stop is the end.
    """
    if not parts:
        return x
    rank, axes = len(x.shape), sorted(parts)
    numbers = [[parts[axis][i] for axis in axes] for i in range(3)]
    starts, steps = graph.shape(numbers[0]), graph.integers(numbers[2])
    stops = graph.shape([TO_THE_END if stop is None else stop for stop in numbers[1]])
    sizes = {
        axis: -(-((x.shape[axis] if stop is None else stop) - start) // step)
        for axis, (start, stop, step) in parts.items()
    }
    name = graph.full(x, but=[axis for axis in range(rank) if axis not in axes])
    places = graph.integers([onnx_axis(rank, axis) for axis in axes])
    name = graph.node("Slice", [name, starts, stops, places, steps])
    shape = tuple(sizes.get(axis, x.shape[axis]) for axis in range(rank))
    stored = tuple(sizes.get(axis, x.stored[axis]) for axis in range(rank))
    return Value(shape, x.dtype, stored, name)


def _slice(graph: Graph, equation: Any, inputs: list[Value]) -> list[Value]:
    (x,), params = inputs, equation.params
    strides = params["strides"] or (1,) * len(x.shape)
    parts = {}
    for axis, part in enumerate(zip(params["start_indices"], params["limit_indices"], strides, strict=True)):
        start, stop, step = part
        if not (is_static(start) and start == 0 and stop == x.shape[axis] and step == 1):
            parts[axis] = (start, None if stop == x.shape[axis] else stop, step)
    return [_part(graph, x, parts)]


def _gather(graph: Graph, equation: Any, inputs: list[Value]) -> list[Value]:
    """Indexing with numbers: one place along some axes, the whole along the others."""
    x, indices = inputs
    params, numbers = equation.params, equation.params["dimension_numbers"]
    if indices.constant is None or indices.expanded.size != len(numbers.start_index_map):
        raise ExportError("indices that are computed, or several, cannot be converted.")
    sizes, parts = params["slice_sizes"], {}
    for axis, start in zip(numbers.start_index_map, indices.expanded.ravel().tolist(), strict=True):
        parts[axis] = (start, start + sizes[axis], 1)
    return [_squeezed(graph, _part(graph, x, parts), numbers.collapsed_slice_dims)]


def _dynamic_slice(graph: Graph, equation: Any, inputs: list[Value]) -> list[Value]:
    x, *starts = inputs
    if any(start.constant is None for start in starts):
        raise ExportError("indices that are computed cannot be converted.")
    parts = {}
    for axis, (start, size) in enumerate(zip(starts, equation.params["slice_sizes"], strict=True)):
        if size != x.shape[axis]:
            parts[axis] = (int(start.expanded), int(start.expanded) + size, 1)
    return [_part(graph, x, parts)]


def _reverse(graph: Graph, equation: Any, inputs: list[Value]) -> list[Value]:
    (x,), rank = inputs, len(inputs[0].shape)
    axes = [axis for axis in equation.params["dimensions"] if not (is_static(x.shape[axis]) and x.shape[axis] == 1)]
    if not axes:
        return [x]
    numbers = [graph.integers([number] * len(axes)) for number in (-1, TO_THE_START)]
    places = graph.integers([onnx_axis(rank, axis) for axis in axes])
    name = graph.node("Slice", [graph.full(x), *numbers, places, graph.integers([-1] * len(axes))])
    return [Value(x.shape, x.dtype, x.shape, name)]


def _split(graph: Graph, equation: Any, inputs: list[Value]) -> list[Value]:
    (x,), params, rank = inputs, equation.params, len(inputs[0].shape)
    axis, sizes = params["axis"], [int(size) for size in params["sizes"]]
    name = graph.full(x, but=[other for other in range(rank) if other != axis])
    names = graph.nodes("Split", [name, graph.integers(sizes)], len(sizes), axis=onnx_axis(rank, axis))
    return [
        Value(
            tuple(size if i == axis else dim for i, dim in enumerate(x.shape)),
            x.dtype,
            tuple(size if i == axis else dim for i, dim in enumerate(x.stored)),
            name,
        )
        for name, size in zip(names, sizes, strict=True)
    ]


def _concatenate(graph: Graph, equation: Any, inputs: list[Value]) -> list[Value]:
    (shape, dtype), dimension = _aval(equation), equation.params["dimension"]
    # jnp.pad puts nothing before and after the axes that it does not pad.
    parts = [value for value in inputs if not (is_static(value.shape[dimension]) and value.shape[dimension] == 0)]
    if len(parts) == 1:
        return parts
    axis = onnx_axis(len(shape), dimension)
    return [Value(shape, dtype, shape, graph.node("Concat", [graph.full(value) for value in parts], axis=axis))]


def _stack(graph: Graph, equation: Any, inputs: list[Value]) -> list[Value]:
    (shape, dtype), axis = _aval(equation), equation.params["axis"]
    parts = [graph.node("Unsqueeze", [graph.natural(value), graph.integers([axis])]) for value in inputs]
    return [graph.from_natural(shape, dtype, graph.node("Concat", parts, axis=axis))]


def _transpose(graph: Graph, equation: Any, inputs: list[Value]) -> list[Value]:
    shape, dtype = _aval(equation)
    order = [int(axis) for axis in equation.params["permutation"]]
    return [graph.from_natural(shape, dtype, graph.node("Transpose", [graph.natural(inputs[0])], perm=order))]


def _pad(graph: Graph, equation: Any, inputs: list[Value]) -> list[Value]:
    (x, filling), shape = inputs, _aval(equation)[0]
    config = equation.params["padding_config"]
    if any(inner for _, _, inner in config):
        raise ExportError("padding between numbers cannot be converted.")
    order = onnx_order(len(shape))
    pads = [int(config[axis][side]) for side in (0, 1) for axis in order]
    padded = [axis for axis, (low, high, _) in enumerate(config) if low or high]
    name = graph.full(x, but=[axis for axis in order if axis not in padded])
    name = graph.node("Pad", [name, graph.integers(pads), graph.tensor(filling)], mode="constant")
    stored = tuple(shape[axis] if axis in padded else x.stored[axis] for axis in range(len(shape)))
    return [Value(shape, x.dtype, stored, name)]


def _dimension(graph: Graph, equation: Any, inputs: list[Value]) -> list[Value]:
    """A symbolic dimension as a number of the program."""
    (_, dtype), dim = _aval(equation), equation.params["dim"]
    if is_static(dim):
        return [constant(np.asarray(dim, dtype))]
    size = graph.node("Squeeze", [graph.size(dim), graph.integers([0])])
    return [Value((), dtype, (), graph.node("Cast", [size], to=graph.type_of(dtype)))]


def _unchanged(graph: Graph, equation: Any, inputs: list[Value]) -> list[Value]:
    return inputs


RULES: dict[str, Callable[[Graph, Any, list[Value]], list[Value]]] = {
    "broadcast_in_dim": _broadcast_in_dim,
    "reshape": _reshape,
    "squeeze": _squeeze,
    "slice": _slice,
    "gather": _gather,
    "dynamic_slice": _dynamic_slice,
    "rev": _reverse,
    "split": _split,
    "concatenate": _concatenate,
    "stack": _stack,
    "transpose": _transpose,
    "pad": _pad,
    "dim_as_value": _dimension,
    "copy": _unchanged,
    "stop_gradient": _unchanged,
    "optimization_barrier": _unchanged,
}
