"""The training step in other forms and with other options, for ``gpu_steps.py``."""

import contextlib
import dataclasses
import functools
import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

import jax

from benchmarks import common, workload
from benchmarks.gpu_forms import blur_at_once, moments_of_two_passes, styled_by_parts
from benchmarks.gpu_runner import Records
from stylegen import ops
from stylegen.config import Config
from stylegen.convolution import tracing_for
from stylegen.runtime.compilation import compiler_options
from stylegen.training import regularization
from stylegen.training import step as train_step


def stable_step(state: Any, images: Any, labels: Any, alpha: Any, rate: Any, *, static: Any) -> Any:
    """The step with an alpha that the compiler knows to be 1."""
    return train_step.train_step(state, images, labels, 1.0, rate, static=static)


def written_gradients(optimizer: Any, gradients: Any, *rest: Any, apply: Any = train_step.apply_gradients) -> Any:
    """Gradients as arrays of their own before Adam, which otherwise is computed in the layout that cuDNN gave them."""
    return apply(optimizer, jax.lax.optimization_barrier(gradients), *rest)


def undonated(step: Callable[..., Any], static: Any, replicated: Any, split: Any) -> Any:
    """``step.jit_step`` whose state is kept."""
    shardings = (replicated, split, split, replicated, replicated)
    function = functools.partial(step, static=static)
    options = train_step.compiler_options()
    return jax.jit(function, in_shardings=shardings, out_shardings=(replicated, replicated), compiler_options=options)


# By name, what is other: arguments of ``changed``, and ``loss`` and ``dtype`` of the configuration. In order of worth.
VARIANTS: dict[str, dict[str, Any]] = {
    "as it is": {},
    "forms of a CPU": {"platform": "cpu"},
    "fused bias": {"options": {"xla_disable_hlo_passes": ""}},
    "styled activation from its parts": {"patches": [(ops, "styled_activation", styled_by_parts)]},
    "RGB by convolutions": {"patches": [(ops, "FEW_CHANNELS", 0)]},
    "stable": {"patches": [(workload, "train_step", stable_step)]},
    "no R1": {"loss": {"r1_gamma": 0.0}},
    "lazy R1, its own step": {
        "loss": {"r1_interval": 16},
        "patches": [(workload, "train_step", regularization.regularize_step)],
    },
    "float32": {"dtype": "float32", "precision": "default"},
    "float32, highest": {"dtype": "float32", "precision": "highest"},
    "autotune level 0": {"options": {"xla_gpu_autotune_level": 0}},
    "convolutions in command buffers": {
        "options": {"xla_gpu_enable_command_buffer": "FUSION,CUBLAS,CUBLASLT,CUSTOM_CALL,CUDNN,CONVOLUTION"}
    },
    "no command buffers": {"options": {"xla_gpu_graph_min_graph_size": 100_000}},
    "deterministic": {"options": {"xla_gpu_deterministic_ops": True}},
    "blur as one sum": {"patches": [(ops, "blur", blur_at_once)]},
    "norm in two passes": {"patches": [(ops, "_moments", moments_of_two_passes)]},
    "gradients written": {"patches": [(train_step, "apply_gradients", written_gradients)]},
    "rbg": {"random": "rbg"},
    "latency hiding scheduler": {"options": {"xla_gpu_enable_latency_hiding_scheduler": True}},
    "no Triton products": {"options": {"xla_gpu_enable_triton_gemm": False}},
    "not donated": {"patches": [(workload, "jit_step", undonated)]},
    "NCHW": {"options": {"xla_gpu_force_conv_nchw": True}},
}


@contextlib.contextmanager
def changed(
    platform: str = "gpu",
    options: dict[str, Any] | None = None,
    patches: Any = (),
    random: str = "threefry2x32",
) -> Iterator[None]:
    """Trace and compile the step otherwise: forms, XLA options, functions, random numbers."""
    merged = {**(compiler_options() or {}), **(options or {})}
    with contextlib.ExitStack() as stack:
        stack.enter_context(mock.patch.object(train_step, "compiler_options", lambda: merged))
        stack.enter_context(tracing_for(platform))
        for module, name, value in patches:
            stack.enter_context(mock.patch.object(module, name, value))
        before = jax.config.jax_default_prng_impl
        stack.callback(jax.config.update, "jax_default_prng_impl", before)
        jax.config.update("jax_default_prng_impl", random)
        jax.clear_caches()  # a function that was traced in one form is not to be found in another
        yield


def make_config(a: Any, dtype: str | None = None, precision: str | None = None, loss: Any = None) -> Config:
    """The benchmarks' configuration at the options' size."""
    config = workload.make_config(type(a)(**{**vars(a), "block": "adain", "amp": not a.float32}))
    narrow = {"z_dim": 32, "w_dim": 32, "mapping_layers": 2} if a.tiny else {}
    generator = dataclasses.replace(config.generator, **narrow)
    config = dataclasses.replace(config, generator=generator, loss=dataclasses.replace(config.loss, **(loss or {})))
    return dataclasses.replace(
        config, compute_dtype=dtype or config.compute_dtype, precision=precision or config.precision
    )


def variants(a: Any, records: Records) -> None:
    """The step in other forms and with other options, one compilation each, until time is up."""
    names = [name for name in VARIANTS if not a.only or any(part in name for part in a.only.split(","))]
    longest, first = 0.0, None
    for name in names:
        if records.skips("variant", 1.25 * longest + 12, what=name):
            continue
        begin = time.monotonic()
        change = dict(VARIANTS[name])
        config = make_config(a, change.pop("dtype", None), change.pop("precision", None), change.pop("loss", None))
        with records.guarded("variant", what=name), changed(**change):
            step = None  # what a failed one holds
            step = workload.Training(config, a.resolution, 0.5)
            step.start()
            ms = 1e3 * statistics.median(common.timed(step, 8, 2))
            first = first or ms
            memory = common.program_gib(step.program)
            records.add(
                "variant", what=name, ms=ms, img_per_s=1e3 * step.batch / ms, against_first=first / ms,
                compile_s=step.compile_s, program_gib=memory,
            )  # fmt: skip
            step.stop()
        longest = max(longest, time.monotonic() - begin)
