#!/usr/bin/env python3
"""Speed, cost, memory and compile time of the training step.

    python benchmarks/train_step.py                                  # a table of sizes, each in a process of its own
    python benchmarks/train_step.py --resolution 32 --batch 8        # one size
    python benchmarks/train_step.py --resolution 32 --against 'python other.py --resolution {resolution}'

A step is the whole of it: discriminator with R1, generator, style mixing 0.9, moving average, Adam, on a batch that is
on the device. Each is timed from an idle device to a ready result; speeds are those of the median step. Sampling is
timed as well, as sample.py does it. The last line is one JSON object.
"""

import argparse
import statistics
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # of a checkout, whatever is installed
from benchmarks import common, sizes

COLUMNS = {
    **sizes.WORK_COLUMNS,
    "train_img_per_s": ("img/s", ".2f"),
    "train_img_per_s_best": ("best", ".2f"),
    "train_s_per_kimg": ("s/kimg", ".1f"),
    "train_gflop_per_img": ("GFLOP/img", ".2f"),
    "train_gflop_per_img_compiled": ("as compiled", ".2f"),
    "train_peak_fraction": ("of peak", ".1%"),
    "peak_gflop_per_s": ("peak GFLOP/s", ".0f"),
    "sample_img_per_s": ("sampling img/s", ".1f"),
    **sizes.COST_COLUMNS,
}


def measure(a: argparse.Namespace) -> dict[str, Any]:
    """One size, in this process."""
    from benchmarks import flops, workload

    config = workload.make_config(a)
    before = common.peak_host_gib()
    step = workload.Training(config, a.resolution, a.alpha)
    compiled = common.peak_host_gib()
    step.start()
    times = common.timed(step, a.steps, a.warmup)
    host, device = common.peak_host_gib(), common.peak_device_gib()
    median = statistics.median(times)
    result = {
        "train_step_s": median,
        **common.speeds(times, a.batch, "train"),
        "train_s_per_kimg": 1000 * median / a.batch,
        "train_times_s": times,
        "train_gflop_per_img": flops.training_step(config, a.resolution) / 1e9,
        "train_gflop_per_img_compiled": flops.compiled(step.program) / a.batch / 1e9,
        "program_gib": common.program_gib(step.program),
        "peak_host_gib": host,
        "peak_host_gib_by": {"imports": before, "compiling": compiled, "steps": host},
        "peak_gpu_gib": device,
        "lower_s": step.lower_s,
        "compile_s": step.compile_s,
    }
    step.stop()
    draw = workload.Sampling(config)
    result |= common.speeds(common.timed(draw, max(a.steps, 10), a.warmup), a.batch, "sample")
    if not a.only_speed:
        peak = common.matmul_peak("bfloat16" if a.amp else "float32") / 1e9
        result["peak_gflop_per_s"] = peak
        result["train_peak_fraction"] = result["train_img_per_s"] * result["train_gflop_per_img"] / peak
    return result


def compile_seconds(a: argparse.Namespace) -> float:
    """Seconds to trace and compile the step."""
    from benchmarks import workload

    return workload.Training(workload.make_config(a), a.resolution, a.alpha).compile_s


BENCHMARK = sizes.Benchmark("train_step", ("train_img_per_s", "sample_img_per_s"), COLUMNS, measure, compile_seconds)

if __name__ == "__main__":
    common.main(lambda: sizes.main(BENCHMARK, sizes.parse(__doc__)))
