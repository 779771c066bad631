#!/usr/bin/env python3
"""One measurement of ``gpu_check.py``, which starts this; by hand, to try one again:

    python benchmarks/gpu_steps.py profile --resolution 128 --batch 16
    python benchmarks/gpu_steps.py variants --only 'as it is,RGB'

Each result is a JSON object on a line of its own, on stdout and in the file of --results.
"""

import argparse
import contextlib
import importlib
import importlib.metadata
import os
import pkgutil
import re
import statistics
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # of a checkout, whatever is installed
from benchmarks import common
from benchmarks.gpu_runner import Records, short

PACKAGES = r"(jax|flax|optax|orbax|nvidia|cuda|torch|triton|numpy|grain|tensorflow|tensorstore|tyro|pytest|array)"
CARD = 72 * 2**30  # bytes of an H100 that JAX takes, which --sizes are for
TINY = {"resolution": 8, "batch": 4, "base": 64, "max": 8}


def environment(a: argparse.Namespace, records: Records) -> None:
    """Versions, the device, modules that cannot be imported, peaks of products and memory, XLA options."""
    import jax
    import jax.numpy as jnp

    packages = {d.metadata["Name"]: d.version for d in importlib.metadata.distributions() if d.metadata["Name"]}
    records.add("versions", **{name: v for name, v in sorted(packages.items()) if re.match(PACKAGES, name)})
    limit = (jax.devices()[0].memory_stats() or {}).get("bytes_limit", 0) / 2**30
    records.add("machine", **common.machine(), limit_gib=limit)
    failed = {}
    for module in pkgutil.walk_packages(importlib.import_module("stylegen").__path__, "stylegen."):
        try:
            importlib.import_module(module.name)
        except Exception as error:
            failed[module.name] = short(error, 400)
    records.add("imports", failed=failed)
    kinds = (("bfloat16", "highest"), ("float32", "default"), ("float32", "highest"))
    for dtype, precision in () if a.tiny else kinds:
        with records.guarded("peak", dtype=dtype, precision=precision):
            rate = common.matmul_peak(dtype, precision)
            records.add("peak", dtype=dtype, precision=precision, tflop_per_s=rate / 1e12)
    with records.guarded("bandwidth"):
        x = jnp.ones((2**20 if a.tiny else 2**30,), "float32")
        seconds = min(common.timed(partial(jax.jit(lambda x: x + 1), x), 10, 2))
        records.add("bandwidth", tb_per_s=2 * x.nbytes / seconds / 1e12)
    records.add("options", unknown=unknown_options())


def unknown_options() -> list[str]:
    """XLA options of ours that this version does not know."""
    import jax
    import jax.numpy as jnp

    from benchmarks.gpu_variants import VARIANTS

    unknown = []
    for option in [pair for change in VARIANTS.values() for pair in change.get("options", {}).items()]:
        try:
            jax.jit(lambda x: x + 1).lower(jnp.zeros(())).compile(compiler_options=dict([option]))
        except Exception:
            unknown.append(option[0])
    return unknown


def sampling(a: argparse.Namespace, records: Records) -> None:
    """``stylegen.sample`` to images on the host: by default, and in larger batches."""
    from benchmarks import workload
    from benchmarks.gpu_variants import make_config
    from stylegen.sampling.generate import default_batch, sample

    G = workload.Sampling(make_config(a)).G
    default = default_batch(a.resolution)
    for batch in (None, 2 * default, 4 * default):
        size, fields = (
            batch or default,
            {"resolution": a.resolution, "batch": batch or default, "default": batch is None},
        )
        if records.skips("sampling", 12, **fields):
            continue
        with records.guarded("sampling", **fields):
            draw = partial(sample, G, range(2 * size), noise="random", batch=batch)
            times = common.timed(draw, 3, 1)
            records.add("sampling", **fields, img_per_s=2 * size / statistics.median(times), spread=float(draw().std()))


