"""The cost of a training step on devices that this machine does not have, read from the program compiled for them.

XLA's compilers for GPUs and TPUs need no device. Their programs show which kernels would run, how many bytes these read
and write, how much memory the step takes and how much the devices exchange. They do not show the speed: the least time
is a bound.
"""

import dataclasses
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from stylegen.config import Config
from stylegen.convolution import tracing_for
from stylegen.io import signals
from stylegen.io.progress import counted, duration
from stylegen.io.tables import table
from stylegen.networks.build import build_networks
from stylegen.runtime import hlo, sharding
from stylegen.runtime.chips import Target
from stylegen.runtime.compilation import compiler_options
from stylegen.training import micro_batches, schedule
from stylegen.training.regularization import regularization_steps
from stylegen.training.state import abstract_state
from stylegen.training.step import StepConfig, jit_step, train_step

GPU_SHARE = 0.75  # of a GPU's memory that JAX takes, unless XLA_PYTHON_CLIENT_MEM_FRACTION says otherwise
# Only the program is read, so its machine code need not be fast.
CHEAP: dict[str, dict[str, str | bool]] = {
    "gpu": {"xla_backend_optimization_level": "0", "xla_llvm_disable_expensive_passes": True}
}


def usable(target: Target) -> float:
    """Bytes available on one device."""
    return target.chip.memory * (GPU_SHARE if target.platform == "gpu" else 1)


