"""Rules of primitives that sum over axes: reductions, matrix products and convolutions."""

from collections.abc import Callable
from typing import Any

import numpy as np

from stylegen.export import ExportError
from stylegen.export.onnx.graph import Graph
from stylegen.export.onnx.values import Value, is_static, onnx_axis, onnx_order

REDUCTIONS = {"reduce_sum": "ReduceSum"}


def _reduce(graph: Graph, equation: Any, inputs: list[Value]) -> list[Value]:
    (x,), axes, rank = inputs, equation.params["axes"], len(inputs[0].shape)
    others = [axis for axis in range(rank) if axis not in axes]
    places = graph.integers([onnx_axis(rank, axis) for axis in axes])
    name = graph.node(REDUCTIONS[equation.primitive.name], [graph.full(x, but=others), places], keepdims=0)
    left = [axis for axis in onnx_order(rank) if axis not in axes]
    if left != others:
        name = graph.node("Transpose", [name], perm=[left.index(axis) for axis in others])
    if len(others) == 4:
        raise ExportError(f"{equation.primitive.name} of five axes cannot be converted.")
    shape, stored = (tuple(sizes[axis] for axis in others) for sizes in (x.shape, x.stored))
    return [Value(shape, equation.outvars[0].aval.dtype, stored, name)]


def _dot(graph: Graph, equation: Any, inputs: list[Value]) -> list[Value]:
    contracted, batched = equation.params["dimension_numbers"]
    axes, (a, b) = [list(axes) for axes in (*contracted, *batched)], (len(value.shape) for value in inputs)
    # What ONNX's MatMul does: a matrix, or a stack of them, by a matrix; or two stacks of matrices in pairs.
    if not (a in (2, 3) and (b == 2 and axes == [[a - 1], [0], [], []] or a == b and axes == [[2], [1], [0], [0]])):
        raise ExportError("only products of two matrices, or of stacks of them, can be converted.")
    aval = equation.outvars[0].aval
    return [Value(aval.shape, aval.dtype, aval.shape, graph.node("MatMul", [graph.full(value) for value in inputs]))]


def _convolve(graph: Graph, equation: Any, inputs: list[Value]) -> list[Value]:
    (x, weight), params = inputs, equation.params
    spec, aval = params["dimension_numbers"], equation.outvars[0].aval
    images = (0, 3, 1, 2)  # the axes of batch, channels, rows and columns
    if weight.constant is None or tuple(spec.lhs_spec) != images or tuple(spec.out_spec) != images:
        raise ExportError("only convolutions of NHWC images with a constant weight can be converted.")
    if tuple(params["rhs_dilation"]) != (1, 1) or params["batch_group_count"] != 1:
        raise ExportError("dilated weights and groups of a batch cannot be converted.")
    kernel = weight.expanded.transpose(spec.rhs_spec)  # [out, in, k, k]
    before, after = ([int(pair[side]) for pair in params["padding"]] for side in (0, 1))
    strides, spread = (list(map(int, params[name])) for name in ("window_strides", "lhs_dilation"))
    name, groups = graph.full(x, but=[0]), params["feature_group_count"]
    if spread != [1, 1]:
        # Zeros between the pixels of x: ONNX's transposed convolution, which has the weight turned and pads the other
        # way, takes away from the result what is not padded here.
        size = kernel.shape[2:]
        pads = [k - 1 - pad for sides in (before, after) for k, pad in zip(size, sides, strict=True)]
        if strides != [1, 1] or groups != 1 or min(pads) < 0:
            raise ExportError("a transposed convolution with strides, groups or wide padding cannot be converted.")
        turned = graph.weight(kernel[:, :, ::-1, ::-1].swapaxes(0, 1))
        name = graph.node("ConvTranspose", [name, turned], strides=spread, pads=pads, kernel_shape=list(size))
    else:
        sizes = {"strides": strides, "pads": before + after, "kernel_shape": list(kernel.shape[2:])}
        name = graph.node("Conv", [name, graph.weight(kernel)], group=groups, **sizes)
    batch = x.stored[0] if is_static(x.stored[0]) else aval.shape[0]
    return [Value(aval.shape, np.dtype(aval.dtype), (batch, *aval.shape[1:]), name)]


RULES: dict[str, Callable[[Graph, Any, list[Value]], list[Value]]] = {
    **dict.fromkeys(REDUCTIONS, _reduce),
    "dot_general": _dot,
    "conv_general_dilated": _convolve,
}
