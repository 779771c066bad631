"""Single operations in the forms that the product has and others, for ``gpu_steps.py``."""

import contextlib
import dataclasses
import functools
import itertools
import statistics
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

import jax
import jax.numpy as jnp
from jax import lax

from benchmarks import common
from benchmarks.gpu_runner import Records
from stylegen import convolution, ops
from stylegen.convolution import tracing_for
from stylegen.networks.layers import num_noise

Function = Callable[..., Any]


@dataclasses.dataclass(frozen=True)
class Form:
    """A way to compute an operation: the function, and what holds while it is traced."""

    function: Function
    context: Callable[[], Any] = lambda: tracing_for("gpu")


@dataclasses.dataclass(frozen=True)
class Operation:
    """An operation with its forms, the product's on a GPU first, and the arrays that it takes."""

    kind: str
    size: str
    forms: dict[str, Form]
    shapes: tuple[tuple[int, ...], ...]  # the first is the image's, in the network's dtype; the others are float32
    order: int = 1  # of the derivatives that are computed: 2 is R1's
    gflop: float = 0.0  # by definition, forward and backward


def total(value: Any) -> Any:
    """A number that depends on every element, also where their sum and their squares' are fixed, as after a norm."""
    return jnp.sum(jnp.tanh(value.astype(jnp.float32)))


def first_order(function: Function, *arrays: Any) -> Any:
    """Gradients by all arguments."""
    return jax.grad(lambda *a: total(function(*a)), tuple(range(len(arrays))))(*arrays)


def second_order(function: Function, *arrays: Any) -> Any:
    """Gradients, by all arguments, of what R1 penalizes: the squared gradient by the image."""

    def penalty(x: Any, *rest: Any) -> Any:
        gradient = jax.grad(lambda x: total(function(x, *rest)))(x)
        return jnp.sum(jnp.square(gradient.astype(jnp.float32)))

    return jax.grad(penalty, tuple(range(len(arrays))))(*arrays)


ORDERS: tuple[Function, ...] = (lambda function, *arrays: function(*arrays), first_order, second_order)


def plain_up(x: Any, weight: Any) -> Any:
    return ops.conv(ops.upsample(x), weight)


def plain_down(x: Any, weight: Any) -> Any:
    return ops.downsample(ops.conv(x, weight))


def plain_conv(x: Any, weight: Any) -> Any:
    return convolution.convolve(x, weight.astype(x.dtype), 1, "SAME")


def conv_bias(x: Any, weight: Any, bias: Any) -> Any:
    y = ops.conv(x, weight)
    return ops.leaky_relu(y + ops.spread(bias, y))


def depthwise_blur(x: Any) -> Any:
    k = jnp.asarray([1, 2, 1], jnp.float32)
    weight = jnp.broadcast_to((k[:, None] * k[None] / 16)[:, :, None, None], (3, 3, 1, x.shape[3])).astype(x.dtype)
    layout = ("NHWC", "HWIO", "NHWC")
    padding = ((1, 1), (1, 1))
    return lax.conv_general_dilated(
        x, weight, (1, 1), padding, dimension_numbers=layout, feature_group_count=x.shape[3]
    )


@jax.custom_vjp
def blur_at_once(x: Any) -> Any:
    return ops._blur_at_once(x)


blur_at_once.defvjp(lambda x: (blur_at_once(x), None), lambda _, y: (blur_at_once(y),))


def styled_by_parts(x: Any, noise: Any, strength: Any, bias: Any, scale: Any, shift: Any) -> Any:
    return ops.adain(ops.noisy_leaky_relu(x, noise, strength, bias), shift, scale)


def moments_of_two_passes(x: Any) -> tuple[Any, Any]:
    y = x.astype(jnp.float32)
    mean = jnp.mean(y, axis=(1, 2), keepdims=True)
    return mean, jnp.mean(jnp.square(y - mean), axis=(1, 2), keepdims=True)


def random_noise(generator: str, shape: tuple[int, ...], x: Any) -> Any:
    return jax.random.normal(jax.random.key(0, impl=generator), shape) + x[0, 0, 0, 0]


def cpu() -> Any:
    return tracing_for("cpu")


@contextlib.contextmanager
def two_passes() -> Iterator[None]:
    with tracing_for("gpu"), mock.patch.object(ops, "_moments", moments_of_two_passes):
        yield


def smallest(shape: tuple[int, ...]) -> tuple[int, ...]:
    """A shape for --tiny."""
    return tuple(min(size, 8) for size in shape)


# --- does it compile and run ------------------------------------------------------------------------------------------


def kinds() -> dict[str, tuple[Form, tuple[tuple[int, ...], ...]]]:
    """Every kind of convolution of the networks, with the shapes of its arguments."""
    n = 4
    return {
        "3x3 of 4 pixels, 513 channels": (Form(ops.conv), ((n, 4, 4, 513), (3, 3, 513, 512))),
        "3x3 of 64 pixels": (Form(ops.conv), ((n, 64, 64, 256), (3, 3, 256, 256))),
        "3x3 with bias": (Form(conv_bias), ((n, 64, 64, 128), (3, 3, 128, 128), (128,))),
        "from RGB": (Form(conv_bias), ((n, 64, 64, 3), (1, 1, 3, 64), (64,))),
        "to RGB": (Form(conv_bias), ((n, 64, 64, 64), (1, 1, 64, 3), (3,))),
        "from RGB, convolution": (Form(plain_conv), ((n, 64, 64, 3), (1, 1, 3, 64))),
        "to RGB, convolution": (Form(plain_conv), ((n, 64, 64, 64), (1, 1, 64, 3))),
        "up": (Form(ops.whole_upsample_conv), ((n, 32, 32, 256), (3, 3, 256, 128))),
        "up, four small": (Form(ops.phased_upsample_conv), ((n, 32, 32, 256), (3, 3, 256, 128))),
        "down": (Form(ops.conv_downsample), ((n, 64, 64, 128), (3, 3, 128, 256))),
        "down, four small": (Form(ops.conv_downsample, cpu), ((n, 64, 64, 128), (3, 3, 128, 256))),
    }