@dataclass(frozen=True)
class Plan:
    """A compiled step by its compiler's account; all numbers are one device's."""

    name: str  # train, or a regularization step
    target: Target
    resolution: int
    batch: int  # of all devices
    kernels: int
    convolutions: int
    odd_convolutions: int
    flop: float
    bytes: float
    seconds: float  # the least: what memory or arithmetic takes, for each kernel of a GPU, else for all together
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
        """Bytes that a step needs on one device."""
        return self.arguments + self.temporary

    @property
    def usable(self) -> float:
        """Bytes available on one device."""
        return usable(self.target)

    @property
    def exchanged(self) -> int:
        """Bytes that the devices sum or pass on in a step."""
        return sum(size for _, size in self.collectives.values())

    @property
    def exchange_seconds(self) -> float:
        """Estimated time of all-reduces in a ring at the links' rate: 2 (N - 1)/N times their bytes."""
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
        name: train, or one of ``regularization_steps``.
        options: of XLA.

    Raises:
        TargetError: the compiler is not installed.
        ConfigError: the batch cannot be split over the devices.
    """
    config = with_batch(config, resolution, batch)
    sharding.check_splits(config, target.count, [resolution])
    mesh = Mesh(np.array(target.devices()), ("data",))
    begin = time.monotonic()
    with tracing_for(target.platform):
        lowered, platform_options = _lower(config, resolution, batch, mesh, name), compiler_options() or {}
    traced = time.monotonic()
    compiled = lowered.compile(
        compiler_options={**platform_options, **CHEAP.get(target.platform, {}), **(options or {})}
    )
    ended = time.monotonic()
    text, memory = compiled.as_text(), compiled.memory_analysis()
    assert text is not None and memory is not None
    bandwidth, kernels = target.chip.bandwidth, hlo.kernels(text)
    rate = target.rate(config.compute_dtype, config.precision)
    if target.platform == "gpu":
        flop, moved_bytes = sum(kernel.flop for kernel in kernels), float(sum(kernel.bytes for kernel in kernels))
        seconds = sum(kernel.seconds(bandwidth, rate) for kernel in kernels)
    else:
        parts = _parts(config, resolution, batch, target, name)
        flop, moved_bytes, seconds = _bounds(compiled, parts, bandwidth, rate)
    return Plan(
        name=name,
        target=target,
        resolution=resolution,
        batch=batch,
        kernels=len(kernels),
        convolutions=sum(kernel.is_convolution for kernel in kernels) or text.count(" convolution("),
        odd_convolutions=hlo.odd_convolutions(text),
        flop=flop,
        bytes=moved_bytes,
        seconds=seconds,
        convolution_seconds=sum(k.seconds(bandwidth, rate) for k in kernels if k.is_convolution),
        arguments=memory.argument_size_in_bytes,
        temporary=memory.temp_size_in_bytes,
        collectives=hlo.collectives(text),
        trace_s=traced - begin,
        compile_s=ended - traced,
        places=hlo.totals(kernels, text, bandwidth, rate) if target.platform == "gpu" else {},
        text=text,
    )


def _bounds(compiled: jax.stages.Compiled, parts: int, bandwidth: float, rate: float) -> tuple[float, float, float]:
    """FLOP and bytes of a step by the compiler's own count, and the seconds that it takes at least.

    The compiler counts a loop's body once. Nearly all arithmetic is in it; bytes counted once are a bound too.
    """
    cost = compiled.cost_analysis() or {}
    flop, moved_bytes = cost.get("flops", 0.0) * parts, cost.get("bytes accessed", 0.0)
    return flop, moved_bytes, max(flop / rate, moved_bytes / bandwidth)


def _parts(config: Config, resolution: int, batch: int, target: Target, name: str) -> int:
    count = sharding.path_parts if name == "path_length" else sharding.parts
    return count(config, resolution, batch, target.count)


def _lower(config: Config, resolution: int, batch: int, mesh: Mesh, name: str) -> jax.stages.Lowered:
    function = train_step if name == "train" else regularization_steps(config)[name][0]
    static = StepConfig(config, build_networks(config), sharding.split_latents(mesh))
    step = jit_step(function, static, sharding.replicated(mesh), sharding.split_batch(mesh))
    images = jax.ShapeDtypeStruct((batch, *config.shape_at(resolution), config.image_channels), config.pixel_dtype)
    labels, scalar = jax.ShapeDtypeStruct((batch,), jnp.int32), jax.ShapeDtypeStruct((), jnp.float32)
    return step.lower(abstract_state(config), images, labels, scalar, scalar)


def with_batch(config: Config, resolution: int, batch: int) -> Config:
    """The configuration with another batch at a resolution."""
    schedule = dataclasses.replace(config.schedule, batch={**config.schedule.batch, resolution: batch})
    return dataclasses.replace(config, schedule=schedule)


def describe(config: Config, target: Target, resolution: int | None = None, log: Callable[[str], None] = print) -> str:
    """A stage's cost on a target as text: whether it fits, the batch that would, the least time, the bytes exchanged.

    Args:
        config: of the run.
        target: the devices.
        resolution: of the stage; the full one by default.
        log: told what is being compiled, which takes minutes.

    Raises:
        TargetError, ConfigError: as of ``make_plan``.
    """
    resolution = resolution or config.resolution
    batch = config.batch_at(resolution)
    names = {"train": 1, **{name: interval for name, (_, interval) in regularization_steps(config).items()}}
    unit = min(config.discriminator.mbstd_group_size, batch) * target.count
    if config.loss.pl_weight:
        unit = math.lcm(unit, config.loss.pl_batch_shrink * target.count)
    plans: dict[str, Plan] = {}
    try:
        for name in names:
            plans[name] = _logged(config, resolution, batch, target, name, log)
    except jax.errors.JaxRuntimeError as error:
        less = micro_batches.smaller(config, resolution, target.count)
        advice = f"try --run.micro-batch {less}" if less else "try a smaller one"
        what = f"{target.name}: batch {batch} at {config.size_text(resolution)} pixels"
        return f"{what} DOES NOT FIT; {advice}. {_refusal(error)}"
    largest = max(plans.values(), key=lambda plan: plan.memory)
    # Memory grows with the batch along a straight line, so that a second point gives the batch that fits.
    second: Plan | None = None
    if config.run.micro_batch is not None:  # memory is that of the images at once, and no longer of the batch
        return _report(config, plans, names, None, unit)
    try:
        other = batch // 2 // unit * unit or 2 * batch
        second = _logged(config, resolution, other, target, largest.name, log)
    except jax.errors.JaxRuntimeError as error:
        log(f"  {other} images do not fit. {_refusal(error)}")
    return _report(config, plans, names, second, unit)


def _refusal(error: jax.errors.JaxRuntimeError) -> str:
    """The first line of a TPU compiler's error that a program does not fit; any other error is raised again."""
    if "RESOURCE_EXHAUSTED" not in str(error):
        raise error
    return f"XLA: {str(error).splitlines()[0][:300]}"