def memory(a: argparse.Namespace, records: Records) -> None:
    """The largest batch that runs, by resolution, and its memory as the compiler and the device account for it."""
    import jax

    limit = (jax.devices()[0].memory_stats() or {}).get("bytes_limit", CARD)
    for size in a.sizes:
        resolution, batch = map(int, size.split(":"))
        batch = batch if a.tiny else max(4, int(batch * limit / CARD) // 4 * 4)
        fits, longest = 0, 0.0
        for _ in range(1 if a.tiny else 4):
            if batch <= fits or records.skips("memory", 1.2 * longest + 25, resolution=resolution, batch=batch):
                break
            begin = time.monotonic()
            planned, ran = try_batch(a, records, resolution, batch, limit)
            fits = max(fits, batch if ran else 0)
            larger = int(batch * min(limit / planned, 1.5)) if planned else 0
            step = (larger if larger > 1.08 * batch else 0) if ran else min(0.85 * batch, larger or batch)
            batch, longest = max(int(step) // 4 * 4, 4 if not fits else 0), max(longest, time.monotonic() - begin)
        records.add("largest", resolution=resolution, batch=fits, limit_gib=limit / 2**30)


def try_batch(a: argparse.Namespace, records: Records, resolution: int, batch: int, limit: int) -> tuple[float, bool]:
    """(bytes that the compiler expects, 0 if it failed; whether the step ran) with a batch."""
    from benchmarks import workload
    from benchmarks.gpu_variants import changed, make_config

    one = argparse.Namespace(**{**vars(a), "resolution": resolution, "batch": batch})
    planned, before = 0.0, common.peak_device_gib() or 0.0
    fields: dict[str, Any] = {"resolution": resolution, "batch": batch}
    try:
        # To time kernels takes memory besides the step's, and minutes.
        with changed(options={"xla_gpu_autotune_level": 0}):
            step = workload.Training(make_config(one), resolution, 0.5)
            planned = common.program_gib(step.program) * 2**30
            fields |= {"planned_gib": planned / 2**30, "compile_s": step.compile_s}
            if planned > limit:
                records.add("memory", **fields, fits=False)
                return planned, False
            step.start()
            seconds = statistics.median(common.timed(step, 3, 1))
            step.stop()
        peak = common.peak_device_gib() or 0.0  # of the process: the step's if it has grown
        grown = peak if peak > before else None
        records.add("memory", **fields, fits=True, img_per_s=batch / seconds, peak_gib=grown)
        return planned, True
    except Exception as error:
        records.add("memory", **fields, fits=False, error=short(error, 400))
        return planned, False


def export(a: argparse.Namespace, records: Records) -> None:
    """The exported sampling program on this device, against the library."""
    import jax
    import numpy as np

    import stylegen
    from stylegen.export.stablehlo import sampler

    G = stylegen.load("toy_bedrooms")
    exported = sampler(G)
    with contextlib.suppress(ImportError):  # flatbuffers is not installed: the program as it is in memory
        exported = jax.export.deserialize(bytearray(exported.serialize()))
    call = exported.call
    z, classes = stylegen.latents(range(16), G.z_dim), np.arange(16) % max(G.c_dim, 1)
    labels = classes if G.c_dim else None
    c = [np.eye(G.c_dim, dtype=np.float32)[classes]] if G.c_dim else []
    images = np.asarray(call(z, *c, np.float32(0.7)))
    expected = stylegen.synthesize(G, stylegen.styles(G, z, labels=labels, psi=0.7))
    ms = 1e3 * statistics.median(common.timed(lambda: call(z, *c, np.float32(0.7)), 10, 1))
    apart = np.abs(images.astype(int) - expected.astype(int))
    shares = {"largest_difference": int(apart.max()), "share_different": float(np.mean(apart > 0))}
    records.add("export", platform=jax.default_backend(), ms=ms, **shares, spread=float(np.std(expected)))


def compare(a: argparse.Namespace, records: Records) -> None:
    """Whether the newest checkpoints of two runs hold the same bits."""
    import dataclasses

    import jax
    import numpy as np

    from stylegen.networks.trees import by_path
    from stylegen.runs.checkpoint import load_state

    (_, meta, one), (_, other_meta, other) = map(load_state, a.runs)
    states = [dataclasses.replace(state, key=jax.random.key_data(state.key)) for state in (one, other)]
    mine, theirs = ({path: np.asarray(leaf) for path, leaf in by_path(state).items()} for state in states)
    different = [path for path in mine if mine[path].tobytes() != theirs[path].tobytes()]
    apart = {path: float(np.abs(mine[path] - theirs[path]).max()) for path in different}
    records.add(
        "equal",
        equal=not different and meta.kimg == other_meta.kimg,
        runs=[Path(run).name for run in a.runs],
        kimg=[meta.kimg, other_meta.kimg],
        arrays=len(mine),
        different=len(different),
        largest=dict(sorted(apart.items(), key=lambda item: -item[1])[:3]),
    )


VERBS = {
    **dict.fromkeys(("environment", "sampling", "memory", "export", "compare"), "gpu_steps"),
    **dict.fromkeys(("smoke", "micro"), "gpu_forms"),
    "reference": "gpu_reference",
    "profile": "gpu_profile",
    "variants": "gpu_variants",
}  # and where each is


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("verb", choices=VERBS)
    p.add_argument("runs", nargs="*", help="compare: two run directories")
    p.add_argument("--resolution", type=int, default=256)
    p.add_argument("--batch", type=int, default=32)
    p.add_argument("--base", type=int, default=16_384)
    p.add_argument("--max", type=int, default=512)
    p.add_argument("--float32", action="store_true", help="instead of bfloat16")
    p.add_argument("--only", default="", help="variants: those whose names have one of these parts, by commas")
    p.add_argument("--sizes", nargs="+", default=["256:256"], help="memory: PIXELS:BATCH to begin with, on an H100")
    p.add_argument("--tiny", action="store_true", help="toy sizes")
    p.add_argument("--seconds", type=float, default=3600.0, help="time that there is")
    p.add_argument("--step", default="", help="name for the records")
    p.add_argument("--results", type=Path, help="file to which records are added")
    p.add_argument("--cache", help="folder of compiled programs")
    a = p.parse_args()
    if a.tiny:
        vars(a).update(TINY)
    records = Records(a.results, a.step or a.verb, a.seconds)
    if a.cache:
        from stylegen.runtime.compilation import use_cache

        use_cache(os.path.abspath(a.cache))
    getattr(importlib.import_module(f"benchmarks.{VERBS[a.verb]}"), a.verb)(a, records)


if __name__ == "__main__":
    main()
