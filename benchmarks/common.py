"""Shared by all benchmarks: the machine and its peak, timing, tables and JSON, running another program in turn."""

import argparse
import datetime
import functools
import json
import os
import platform
import resource
import shlex
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]


class BenchmarkError(Exception):
    """A benchmark cannot be run with these options; the message says why."""


def parser(description: str | None) -> argparse.ArgumentParser:
    """A parser with the option that all benchmarks have."""
    p = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--json", type=Path, metavar="PATH", help="write all results there")
    return p


def machine() -> dict[str, Any]:
    """The machine and the time of a measurement. Imports JAX."""
    import jax

    from stylegen.version import version

    device = jax.devices()[0]
    return {
        "processor": _cpu_name(),
        "cores": cores(),
        "device": device_name(),
        "devices": len(jax.devices()),
        "platform": device.platform,
        "memory_gib": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30,
        "load": os.getloadavg()[0],  # processes that wanted a core in the last minute: above 1 or so, another's work
        "python": platform.python_version(),
        "jax": jax.__version__,
        "stylegen": version(),
        "xla_flags": os.environ.get("XLA_FLAGS", ""),
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
    }


def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def device_name() -> str:
    """``cpu``, or the name of the accelerator."""
    import jax

    device = jax.devices()[0]
    return "cpu" if device.platform == "cpu" else device.device_kind


def describe(m: dict[str, Any]) -> str:
    """One line about the machine."""
    device = "" if m["platform"] == "cpu" else f", {m['devices']} x {m['device']}"
    return f"{m['processor']}, {m['cores']} cores{device}, jax {m['jax']}, load {m['load']:.1f}, {m['date']}"


def timed(function: Callable[[], Any], steps: int, warmup: int) -> list[float]:
    """Seconds of each of ``steps`` calls, from an idle device to a ready result; ``warmup`` calls come before."""
    import jax

    times = []
    for i in range(warmup + steps):
        start = time.perf_counter()
        jax.block_until_ready(function())
        if i >= warmup:
            times.append(time.perf_counter() - start)
    return times


def matmul_peak(dtype: str = "float32", precision: str = "highest") -> float:
    """FLOP/s of the best of several large matrix products, the reference for the networks' products.

    With the compiler options of the programs and without; at highest precision, as the timed networks.
    """
    import jax
    import jax.numpy as jnp

    from stylegen.runtime.compilation import at_precision, compiler_options

    best = 0.0
    for n in (1024, 2048) if jax.default_backend() == "cpu" else (4096, 8192):
        x = jnp.full((n, n), 1e-3, dtype)
        for options in (None, compiler_options()):
            product = jax.jit(at_precision(precision)(jnp.matmul), compiler_options=options).lower(x, x).compile()
            best = max(best, 2 * n**3 / min(timed(functools.partial(product, x, x), 8, 2)))
    return best


def peak_host_gib() -> float:
    """The most memory that this process has held so far, in GiB."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**30


def peak_device_gib() -> float | None:
    """The most memory that was in use on an accelerator; None on a CPU, which keeps no account of it."""
    import jax

    stats = jax.devices()[0].memory_stats()
    return stats["peak_bytes_in_use"] / 2**30 if stats and "peak_bytes_in_use" in stats else None


def program_gib(program: Any) -> float:
    """Memory that a compiled program needs while it runs, its arguments included, by the compiler's account."""
    memory = program.memory_analysis()
    return (memory.argument_size_in_bytes + memory.temp_size_in_bytes) / 2**30


# Modules of stylegen are imported inside functions: gpu_check.py begins with the standard library alone.
def table(rows: Sequence[dict[str, Any]], columns: dict[str, tuple[str, str]]) -> str:
    """``stylegen.io.tables.table`` for all benchmarks and studies."""
    from stylegen.io import tables

    return tables.table(rows, columns)


def write_json(path: Path | None, result: dict[str, Any]) -> None:
    """Write the results, unless the path is None."""
    from stylegen.io import files

    if path is not None:
        files.write_json(path, result)


def run_json(command: Sequence[str]) -> dict[str, Any]:
    """The JSON object that a program prints last.

    Raises:
        BenchmarkError: it cannot be started, fails, or prints none.
    """
    command_line = shlex.join(command)
    try:
        process = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    except OSError as error:
        raise BenchmarkError(f"{command_line} cannot be started: {error}.") from error
    if process.returncode:
        raise BenchmarkError(f"{command_line} failed with status {process.returncode}:\n{process.stdout[-2000:]}")
    for line in reversed(process.stdout.splitlines()):
        try:
            result = json.loads(line)
        except ValueError:
            continue
        if isinstance(result, dict):
            return result
    raise BenchmarkError(f"{command_line} printed no JSON object.")


def script(name: str, *arguments: str) -> list[str]:
    """The command line of a benchmark, or of a study such as ``studies/doctor``."""
    folder = ROOT if "/" in name else ROOT / "benchmarks"
    return [sys.executable, str(folder / f"{name}.py"), *arguments]


def speeds(times: Sequence[float], batch: int, name: str) -> dict[str, float]:
    """Images a second of the median and of the best of some steps of ``batch`` images, by key."""
    return {
        f"{name}_img_per_s": batch / statistics.median(times),
        f"{name}_img_per_s_best": batch / min(times),
    }


def main(run: Callable[[], dict[str, Any]]) -> None:
    """Call a benchmark; its result is the last line, as JSON. A BenchmarkError ends it with a sentence and status 1."""
    try:
        result = run()
    except BenchmarkError as error:
        sys.exit(f"error: {error}")
    print(json.dumps(result))
