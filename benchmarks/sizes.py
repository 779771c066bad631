"""Shared by train_step.py and sample.py: options, one size in this process, a table of sizes in others."""

import argparse
import os
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from benchmarks import against, common

# (resolution, batch, channel base, channel maximum): what is measured where no --resolution is given.
SIZES = ((16, 8, 16_384, 512), (32, 8, 16_384, 512), (64, 8, 2_048, 64), (128, 4, 4_096, 64))
OPTIONS = ("resolution", "batch", "base", "max", "alpha", "steps", "warmup", "block")
Columns = dict[str, tuple[str, str]]
WORK_COLUMNS: Columns = {
    "resolution": ("pixels", "d"),
    "batch": ("batch", "d"),
    "base": ("base", "d"),
    "max": ("max", "d"),
}
COST_COLUMNS: Columns = {
    "program_gib": ("program GiB", ".2f"),
    "peak_host_gib": ("host GiB", ".2f"),
    "peak_gpu_gib": ("device GiB", ".2f"),
    "compile_s": ("compile s", ".1f"),
    "compile_cached_s": ("cached s", ".1f"),
}


@dataclass(frozen=True)
class Benchmark:
    """A program that measures one size."""

    name: str  # of its file
    keys: tuple[str, ...]  # speeds that are compared with another program's
    columns: Columns  # of its table
    measure: Callable[[argparse.Namespace], dict[str, Any]]
    compile: Callable[[argparse.Namespace], float]  # seconds