def _logged(config: Config, resolution: int, batch: int, target: Target, name: str, log: Callable[[str], None]) -> Plan:
    signals.check()
    log(f"Compiling {name} at {config.size_text(resolution)} pixels for {counted(batch, 'image')} on {target.name} ...")
    plan = make_plan(config, resolution, batch, target, name)
    log(f"  in {duration(plan.trace_s + plan.compile_s)}")
    return plan


def largest_batch(first: Plan, second: Plan, unit: int) -> int | None:
    """The largest multiple of ``unit`` images whose step fits, by the memory of two batches; None is no bound."""
    image = (second.memory - first.memory) / (second.batch - first.batch)
    fixed = first.memory - image * first.batch
    if image <= 0 or not math.isfinite(first.usable):
        return None
    return max(int((first.usable - fixed) / image / unit), 0) * unit


def _proposal(config: Config, resolution: int, most: int) -> str:
    """The value of ``run.micro_batch`` with which so many images of a stage fit a device at once."""
    group = min(config.discriminator.mbstd_group_size, config.batch_at(resolution))
    value = most // (config.resolution // resolution) // group * group
    if value < group:
        return f"none fits: not even a minibatch-std group of {group} images"
    return f"--run.micro-batch {value} computes the batch in parts that fit"


def _report(config: Config, plans: Mapping[str, Plan], names: Mapping[str, int], second: Plan | None, unit: int) -> str:
    train, largest = plans["train"], max(plans.values(), key=lambda plan: plan.memory)
    target = train.target
    chip, count = target.chip, target.count
    step = sum(plan.seconds / names[name] for name, plan in plans.items())
    dtype: str = config.compute_dtype
    if dtype == "float32":
        dtype += f" at {config.precision} precision"
    high, wide = config.shape_at(train.resolution)
    title = (
        f"{count} x {chip.name}, {wide}x{high} pixels, batch {train.batch} "
        f"({train.batch // count} a device), {dtype}. The compiler's counts; nothing has run."
    )
    facts: list[tuple[str, str]] = []
    share = f" ({GPU_SHARE:.0%} of the card, which JAX takes)" if target.platform == "gpu" else ""
    fits = "fits" if largest.memory <= largest.usable else "DOES NOT FIT"
    gib = 2**30
    room = f" of {largest.usable / gib:.1f}{share}: {fits}" if math.isfinite(largest.usable) else ""
    facts.append(("memory of a device", f"{largest.memory / gib:.2f} GiB{room}"))
    most = largest_batch(largest, second, unit) if second else None
    if second and most is not None:
        predicted = f"{most:,}, predicted from the memory of {train.batch} and {second.batch}"
        facts.append(("largest batch", predicted))
        if most < train.batch:
            facts.append(("micro-batch", _proposal(config, train.resolution, most // count)))
    parts = sharding.parts(config, train.resolution, train.batch, count)
    if parts > 1:
        facts.append(("computed in", f"{parts} parts of {train.batch // count // parts} images a device"))
    facts.append(("a step", f"{train.flop / 1e12:.2f} TFLOP, {train.bytes / 1e9:.1f} GB a device"))
    if step > 0 and math.isfinite(chip.bandwidth):
        kimg = 1000 / train.batch * step
        total = sum(
            max(min(phase.end, schedule.total_nimg(config)) - phase.start, 0)
            for phase in schedule.phases(config)
            if phase.resolution == train.resolution
        )
        least = (
            f"{1e3 * step:.1f} ms a step, so a kimg takes at least {kimg:.2f} s, and the {total / 1000:,.0f} kimg at "
            f"{config.size_text(train.resolution)} pixels at least {kimg * total / 1e6 / 3.6:.1f} h"
        )
        facts.append(("least time", least))
    if train.collectives:
        kinds = ", ".join(f"{number} {kind}" for kind, (number, _) in train.collectives.items())
        rate = "" if not math.isfinite(chip.link) else f", about {1e3 * train.exchange_seconds:.2f} ms"
        facts.append(("exchanged", f"{kinds}: {train.exchanged / 1e6:.0f} MB a step{rate}"))
    rows = [{"what": what, "fact": fact} for what, fact in facts]
    return "\n".join([title, table(rows, {"what": ("", "<"), "fact": ("", "<")}, header=False)])