def smoke(a: Any, records: Records) -> None:
    """Every kind of convolution in bfloat16 and float32, first and second order: does it compile and run."""
    bad, good = [], 0
    # XLA for CPUs lacks the product of bfloat16 numbers with a float32 sum, in which RGB layers have their gradients.
    dtypes = ("float32",) if a.tiny else ("bfloat16", "float32")
    for dtype, (name, (form, shapes)), order in itertools.product(dtypes, kinds().items(), (1, 2)):
        what = f"{name}, {dtype}, order {order}"
        if records.skips("convolution", 5, what=what):
            break
        try:
            arrays = random_arrays([smallest(shape) for shape in shapes] if a.tiny else shapes, dtype)
            with form.context():
                results = jax.jit(functools.partial(ORDERS[order], form.function))(*arrays)
            if not all(bool(jnp.isfinite(part).all()) for part in jax.tree.leaves(results)):
                raise FloatingPointError("the result is not finite")
            good += 1
            records.add("convolution", what=what)
        except Exception as error:
            bad.append(what)
            records.add("convolution", what=what, error=f"{type(error).__name__}: {error}"[:500])
    records.add("smoke", good=good, bad=bad)


def random_arrays(shapes: Any, dtype: str) -> list[Any]:
    """Normal numbers; the first array in the given dtype, the others float32."""
    kinds = [dtype, *["float32"] * (len(shapes) - 1)]
    return [jax.random.normal(jax.random.key(i), s, d) for i, (s, d) in enumerate(zip(shapes, kinds, strict=True))]


# --- single operations ------------------------------------------------------------------------------------------------


def operations(n: int, tiny: bool) -> Iterator[Operation]:
    """Those whose form is a choice, the largest first."""
    ups = {
        "whole": Form(ops.whole_upsample_conv),
        "four small": Form(ops.phased_upsample_conv),
        "plain": Form(plain_up),
    }
    downs = {
        "whole": Form(ops.conv_downsample),
        "four small": Form(ops.conv_downsample, cpu),
        "plain": Form(plain_down),
    }
    for r, c, d in [(8, 8, 4)] if tiny else [(128, 128, 64), (64, 256, 128), (32, 512, 256), (16, 512, 512)]:
        size = f"{r} and {2 * r} pixels, {c} and {d} channels"
        gflop = 2 * 9 * c * d * (2 * r) ** 2 * n / 1e9
        yield Operation("up", size, ups, ((n, r, r, c), (3, 3, c, d)), 1, 3 * gflop)
        yield Operation("down", size, downs, ((n, 2 * r, 2 * r, d), (3, 3, d, c)), 2, 6 * gflop)
    r, c = (8, 4) if tiny else (256, 64)
    x, size = (n, r, r, c), f"{r} pixels, {c} channels"
    blurs = {"by axes": Form(ops.blur), "one sum": Form(blur_at_once), "depthwise": Form(depthwise_blur)}
    yield Operation("blur", size, blurs, (x,))
    styled = {
        "as it is": Form(ops.styled_activation),
        "from its parts": Form(styled_by_parts),
        "two passes": Form(ops.styled_activation, two_passes),
    }
    yield Operation("styled activation", size, styled, (x, (n, r, r, 1), (c,), (c,), (n, c), (n, c)))
    mixing = {"sums": Form(ops.conv), "convolution": Form(plain_conv)}
    yield Operation("from RGB", size, mixing, ((n, r, r, 3), (1, 1, 3, c)))
    yield Operation("to RGB", size, mixing, (x, (1, 1, c, 3)))
    names = ("threefry2x32", "rbg")
    noises = {name: Form(functools.partial(random_noise, name, (n, num_noise(r)))) for name in names}
    yield Operation("noise", f"{n} x {num_noise(r)}", noises, ((1, 1, 1, 1),), 0)


def micro(a: Any, records: Records) -> None:
    """Single operations, forward and backward, in the product's forms and in others."""
    dtype = "float32" if a.tiny else "bfloat16"
    for operation in operations(2 if a.tiny else 32, a.tiny):
        exact = None
        for name, form in operation.forms.items():
            fields = {"form": name, "size": operation.size}
            if records.skips(operation.kind, 8, **fields):
                return
            with records.guarded(operation.kind, **fields):
                arrays = random_arrays(operation.shapes, dtype)
                function = functools.partial(ORDERS[operation.order], form.function)
                with form.context():
                    program = jax.jit(function).lower(*arrays).compile()
                ms = 1e3 * statistics.median(common.timed(functools.partial(program, *arrays), 20, 2))
                values = jax.tree.leaves(program(*arrays))
                exact = exact or values
                apart = max(map(relative, values, exact)) if operation.kind != "noise" else None
                rate = operation.gflop / ms if operation.gflop else None
                records.add(operation.kind, **fields, ms=ms, tflop_per_s=rate, difference=apart)


def relative(a: Any, b: Any) -> float:
    """Distance of two arrays as a share of the second's length."""
    a, b = (x.astype(jnp.float32).ravel() for x in (a, b))
    return float(jnp.linalg.norm(a - b) / jnp.maximum(jnp.linalg.norm(b), 1e-30))
