#!/usr/bin/env python3
"""A training step compiled for GPUs or TPUs without having one: kernels, operations, bytes, memory, least time.

    make compilers                                                     # once: XLA's compilers, 0.4 GB
    python benchmarks/plan.py --target h100 --batches 16 32 64         # 256 pixels, bfloat16, original widths
    python benchmarks/plan.py --target h100 --places 30                # and where the least time goes
    python benchmarks/plan.py --config configs/ffhq_1024.py --target tpu:v5e:2x4 --resolutions 64 1024

"least" is a bound and no prediction: for each kernel of a GPU the larger of what it reads and writes over the memory's
rate and its convolutions over the arithmetic's, summed; for a TPU the larger of all bytes and all operations. "memory"
is the compiler's account of one device. "odd" are convolutions that cuDNN is not made for. The last line is one JSON
object.
"""

import argparse
import dataclasses
import gzip
import re
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # of a checkout, whatever is installed
from benchmarks import common
from stylegen.runtime import chips

COLUMNS = {
    "target": ("target", "s"),
    "step": ("step", "s"),
    "resolution": ("pixels", "d"),
    "batch": ("batch", "d"),
    "kernels": ("kernels", "d"),
    "convolutions": ("convolutions", "d"),
    "odd_convolutions": ("odd", "d"),
    "tflop": ("TFLOP", ".2f"),
    "gb": ("GB", ".1f"),
    "least_ms": ("least ms", ".1f"),
    "convolutions_ms": ("convolutions", ".1f"),
    "least_img_per_s": ("at most img/s", ".0f"),
    "memory_gib": ("memory GiB", ".2f"),
    "exchanged_mb": ("exchanged MB", ".0f"),
    "exchange_ms": ("ms", ".2f"),
    "compile_s": ("compile s", ".0f"),
}


def size_parser() -> argparse.ArgumentParser:
    p = common.parser(__doc__)
    p.add_argument("--config", help="experiment file; instead of the original's network of --base, --max and --block")
    p.add_argument("--target", nargs="+", default=["h100"], help=f"devices: {chips.EXAMPLES}")
    p.add_argument("--resolutions", type=int, nargs="+", help="stages; default: the last one of --config, or 256")
    p.add_argument("--batches", type=int, nargs="+", help="of all devices; default: that of --config, or 32")
    p.add_argument("--base", type=int, default=16_384)
    p.add_argument("--max", type=int, default=512)
    p.add_argument("--block", choices=("adain", "demod"), default="adain")
    p.add_argument("--dtype", choices=("bfloat16", "float32"), help="default: that of --config, or bfloat16")
    p.add_argument("--steps", nargs="+", default=["train"], help="train, regularize, path_length, or all")
    p.add_argument("--places", type=int, default=0, metavar="N", help="the N places where the least time goes (GPUs)")
    p.add_argument("--hlo", type=Path, metavar="FOLDER", help="write the optimized programs there")
    return p


def configs(a: argparse.Namespace) -> list[tuple[Any, int, int]]:
    """(configuration, resolution, batch) of each row."""
    from benchmarks import workload
    from stylegen.cli.experiments import load_config

    rows = []
    base_config = load_config(a.config) if a.config else None
    for resolution in a.resolutions or [base_config.resolution if base_config else 256]:
        if base_config:
            config = base_config
        else:
            size = argparse.Namespace(
                resolution=resolution, batch=(a.batches or [32])[0], base=a.base, max=a.max, block=a.block, amp=True
            )
            config = workload.make_config(size)
        if a.dtype:
            config = dataclasses.replace(config, compute_dtype=a.dtype)
        rows += [(config, resolution, batch) for batch in a.batches or [config.batch_at(resolution)]]
    return rows


def run(a: argparse.Namespace) -> dict[str, Any]:
    """Compile all that was asked for, print a table, and give the rows."""
    from stylegen.config import ConfigError
    from stylegen.training.plan import make_plan
    from stylegen.training.regularization import regularization_steps

    rows: list[dict[str, Any]] = []
    result = {"machine": common.machine(), "rows": rows}
    try:
        targets = [chips.parse(name) for name in a.target]
        for target in targets:
            for config, resolution, batch in configs(a):
                names = ["train", *regularization_steps(config)] if a.steps == ["all"] else a.steps
                for name in names:
                    plan = make_plan(config, resolution, batch, target, name)
                    places = [
                        [*where, 1e3 * seconds] for where, seconds in list(plan.places.items())[: max(a.places, 40)]
                    ]
                    rows.append({**plan.row(), "compute_dtype": config.compute_dtype, "places": places})
                    print(common.table(rows[-1:], COLUMNS), flush=True)
                    for kind, part, function, ms in places[: a.places]:
                        print(f"  {ms:7.2f} ms  {kind} | {part} | {function}")
                    if a.hlo:
                        a.hlo.mkdir(parents=True, exist_ok=True)
                        file = re.sub(r"\W+", "-", f"{target.name}-{name}-{resolution}-{batch}") + ".hlo.txt.gz"
                        (a.hlo / file).write_bytes(gzip.compress(plan.text.encode()))
                    common.write_json(a.json, result)
    except (chips.TargetError, ConfigError) as error:
        raise common.BenchmarkError(str(error)) from error
    print("\n" + common.table(rows, COLUMNS))
    return result


if __name__ == "__main__":
    chips.prepare_environment()
    options = size_parser().parse_args()
    common.main(lambda: run(options))
