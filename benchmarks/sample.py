#!/usr/bin/env python3
"""Speed, cost, memory and compile time of sampling.

    python benchmarks/sample.py                                  # a table of sizes, each in a process of its own
    python benchmarks/sample.py --resolution 32 --batch 8        # one size
    python benchmarks/sample.py --resolution 32 --against 'python other.py --resolution {resolution}'

Timed is what ``stylegen.sample`` computes: latents from seeds, mapping, synthesis with random noise at alpha 1; each
batch from an idle device to images that are ready there. The column "library" is ``stylegen.sample`` itself, with
uint8 images in the host's memory. The last line is one JSON object.
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
    "sample_img_per_s": ("img/s", ".2f"),
    "sample_img_per_s_best": ("best", ".2f"),
    "sample_s_per_kimg": ("s/kimg", ".1f"),
    "sample_library_img_per_s": ("library img/s", ".2f"),
    "sample_gflop_per_img": ("GFLOP/img", ".3f"),
    "sample_gflop_per_img_compiled": ("as compiled", ".3f"),
    "sample_peak_fraction": ("of peak", ".1%"),
    "peak_gflop_per_s": ("peak GFLOP/s", ".0f"),
    **sizes.COST_COLUMNS,
}


def measure(a: argparse.Namespace) -> dict[str, Any]:
    """One size, in this process."""
    from benchmarks import flops, workload

    config = workload.make_config(a)
    draw = workload.Sampling(config)
    compiled = common.peak_host_gib()
    count = max(a.steps, 10)
    times = common.timed(draw, count, a.warmup)
    host, device = common.peak_host_gib(), common.peak_device_gib()
    result = {
        **common.speeds(times, a.batch, "sample"),
        "sample_s_per_kimg": 1000 * statistics.median(times) / a.batch,
        "sample_times_s": times,
        "sample_gflop_per_img": flops.sample(config) / 1e9,
        "sample_gflop_per_img_compiled": sum(map(flops.compiled, draw.programs)) / a.batch / 1e9,
        "program_gib": max(map(common.program_gib, draw.programs)),
        "peak_host_gib": host,
        "peak_host_gib_by": {"compiling": compiled, "sampling": host},
        "peak_gpu_gib": device,
        "compile_s": draw.compile_s,
    }
    if not a.only_speed:
        library = common.timed(draw.call_library, count, a.warmup)
        result["sample_library_img_per_s"] = a.batch / statistics.median(library)
        peak = common.matmul_peak("bfloat16" if a.amp else "float32") / 1e9
        result["peak_gflop_per_s"] = peak
        result["sample_peak_fraction"] = result["sample_img_per_s"] * result["sample_gflop_per_img"] / peak
    return result


def compile_seconds(a: argparse.Namespace) -> float:
    """Seconds to trace and compile mapping and synthesis."""
    from benchmarks import workload

    return workload.Sampling(workload.make_config(a)).compile_s


BENCHMARK = sizes.Benchmark("sample", ("sample_img_per_s",), COLUMNS, measure, compile_seconds)

if __name__ == "__main__":
    common.main(lambda: sizes.main(BENCHMARK, sizes.parse(__doc__)))
