"""Where the training step's time goes on a device, for ``gpu_steps.py``."""

import argparse
import gzip
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import jax

from benchmarks import common, flops, trace, workload
from benchmarks.gpu_runner import Records
from benchmarks.gpu_variants import changed, make_config
from stylegen.runtime import hlo


def profile(a: argparse.Namespace, records: Records) -> None:
    """The step's time, its program as compiled, and where a trace says that the time goes."""
    config = make_config(a)
    step = workload.Training(config, a.resolution, 0.5)
    text = step.program.as_text()
    if a.results:
        (a.results.parent / f"step_{a.resolution}.hlo.txt.gz").write_bytes(gzip.compress(text.encode(), 6))
    kernels, card = hlo.kernels(text), trace.own_chip(jax.devices()[0].device_kind)
    num_kernels = sum("fusion" in kernel.kind or "custom" in kernel.kind or kernel.is_convolution for kernel in kernels)
    size = {"resolution": a.resolution, "batch": a.batch}
    records.add(
        "program", **size, kernels=len(kernels), convolutions=sum(k.is_convolution for k in kernels),
        odd_convolutions=hlo.odd_convolutions(text), tflop=sum(k.flop for k in kernels) / 1e12,
        gb=sum(k.bytes for k in kernels) / 1e9, memory_gib=common.program_gib(step.program), compile_s=step.compile_s,
    )  # fmt: skip
    step.start()
    ms = step_times(step)
    rate = step.batch / ms["step_ms"] * 1e3
    tflop_per_s = rate * flops.training_step(config, a.resolution) / 1e12
    records.add("step", **size, **ms, img_per_s=rate, tflop_per_s=tflop_per_s, peak_gib=common.peak_device_gib())
    num_traced = traced(step, text, card, records)
    if (
        jax.default_backend() == "gpu"
        and num_traced < 0.6 * num_kernels
        and not records.skips("trace", step.compile_s + 20)
    ):
        # A CUDA graph may be one event. Without graphs every kernel is in the trace.
        step.stop()
        with records.guarded("trace"), changed(options={"xla_gpu_graph_min_graph_size": 100_000}):
            step = workload.Training(config, a.resolution, 0.5)
            step.start()
            traced(step, step.program.as_text(), card, records, command_buffers=False)
    records.add("card", name=card[0] if card else None)  # last, for gpu_check.py


def step_times(step: Any) -> dict[str, float]:
    """Milliseconds of a step that is waited for, of one of several in a row, and of handing one over."""
    single = common.timed(step, 10, 3)
    handing, begin = [], time.perf_counter()
    for _ in range(10):
        called = time.perf_counter()
        result = step()
        handing.append(time.perf_counter() - called)
    jax.block_until_ready(result)
    row = (time.perf_counter() - begin) / 10
    return {"step_ms": 1e3 * statistics.median(single), "in_a_row_ms": 1e3 * row, "handing_ms": 1e3 * min(handing)}


def traced(step: Any, text: str, card: Any, records: Records, **fields: Any) -> float:
    """Trace three steps and say where their time goes; the number of kernels a step."""
    with records.guarded("trace", **fields), tempfile.TemporaryDirectory() as folder:
        with jax.profiler.trace(folder):
            for _ in range(3):
                result = step()
            jax.block_until_ready(result)
        events = trace.events(Path(folder), jax.default_backend())
        if not events:
            raise RuntimeError("the trace has no kernels")
        chip = card[1] if card else None
        rate = (chip.bfloat16 if step.config.compute_dtype == "bfloat16" else chip.float32) if chip else 1.0
        report = trace.report(events, text, 3, chip, rate)
        records.add("trace", **fields, **report)
        return report["kernels"]
    return 0.0
