"""The cost of a training step on each device: memory, operations, and bytes exchanged with the other devices.

    python benchmarks/costs.py --config configs/ffhq_1024.py --out costs.json
    python benchmarks/costs.py --config configs/ffhq_1024.py --compile 4

Nothing is trained, so it needs no accelerator. The first traces the step of every stage: its operations, and the bytes
that the forward passes leave for the backward ones. A compiler may keep fewer of these, by fusing, and needs work space
for convolutions besides. The second also compiles it, for two virtual devices of the CPU, and asks XLA what it
plans for each of them; a plan for a GPU or TPU differs, sums over devices do not.
"""

import argparse
import dataclasses
import functools
import importlib.util
import json
import os
import time
from pathlib import Path
from typing import Any

DEVICES = 2
os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count={DEVICES}"
os.environ["JAX_PLATFORMS"] = "cpu"

import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402
from jax.sharding import Mesh  # noqa: E402

from stylegen.config import Config  # noqa: E402
from stylegen.networks.build import build_networks  # noqa: E402
from stylegen.networks.trees import count_parameters  # noqa: E402
from stylegen.runtime import hlo, sharding  # noqa: E402
from stylegen.runtime.compilation import at_precision  # noqa: E402
from stylegen.training.state import TrainState, abstract_state  # noqa: E402
from stylegen.training.step import StepConfig, discriminator_loss, generator_loss, train_step  # noqa: E402


def state_bytes(config: Config) -> int:
    """Bytes of the training state: weights, their average, two moments of each."""
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(abstract_state(config)) if _counts(leaf))


def _counts(leaf: jax.ShapeDtypeStruct) -> bool:
    return not jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def lowered_step(config: Config, resolution: int, batch: int, mesh: Mesh) -> jax.stages.Lowered:
    """A stage's training step for ``batch`` images on each device, not compiled yet."""
    replicated, split = sharding.replicated(mesh), sharding.split_batch(mesh)
    static = StepConfig(config, build_networks(config), sharding.split_latents(mesh))
    step = jax.jit(
        functools.partial(at_precision(config.precision)(train_step), static=static),
        donate_argnums=0,
        in_shardings=(replicated, split, split, replicated, replicated),
        out_shardings=(replicated, replicated),
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


def activation_bytes(config: Config, resolution: int, batch: int) -> int:
    """Bytes of residuals that the larger of the two backward passes reads, for so many images."""
    static, state = StepConfig(config, build_networks(config)), abstract_state(config)
    images = jax.ShapeDtypeStruct((batch, resolution, resolution, config.image_channels), jnp.float32)
    alpha = jax.ShapeDtypeStruct((), jnp.float32)
    c = jax.ShapeDtypeStruct((batch, config.num_classes), jnp.float32) if config.num_classes else None

    def generator(state: TrainState, c: Any, alpha: Any, images: Any) -> Any:
        loss = functools.partial(generator_loss, static=static)
        return jax.vjp(lambda g: loss(g, state, c, alpha, state.key, images)[0], state.g)[1]

    def discriminator(state: TrainState, c: Any, alpha: Any, images: Any) -> Any:
        loss = functools.partial(discriminator_loss, static=static)
        return jax.vjp(lambda d: loss(d, images, images, c, alpha, state.key)[0], state.d)[1]

    residuals = [jax.eval_shape(side, state, c, alpha, images) for side in (generator, discriminator)]
    return max(sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree)) for tree in residuals)


def traced(config: Config, resolution: int) -> dict[str, float]:
    """Costs of a stage that need no compiler."""
    group = config.discriminator.mbstd_group_size
    one, two = (activation_bytes(config, resolution, n) for n in (group, 2 * group))
    return {
        "resolution": resolution,
        "flops_per_image": flops_per_image(config, resolution),
        "activation_bytes_per_image": (two - one) / group,
        "weight_bytes_besides": 2 * one - two,  # weights at their run-time scale
    }


def compiled(config: Config, resolution: int, batch: int) -> dict[str, float]:
    """Costs of a stage's training step with ``batch`` images on each device, as XLA plans it."""
    begin = time.monotonic()
    program = lowered_step(config, resolution, batch, Mesh(jax.devices(), ("data",))).compile()
    memory = program.memory_analysis()
    number, sum_bytes = hlo.collectives(program.as_text() or "").get("all-reduce", (0, 0))
    return {
        "batch_per_device": batch,
        "arguments_bytes": memory.argument_size_in_bytes,
        "temporary_bytes": memory.temp_size_in_bytes,
        "all_reduces": number,
        "all_reduce_bytes": sum_bytes,
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
    parser.add_argument("--resolutions", type=int, nargs="+", help="stages; default: all of the configuration")
    parser.add_argument("--compute_dtype", help="instead of the configuration's")
    parser.add_argument("--compile", type=int, metavar="IMAGES", help="compile too, for so many images on each device")
    parser.add_argument("--out", type=Path, help="JSON file")
    options = parser.parse_args()
    config = load(options.config)
    if options.compute_dtype:
        config = dataclasses.replace(config, compute_dtype=options.compute_dtype)
    state = abstract_state(config)
    report: dict[str, Any] = {
        "config": options.config,
        "compute_dtype": config.compute_dtype,
        "jax": jax.__version__,
        "date": time.strftime("%Y-%m-%d"),
        "parameters": {"G": count_parameters(state.g), "D": count_parameters(state.d)},
        "state_bytes": state_bytes(config),
        "stages": [],
    }
    print(f"{options.config}, {config.compute_dtype}: G {count_parameters(state.g):,}, D {count_parameters(state.d):,}")
    print(f"parameters; the state takes {report['state_bytes'] / 1e6:.0f} MB on every device\n")
    print(
        "pixels  GFLOP/image  activations MB/image  and MB besides"
        + "  XLA's plan MB  sums  MB" * bool(options.compile)
    )
    for resolution in options.resolutions or config.stage_resolutions:
        stage = traced(config, resolution)
        line = (
            f"{resolution:6} {stage['flops_per_image'] / 1e9:12.1f} {stage['activation_bytes_per_image'] / 1e6:21.1f} "
            f"{stage['weight_bytes_besides'] / 1e6:15.0f}"
        )
        if options.compile:
            stage |= compiled(config, resolution, options.compile)
            line += (
                f" {(stage['arguments_bytes'] + stage['temporary_bytes']) / 1e6:14.0f} {stage['all_reduces']:5} "
                f"{stage['all_reduce_bytes'] / 1e6:4.0f}"
            )
        print(line, flush=True)
        report["stages"].append(stage)
        if options.out:
            options.out.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