def parse(description: str | None, argv: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    p = common.parser(description)
    p.add_argument("--resolution", type=int, help="pixels a side; without it, a table of sizes is measured")
    p.add_argument("--batch", type=int, default=8, help="images a step")
    p.add_argument("--base", type=int, default=16_384, help="channel base: width = min(base / resolution, max)")
    p.add_argument("--max", type=int, default=512, help="channel maximum")
    p.add_argument("--alpha", type=float, default=0.5, help="fade-in weight in training; sampling is at 1")
    p.add_argument("--steps", type=int, default=5, help="steps that are timed; samplings at least 10")
    p.add_argument("--warmup", type=int, default=2, help="steps before them that are not timed")
    p.add_argument(
        "--block", choices=("adain", "demod"), default="adain", help="the networks' blocks; demod: StyleGAN2"
    )
    p.add_argument("--amp", action="store_true", help="compute in bfloat16 instead of float32")
    p.add_argument(
        "--precision",
        choices=("highest", "default"),
        default="highest",
        help="of float32 products and convolutions; default is TF32 on a GPU, as PyTorch's convolutions are",
    )
    p.add_argument("--only-speed", action="store_true", help="leave out compile times and the machine's peak")
    p.add_argument("--cache", metavar="FOLDER", help="keep compiled programs there; compile times are then not cold")
    p.add_argument("--compile-only", action="store_true", help="measure how long compiling takes, and nothing else")
    against.add_options(p)
    return p.parse_args(argv)


def arguments(a: argparse.Namespace) -> list[str]:
    """The options of one size as a command line."""
    words = [text for name in OPTIONS for text in (f"--{name}", str(getattr(a, name)))]
    words += [f"--{name.replace('_', '-')}" for name in ("amp", "only_speed") if getattr(a, name)]
    words += ["--precision", a.precision]
    return words + (["--cache", a.cache] if a.cache else [])


def main(benchmark: Benchmark, a: argparse.Namespace) -> dict[str, Any]:
    """Measure what the options ask for; the result is for the last line."""
    _check(a)
    if a.resolution and not a.against:
        return _measure_size(benchmark, a)
    sizes = [(a.resolution, a.batch, a.base, a.max)] if a.resolution else SIZES
    rows = []
    for size in sizes:
        one = argparse.Namespace(**vars(a))
        one.resolution, one.batch, one.base, one.max = size
        rows.append(_compare(benchmark, one) if a.against else common.run_json(_command(benchmark, one)))
        if not a.against:
            print(common.table(rows[-1:], benchmark.columns), flush=True)
    if len(rows) > 1:
        print("\n" + common.table(rows, benchmark.columns))
    print(common.describe(rows[0]["machine"]))
    common.write_json(a.json, {"command": sys.argv, "sizes": rows})
    brief = [{key: value for key, value in row.items() if key != "runs"} for row in rows]
    return brief[0] if a.resolution else {"sizes": brief}


def _check(a: argparse.Namespace) -> None:
    for name in ("steps", "pairs"):
        if getattr(a, name) < 1:
            raise common.BenchmarkError(f"--{name} {getattr(a, name)}: must be at least 1.")
    if a.compile_only and not a.resolution:
        raise common.BenchmarkError("--compile-only needs a --resolution.")
    if a.against and not a.resolution and "{resolution}" not in a.against:
        raise common.BenchmarkError("--against a table of sizes needs {resolution} (and {batch}, ...) in the command.")


def _measure_size(benchmark: Benchmark, a: argparse.Namespace) -> dict[str, Any]:
    """One size, in this process."""
    import jax

    from benchmarks import workload
    from stylegen.runtime.compilation import use_cache

    workload.make_config(a)  # wrong sizes are said here, and not by another process
    if a.cache:
        use_cache(a.cache)
    elif not a.only_speed:
        jax.config.update("jax_compilation_cache_dir", None)  # whatever the environment says: cold is cold
    if a.compile_only:
        return {"compile_s": benchmark.compile(a)}
    load = os.getloadavg()[0]
    # Other processes come first: once this one uses an accelerator, it holds three quarters of its memory.
    cached = {} if a.only_speed or a.cache else {"compile_cached_s": _compile_cached(benchmark, a)}
    result = work(a) | benchmark.measure(a) | cached
    result["machine"] = common.machine() | {"load": load}
    print(common.table([result], benchmark.columns))
    print(common.describe(result["machine"]))
    common.write_json(a.json, {"command": sys.argv, "sizes": [result]})
    return result


def work(a: argparse.Namespace) -> dict[str, Any]:
    """What was computed, under the keys of the PyTorch program that ours is compared with; None is not measured."""
    import jax

    speeds = ("train_step_s", "train_img_per_s", "train_img_per_s_best", "sample_img_per_s", "sample_img_per_s_best")
    return {
        "framework": f"stylegen on jax {jax.__version__}",
        "device": common.device_name(),
        **{name: getattr(a, name) for name in ("resolution", "batch", "base", "max", "alpha", "amp")},
        "compile": True,  # always
        "channels_last": True,  # as the networks are written; the compiler may choose otherwise
        **dict.fromkeys(speeds),
        "peak_gpu_gib": None,
    }


def _command(benchmark: Benchmark, a: argparse.Namespace) -> list[str]:
    return common.script(benchmark.name, *arguments(a))


def _compile_cached(benchmark: Benchmark, a: argparse.Namespace) -> float:
    """Seconds to trace and compile in a new process, where another one has left its programs on disk."""
    one = argparse.Namespace(**vars(a))
    with tempfile.TemporaryDirectory() as one.cache:
        command = [*_command(benchmark, one), "--compile-only"]
        common.run_json(command)
        return common.run_json(command)["compile_s"]


def _compare(benchmark: Benchmark, a: argparse.Namespace) -> dict[str, Any]:
    """One size in turn with the other program."""
    print(f"{a.resolution} pixels, batch {a.batch}, base {a.base}, max {a.max}", flush=True)
    one = argparse.Namespace(**vars(a))
    one.only_speed = True
    with tempfile.TemporaryDirectory() as folder:
        one.cache = a.cache or folder  # what is compared is speed: compile once
        theirs = against.fill(a.against, a)
        compared = against.run_pairs(_command(benchmark, one), theirs, a.pairs, benchmark.keys)
    print(against.report(compared), flush=True)
    return against.medians(compared["ours"]) | {"against": against.brief(compared), "runs": compared}
