"""What a training step costs on devices that are not there: compiled for them, and read from the compiled program.

XLA's compilers for GPUs and TPUs need no device. They say which kernels would run, what these read and write, how much
memory the step takes and what the devices exchange. They do not say how fast it is: the least time is a bound.
"""

import dataclasses
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from stylegen import distributed, hlo
from stylegen.chips import Target
from stylegen.compiling import compiler_options
from stylegen.config import Config
from stylegen.convolution import tracing_for
from stylegen.lazy import lazy_steps
from stylegen.state import abstract_state, build_networks
from stylegen.train_step import Static, jit_step, train_step

GPU_SHARE = 0.75  # of a GPU's memory that JAX takes, unless XLA_PYTHON_CLIENT_MEM_FRACTION says otherwise
# Machine code is not wanted, only the program.
CHEAP = {"gpu": {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}}


@dataclass(frozen=True)
class Plan:
    """A compiled step, as its compiler accounts for it; all numbers are one device's."""

    name: str  # train, or a regularization step
    target: Target
    resolution: int
    batch: int  # of all devices
    kernels: int
    convolutions: int
    odd_convolutions: int
    flop: float
    bytes: float
    seconds: float  # the least: for each kernel what its memory or its arithmetic takes, summed
    convolution_seconds: float  # the share of convolutions in it; 0 where it is not known
    arguments: int  # bytes of the state and the batch
    temporary: int  # bytes
    collectives: Mapping[str, tuple[int, int]]  # by kind, number and bytes
    trace_s: float
    compile_s: float
    places: Mapping[tuple[str, str, str], float]  # least seconds by (kind, part of the step, function)
    text: str  # the program

    @property
    def memory(self) -> int:
        """Bytes that it takes."""
        return self.arguments + self.temporary

    @property
    def usable(self) -> float:
        """Bytes that there are for it."""
        return self.target.chip.memory * (GPU_SHARE if self.target.platform == "gpu" else 1)

    @property
    def exchanged(self) -> int:
        """Bytes that the devices sum or pass on in a step."""
        return sum(size for _, size in self.collectives.values())

    @property
    def exchange_seconds(self) -> float:
        """What a sum in a ring takes at the links' rate: 2 (N - 1)/N times its bytes."""
        n = self.target.count
        return 2 * (n - 1) / n * self.exchanged / self.target.chip.link

    def row(self) -> dict[str, Any]:
        """For a table or JSON."""
        return {
            "step": self.name,
            "target": self.target.name,
            "resolution": self.resolution,
            "batch": self.batch,
            "kernels": self.kernels,
            "convolutions": self.convolutions,
            "odd_convolutions": self.odd_convolutions,
            "tflop": self.flop / 1e12,
            "gb": self.bytes / 1e9,
            "least_ms": 1e3 * self.seconds,
            "convolutions_ms": 1e3 * self.convolution_seconds,
            "least_img_per_s": self.batch / self.seconds if self.seconds else None,
            "memory_gib": self.memory / 2**30,
            "arguments_gib": self.arguments / 2**30,
            "collectives": sum(number for number, _ in self.collectives.values()),
            "exchanged_mb": self.exchanged / 1e6,
            "exchange_ms": 1e3 * self.exchange_seconds,
            "trace_s": self.trace_s,
            "compile_s": self.compile_s,
        }


def make_plan(
    config: Config,
    resolution: int,
    batch: int,
    target: Target,
    name: str = "train",
    options: Mapping[str, Any] | None = None,
) -> Plan:
    """Compile the step of a stage for a target.

    Args:
        config: of the run.
        resolution: of the stage.
        batch: of all devices together.
        target: the devices.
        name: train, or one of ``lazy_steps``.
        options: of XLA.

    Raises:
        TargetError: the compiler is not installed.
        ConfigError: the batch cannot be split over the devices.
    """
    config = with_batch(config, resolution, batch)
    distributed.check_splits(config, target.count, [resolution])
    mesh = Mesh(np.array(target.devices()), ("data",))
    begin = time.monotonic()
    with tracing_for(target.platform):
        lowered, ours = _lower(config, resolution, batch, mesh, name), compiler_options() or {}
    traced = time.monotonic()
    compiled = lowered.compile(compiler_options={**ours, **CHEAP.get(target.platform, {}), **(options or {})})
    ended = time.monotonic()
    text, memory = compiled.as_text(), compiled.memory_analysis()
    chip, run = target.chip, hlo.kernels(text)
    rate = chip.bfloat16 if config.compute_dtype == "bfloat16" else chip.float32
    if target.platform == "gpu":
        flop, moved = sum(kernel.flop for kernel in run), float(sum(kernel.bytes for kernel in run))
        seconds = sum(kernel.seconds(chip.bandwidth, rate) for kernel in run)
    else:
        cost = compiled.cost_analysis() or {}
        flop, moved = cost.get("flops", 0.0), cost.get("bytes accessed", 0.0)
        # A TPU's compiler has the sum over kernels itself.
        seconds = max(cost.get("optimal_seconds", 0.0), flop / rate, moved / chip.bandwidth)
    return Plan(
        name=name,
        target=target,
        resolution=resolution,
        batch=batch,
        kernels=len(run),
        convolutions=sum(kernel.is_convolution for kernel in run) or text.count(" convolution("),
        odd_convolutions=hlo.odd_convolutions(text),
        flop=flop,
        bytes=moved,
        seconds=seconds,
        convolution_seconds=sum(k.seconds(chip.bandwidth, rate) for k in run if k.is_convolution),
        arguments=memory.argument_size_in_bytes,
        temporary=memory.temp_size_in_bytes,
        collectives=hlo.collectives(text),
        trace_s=traced - begin,
        compile_s=ended - traced,
        places=hlo.totals(run, text, chip.bandwidth, rate) if target.platform == "gpu" else {},
        text=text,
    )


def _lower(config: Config, resolution: int, batch: int, mesh: Mesh, name: str) -> jax.stages.Lowered:
    function = train_step if name == "train" else lazy_steps(config)[name][0]
    static = Static(config, build_networks(config), distributed.split_latents(mesh))
    step = jit_step(function, static, distributed.replicated(mesh), distributed.split_batch(mesh))
    images = jax.ShapeDtypeStruct((batch, resolution, resolution, config.image_channels), jnp.uint8)
    labels, scalar = jax.ShapeDtypeStruct((batch,), jnp.int32), jax.ShapeDtypeStruct((), jnp.float32)
    return step.lower(abstract_state(config), images, labels, scalar, scalar)


def with_batch(config: Config, resolution: int, batch: int) -> Config:
    """The configuration with another batch at a resolution."""
    schedule = dataclasses.replace(config.schedule, batch={**config.schedule.batch, resolution: batch})
    return dataclasses.replace(config, schedule=schedule)
