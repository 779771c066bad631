"""Rules of primitives that work number by number."""

from collections.abc import Callable
from typing import Any

import numpy as np

from stylegen import ops
from stylegen.export.onnx.graph import Graph
from stylegen.export.onnx.values import Value, broadcast

BY_NAME = {
    "add": "Add",
    "sub": "Sub",
    "mul": "Mul",
    "div": "Div",
    "max": "Max",
    "min": "Min",
    "ge": "GreaterOrEqual",
    "gt": "Greater",
    "le": "LessOrEqual",
    "lt": "Less",
    "eq": "Equal",
    "sqrt": "Sqrt",
    "neg": "Neg",
}


def _by_name(graph: Graph, equation: Any, inputs: list[Value]) -> list[Value]:
    kind = BY_NAME[equation.primitive.name]
    return [result(equation, inputs, graph.node(kind, [graph.tensor(value) for value in inputs]))]


def _square(graph: Graph, equation: Any, inputs: list[Value]) -> list[Value]:
    name = graph.tensor(inputs[0])
    return [result(equation, inputs, graph.node("Mul", [name, name]))]


def _integer_pow(graph: Graph, equation: Any, inputs: list[Value]) -> list[Value]:
    exponent = graph.weight(np.asarray(equation.params["y"], inputs[0].dtype))
    return [result(equation, inputs, graph.node("Pow", [graph.tensor(inputs[0]), exponent]))]


def _rsqrt(graph: Graph, equation: Any, inputs: list[Value]) -> list[Value]:
    root = graph.node("Sqrt", [graph.tensor(inputs[0])])
    return [result(equation, inputs, graph.node("Reciprocal", [root]))]


def _clamp(graph: Graph, equation: Any, inputs: list[Value]) -> list[Value]:
    low, x, high = inputs
    bounded = graph.node("Clip", [graph.tensor(value) for value in (x, low, high)])
    return [result(equation, [x], bounded)]


def _select(graph: Graph, equation: Any, inputs: list[Value]) -> list[Value]:
    choice, if_false, if_true = inputs
    names = [graph.tensor(value) for value in (choice, if_true, if_false)]
    return [result(equation, inputs, graph.node("Where", names))]


def _convert(graph: Graph, equation: Any, inputs: list[Value]) -> list[Value]:
    (x,) = inputs
    dtype = np.dtype(equation.params["new_dtype"])
    # From float to uint8 both JAX and ONNX truncate.
    name = graph.tensor(x) if dtype == x.dtype else graph.node("Cast", [graph.tensor(x)], to=graph.type_of(dtype))
    return [result(equation, inputs, name)]


def leaky_relu(graph: Graph, equation: Any, inputs: list[Value]) -> list[Value]:
    """``ops.leaky_relu``, a function with its own derivative, as ONNX's operator instead of three."""
    name = graph.node("LeakyRelu", [graph.tensor(inputs[0])], alpha=ops.LEAKY_SLOPE)
    return [result(equation, inputs, name)]


def result(equation: Any, inputs: list[Value], name: str) -> Value:
    """The only result of an equation, as a tensor that is broadcast no further than its inputs are."""
    aval = equation.outvars[0].aval
    return Value(aval.shape, aval.dtype, broadcast([value.stored for value in inputs], len(aval.shape)), name)


RULES: dict[str, Callable[[Graph, Any, list[Value]], list[Value]]] = {
    **dict.fromkeys(BY_NAME, _by_name),
    "square": _square,
    "integer_pow": _integer_pow,
    "rsqrt": _rsqrt,
    "clamp": _clamp,
    "select_n": _select,
    "convert_element_type": _convert,
}
