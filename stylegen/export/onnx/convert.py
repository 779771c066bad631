"""A JAX function as an ONNX model: its jaxpr, equation by equation."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from stylegen.convolution import tracing_for
from stylegen.export import ExportError
from stylegen.export.onnx import arrays, elementwise, sums
from stylegen.export.onnx.graph import Graph
from stylegen.export.onnx.values import Value, broadcast, constant, is_static

RULES = {**elementwise.RULES, **arrays.RULES, **sums.RULES}
INNER = ("jaxpr", "call_jaxpr", "fun_jaxpr")  # parameters that hold a function which the equation calls
LEAKY_RELU = "leaky_relu"  # the name of ``ops.leaky_relu``, a function with a derivative of its own
MAX_GROWTH = 2  # a constant that is larger than its operands by more is computed when the model runs


def convert(
    function: Callable[..., Sequence[jax.Array]],
    inputs: Mapping[str, jax.ShapeDtypeStruct],
    outputs: Sequence[str],
    about: str,
) -> Any:
    """The ONNX model of a function of arrays; its weights are constants of the model.

    Args:
        function: takes the inputs in order and returns the outputs in order.
        inputs: shapes and dtypes by name; dimensions may be those of ``jax.export.symbolic_shape``.
        outputs: names.
        about: a text on what the model does.

    Raises:
        ExportError: the package onnx is missing, the weights take more than 2 GiB, or the function does something that
            no rule is known for.
    """
    graph = Graph()
    with tracing_for("onnx"):
        closed = jax.make_jaxpr(function)(*inputs.values())
    values = [graph.input(name, spec.shape, spec.dtype) for name, spec in inputs.items()]
    results = _run(graph, closed.jaxpr, closed.consts, values)
    return graph.model(dict(zip(outputs, results, strict=True)), about)


def _run(graph: Graph, jaxpr: Any, consts: Sequence[Any], inputs: Sequence[Value]) -> list[Value]:
    known: dict[Any, Value] = dict(zip(jaxpr.constvars, map(constant, consts), strict=True))
    known |= dict(zip(jaxpr.invars, inputs, strict=True))

    def read(atom: Any) -> Value:
        literal = getattr(atom, "val", None)
        return known[atom] if literal is None else constant(np.asarray(literal, atom.aval.dtype))

    for equation in jaxpr.eqns:
        results = _apply(graph, equation, [read(atom) for atom in equation.invars])
        known |= dict(zip(equation.outvars, results, strict=True))
    return [read(atom) for atom in jaxpr.outvars]


def _apply(graph: Graph, equation: Any, inputs: list[Value]) -> list[Value]:
    """The results of an equation."""
    name, params = equation.primitive.name, equation.params
    folded = _fold(equation, inputs)
    if folded is not None:
        return folded
    if name == "custom_jvp_call" and params.get("name") == LEAKY_RELU:
        return elementwise.leaky_relu(graph, equation, inputs)
    inner = next((params[key] for key in INNER if key in params), None)
    if inner is not None:
        return _run(graph, getattr(inner, "jaxpr", inner), getattr(inner, "consts", ()), inputs)
    if name not in RULES:
        raise ExportError(f"the operation {name} of JAX cannot be converted to ONNX.")
    return RULES[name](graph, equation, inputs)


def _fold(equation: Any, inputs: list[Value]) -> list[Value] | None:
    """The results of an equation of constants, computed now, or None where that is not possible or too large."""
    if any(value.constant is None for value in inputs) or any(key in equation.params for key in INNER):
        return None
    given = [value.constant for value in inputs if value.constant is not None]
    avals = [variable.aval for variable in equation.outvars]
    if equation.primitive.name in elementwise.RULES:
        stored = broadcast([array.shape for array in given], len(avals[0].shape))
        if np.prod(stored) > MAX_GROWTH * max(sum(array.size for array in given), 1):
            return None
        given = [np.broadcast_to(array, stored) if array.ndim else array for array in given]
    elif equation.primitive.name in ("broadcast_in_dim", "dim_as_value") or not _all_static(equation, inputs):
        return None
    else:
        given = [value.expanded for value in inputs]
    results = equation.primitive.bind(*map(jnp.asarray, given), **equation.params)
    computed = [np.asarray(array) for array in (results if equation.primitive.multiple_results else [results])]
    return [
        Value(tuple(aval.shape), array.dtype, array.shape, constant=array)
        for aval, array in zip(avals, computed, strict=True)
    ]


def _all_static(equation: Any, inputs: list[Value]) -> bool:
    shapes = [value.shape for value in inputs] + [variable.aval.shape for variable in equation.outvars]
    return all(is_static(dim) for shape in shapes for dim in shape)
