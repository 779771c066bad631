"""What a training step takes on each device: memory, operations, and what it tells the other devices.

    python benchmarks/costs.py --config configs/ffhq_1024.py --out costs.json

Compiles the step of every stage for two (virtual) devices of the processor and asks XLA; nothing is trained, so it
needs no accelerator, but minutes a stage at large resolutions. Memory is that of XLA's plan for the processor, float32
and without a convolution library's work space: another compiler's plan for a GPU or TPU differs. Operations and sums
over devices are those of the program and do not depend on the machine.
"""

import argparse
import functools
import importlib.util
import json
import math
import os
import re
import time
from pathlib import Path

DEVICES = 2
os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count={DEVICES}"
os.environ["JAX_PLATFORMS"] = "cpu"

import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402
from jax.sharding import Mesh  # noqa: E402

from stylegen import distributed  # noqa: E402
from stylegen.config import Config  # noqa: E402
from stylegen.state import abstract_state, build_networks, count_parameters  # noqa: E402
from stylegen.train_step import Static, train_step  # noqa: E402

BYTES = {"pred": 1, "s8": 1, "u8": 1, "bf16": 2, "f16": 2, "s32": 4, "u32": 4, "f32": 4, "s64": 8, "f64": 8}


def all_reduces(program: str) -> tuple[int, int]:
    """(number, bytes of one device's operands) of the sums over devices in a compiled program's text."""
    number, total = 0, 0
    for result in re.findall(r"= (.+?) all-reduce(?:-start)?\(", program):
        number += 1
        for dtype, shape in re.findall(r"(\w+)\[([\d,]*)\]", result):
            total += BYTES[dtype] * math.prod(int(n) for n in shape.split(",") if n)
    return number, total


def state_bytes(config: Config) -> int:
    """Bytes of the training state: weights, their average, two moments of each."""
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(abstract_state(config)) if _counts(leaf))


def _counts(leaf: jax.ShapeDtypeStruct) -> bool:
    return not jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def lowered_step(config: Config, resolution: int, batch: int, mesh: Mesh) -> jax.stages.Lowered:
    """A stage's training step for ``batch`` images on each device, not compiled yet."""
    whole, split = distributed.replicated(mesh), distributed.split_batch(mesh)
    static = Static(config, build_networks(config), distributed.split_latents(mesh))
    step = jax.jit(
        functools.partial(train_step, static=static),
        donate_argnums=0,
        in_shardings=(whole, split, split, whole, whole),
        out_shardings=(whole, whole),
    )
    n = batch * mesh.size
    images = jax.ShapeDtypeStruct((n, resolution, resolution, config.image_channels), jnp.uint8)
    scalar = jax.ShapeDtypeStruct((), jnp.float32)
    return step.lower(abstract_state(config), images, jax.ShapeDtypeStruct((n,), jnp.int32), scalar, scalar)


def flops_per_image(config: Config, resolution: int) -> float:
    """Floating point operations of a stage's training step by image, before the compiler; traced, not compiled."""
    batch = config.discriminator.mbstd_group_size
    mesh = Mesh(jax.devices()[:1], ("data",))
    return lowered_step(config, resolution, batch, mesh).cost_analysis()["flops"] / batch


def costs(config: Config, resolution: int, batch: int) -> dict[str, float]:
    """Costs of a stage's training step with ``batch`` images on each device."""
    begin = time.monotonic()
    lowered = lowered_step(config, resolution, batch, Mesh(jax.devices(), ("data",)))
    compiled = lowered.compile()
    memory = compiled.memory_analysis()
    number, summed = all_reduces(compiled.as_text())
    return {
        "resolution": resolution,
        "batch_per_device": batch,
        "arguments_bytes": memory.argument_size_in_bytes,
        "temporary_bytes": memory.temp_size_in_bytes,
        "all_reduces": number,
        "all_reduce_bytes": summed,
        "flops_per_image": lowered.cost_analysis()["flops"] / (batch * DEVICES),
        "compile_seconds": round(time.monotonic() - begin, 1),
    }


def load(path: str) -> Config:
    """The configuration of an experiment file."""
    spec = importlib.util.spec_from_file_location("experiment", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.get_config()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", default="configs/ffhq_1024.py")
    parser.add_argument("--batches", type=int, nargs="+", default=[4], help="images on each device")
    parser.add_argument("--resolutions", type=int, nargs="+", help="stages; default: all of the configuration")
    parser.add_argument("--out", type=Path, help="JSON file")
    ours = parser.parse_args()
    config = load(ours.config)
    state = abstract_state(config)
    report = {
        "config": ours.config,
        "jax": jax.__version__,
        "date": time.strftime("%Y-%m-%d"),
        "parameters": {"G": count_parameters(state.g), "D": count_parameters(state.d)},
        "state_bytes": state_bytes(config),
        "stages": [],
    }
    print(f"{ours.config}: {report['parameters']} parameters, state {report['state_bytes'] / 1e6:.0f} MB")
    print(f"{'pixels':>6} {'batch':>5} {'state MB':>9} {'rest MB':>9} {'sums':>5} {'MB summed':>9} {'GFLOP/image':>11}")
    for resolution in ours.resolutions or config.stage_resolutions:
        for batch in ours.batches:
            c = costs(config, resolution, batch)
            report["stages"].append(c)
            print(
                f"{resolution:6} {batch:5} {c['arguments_bytes'] / 1e6:9.0f} {c['temporary_bytes'] / 1e6:9.0f} "
                f"{c['all_reduces']:5} {c['all_reduce_bytes'] / 1e6:9.1f} {c['flops_per_image'] / 1e9:11.1f}",
                flush=True,
            )
            if ours.out:
                ours.out.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
