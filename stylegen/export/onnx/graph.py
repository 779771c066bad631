"""An ONNX graph that grows node by node, and the model that it becomes."""

import ast
import hashlib
import importlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from stylegen.export import ExportError
from stylegen.export.onnx.values import TO_JAX, TO_ONNX, Dim, Value, is_static, onnx_order
from stylegen.version import version

OPSET, IR_VERSION = 17, 8  # of ONNX 1.12, which onnxruntime reads since its version 1.12 of 2022
MAX_BYTES = 2**31 - 2**20  # of a model: protobuf's limit is 2 GiB


def check_installed() -> Any:
    """The package onnx.

    Raises:
        ExportError: it is not installed.
    """
    try:
        return importlib.import_module("onnx")
    except ImportError as error:
        raise ExportError("--to onnx needs the package onnx: pip install onnx, or stylegen[onnx].") from error


class Graph:
    """Nodes and weights so far.

    Raises:
        ExportError: the package onnx is not installed.
    """

    def __init__(self) -> None:
        self._onnx = check_installed()
        self._nodes: list[Any] = []
        self._weights: dict[str, np.ndarray] = {}
        self._known: dict[Any, str] = {}  # names of weights and of sizes that are there already
        self._inputs: list[Any] = []

    def input(self, name: str, shape: tuple[Dim, ...], dtype: np.dtype) -> Value:
        """A new input; the symbolic dimensions of later values are computed from those of the inputs.

        Each symbolic dimension is a name or a multiple of one, such as n or 8*h.
        """
        self._inputs.append(self._info(name, shape, dtype))
        for axis, dim in enumerate(shape):
            if not is_static(dim):
                factor, _, symbol = str(dim).rpartition("*")
                if symbol not in self._known:
                    size = self.node("Slice", [self.node("Shape", [name]), *map(self.integers, ([axis], [axis + 1]))])
                    self._known[symbol] = self.node("Div", [size, self.integers([int(factor)])]) if factor else size
        tensor = self.node("Transpose", [name], perm=list(TO_ONNX)) if len(shape) == len(TO_ONNX) else name
        return Value(shape, dtype, shape, tensor)

    def node(self, kind: str, inputs: Sequence[str], **attributes: Any) -> str:
        """Add a node with one output, whose name is returned."""
        return self.nodes(kind, inputs, 1, **attributes)[0]

    def nodes(self, kind: str, inputs: Sequence[str], outputs: int, **attributes: Any) -> list[str]:
        """Add a node; the names of its outputs are returned."""
        number = len(self._nodes)
        names = [f"{kind.lower()}_{number}" + (f"_{i}" if i else "") for i in range(outputs)]
        self._nodes.append(self._onnx.helper.make_node(kind, inputs, names, name=names[0], **attributes))
        return names

    def weight(self, array: np.ndarray) -> str:
        """The name of a constant tensor; equal ones are there once."""
        array = np.array(array, order="C")  # np.ascontiguousarray would give a scalar an axis
        key = array.dtype.str, array.shape, hashlib.sha256(array.tobytes()).digest()
        if key not in self._known:
            self._known[key] = name = f"weight_{len(self._weights)}"
            self._weights[name] = array
        return self._known[key]

    def integers(self, numbers: Sequence[int]) -> str:
        """A constant list of whole numbers."""
        return self.weight(np.array(numbers, np.int64))

    def size(self, dim: Dim) -> str:
        """A tensor [1] of int64 that holds a dimension."""
        if is_static(dim):
            return self.integers([int(dim)])
        text = str(dim)
        if text not in self._known:
            self._known[text] = self._evaluated(ast.parse(text, mode="eval").body, text)
        return self._known[text]

    def _evaluated(self, tree: ast.expr, text: str) -> str:
        """The nodes of a symbolic dimension, which jax.export prints as arithmetic of names."""
        kinds = {ast.Add: "Add", ast.Sub: "Sub", ast.Mult: "Mul"}
        if isinstance(tree, ast.BinOp) and type(tree.op) in kinds:
            return self.node(kinds[type(tree.op)], [self._evaluated(side, text) for side in (tree.left, tree.right)])
        if isinstance(tree, ast.UnaryOp) and isinstance(tree.op, ast.USub):
            return self.node("Neg", [self._evaluated(tree.operand, text)])
        if isinstance(tree, ast.Constant) and isinstance(tree.value, int):
            return self.integers([tree.value])
        if isinstance(tree, ast.Name) and tree.id in self._known:
            return self._known[tree.id]
        raise ExportError(f"the dimension {text} cannot be computed in ONNX.")

    def shape(self, dims: Sequence[Dim]) -> str:
        """A tensor of int64 that holds a shape."""
        if all(map(is_static, dims)):
            return self.integers([int(dim) for dim in dims])
        return self.node("Concat", [self.size(dim) for dim in dims], axis=0)

    def tensor(self, value: Value) -> str:
        """The tensor of a value, in ONNX's order and not broadcast yet."""
        if value.constant is None:
            return value.name
        images = value.constant.ndim == len(TO_ONNX)
        return self.weight(value.constant.transpose(TO_ONNX) if images else value.constant)

    def full(self, value: Value, *, but: Sequence[int] = ()) -> str:
        """The tensor of a value in its full shape, ``but`` along some natural axes."""
        name = self.tensor(value)
        wanted = [value.stored[i] if i in but else value.shape[i] for i in onnx_order(len(value.shape))]
        present = [value.stored[i] for i in onnx_order(len(value.shape))]
        return name if wanted == present else self.node("Expand", [name, self.shape(wanted)])

    def natural(self, value: Value) -> str:
        """The tensor of a value in its full shape and natural order."""
        name = self.full(value)
        return self.node("Transpose", [name], perm=list(TO_JAX)) if len(value.shape) == len(TO_JAX) else name

    def from_natural(self, shape: tuple[Dim, ...], dtype: np.dtype, name: str) -> Value:
        """The value of a tensor in natural order."""
        name = self.node("Transpose", [name], perm=list(TO_ONNX)) if len(shape) == len(TO_ONNX) else name
        return Value(shape, dtype, shape, name)

    def model(self, outputs: dict[str, Value], about: str) -> Any:
        """The model with these outputs by name; what they do not need is left out.

        Args:
            outputs: the values.
            about: a text on what the model does.

        Raises:
            ExportError: the model would be larger than protobuf allows.
        """
        helper = self._onnx.helper
        for name, value in outputs.items():
            self._nodes.append(helper.make_node("Identity", [self.natural(value)], [name], name=name))
        needed, nodes = set(outputs), []
        for node in reversed(self._nodes):
            if needed & set(node.output):
                needed |= set(node.input)
                nodes.append(node)
        weights = {name: array for name, array in self._weights.items() if name in needed}
        if (size := sum(array.nbytes for array in weights.values())) > MAX_BYTES:
            raise ExportError(f"the weights take {size / 2**30:.1f} GiB; an ONNX file holds at most 2 GiB.")
        graph = helper.make_graph(
            nodes[::-1],
            "stylegen",
            self._inputs,
            [self._info(name, value.shape, value.dtype) for name, value in outputs.items()],
            [self._onnx.numpy_helper.from_array(array, name) for name, array in weights.items()],
        )
        opsets = [helper.make_opsetid("", OPSET)]
        made_by = {"producer_name": "stylegen", "producer_version": version(), "doc_string": about}
        model = helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION, **made_by)
        self._onnx.checker.check_model(model, full_check=True)
        return model

    def _info(self, name: str, shape: tuple[Dim, ...], dtype: np.dtype) -> Any:
        dims = [int(dim) if is_static(dim) else str(dim) for dim in shape]
        return self._onnx.helper.make_tensor_value_info(name, self.type_of(dtype), dims)

    def type_of(self, dtype: Any) -> int:
        """ONNX's number of a dtype."""
        return int(self._onnx.helper.np_dtype_to_tensor_dtype(np.dtype(dtype)))
