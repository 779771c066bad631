"""Products and convolutions with rounded operands, which emulate TF32 and bfloat16 on any machine."""

from collections.abc import Callable, Sequence
from typing import Any


def rounded(function: Callable[..., Any], mantissa_bits: int) -> Callable[..., Any]:
    """The function with all float32 operands of its products and convolutions rounded, those of derivatives too."""
    import jax

    from stylegen.runtime.compilation import at_precision

    def run(*args: Any) -> Any:
        closed, results = jax.make_jaxpr(at_precision("highest")(function), return_shape=True)(*args)
        values = _evaluate(closed.jaxpr, closed.consts, jax.tree.leaves(args), mantissa_bits)
        return jax.tree.unflatten(jax.tree.structure(results), values)

    return run


def _evaluate(jaxpr: Any, consts: Sequence[Any], args: Sequence[Any], mantissa_bits: int) -> list[Any]:
    """The results of a traced function, operation by operation; calls of functions are entered."""
    import jax
    from jax.extend.core import ClosedJaxpr, Literal

    env = dict(zip([*jaxpr.constvars, *jaxpr.invars], [*consts, *args], strict=True))
    for equation in jaxpr.eqns:
        values = [x.val if isinstance(x, Literal) else env[x] for x in equation.invars]
        inner = equation.params.get("jaxpr", equation.params.get("call_jaxpr"))
        if isinstance(inner, ClosedJaxpr) and len(inner.jaxpr.invars) == len(values):
            results = _evaluate(inner.jaxpr, inner.consts, values, mantissa_bits)
        else:
            if equation.primitive.name in ("dot_general", "conv_general_dilated"):
                values = [jax.lax.reduce_precision(x, 8, mantissa_bits) if x.dtype == "float32" else x for x in values]
            results = equation.primitive.bind(*values, **equation.params)
            results = results if equation.primitive.multiple_results else [results]
        env |= zip(equation.outvars, results, strict=True)
    return [x.val if isinstance(x, Literal) else env[x] for x in jaxpr.outvars]
