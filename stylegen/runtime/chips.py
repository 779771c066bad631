"""GPUs and TPUs that programs can be compiled for without having one: their facts, and how to name them.

Facts are the makers' data sheets'. For the H100 and the H200 the rates are lower than there, by what long products and
copies are known to reach: 790 of 989 TFLOP/s, and nine tenths of the memory's rate.
"""

import importlib.metadata
import importlib.util
import os
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stylegen.errors import StylegenError

INFINITE = float("inf")
COMPILERS = Path(__file__).resolve().parents[2] / ".compilers"  # where ``make compilers`` puts them


def prepare_environment() -> None:
    """Let JAX run on the CPU and find the compilers; to be called before JAX is imported."""
    if COMPILERS.is_dir() and str(COMPILERS) not in sys.path:
        sys.path.append(str(COMPILERS))
    os.environ["JAX_PLATFORMS"] = "cpu"
    os.environ.setdefault("JAX_SKIP_CUDA_CONSTRAINTS_CHECK", "1")  # to compile takes neither cuDNN nor CUDA's libraries
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("ALLOW_MULTIPLE_LIBTPU_LOAD", "1")  # compiling does not hold a TPU: several may at once
    # Without these libtpu asks, and complains on stderr, which TPU this machine is.
    os.environ.setdefault("TPU_SKIP_MDS_QUERY", "1")
    os.environ.setdefault("TPU_ACCELERATOR_TYPE", "v5litepod-4")
    os.environ.setdefault("TPU_WORKER_HOSTNAMES", "localhost")


class TargetError(StylegenError):
    """A target is none, or its compiler is not installed; the message says what to write or to install."""


@dataclass(frozen=True)
class Chip:
    """The rates that bound a device's speed, and its memory."""

    name: str
    memory: float  # bytes
    bandwidth: float  # bytes/s
    bfloat16: float  # FLOP/s of products of bfloat16
    float32: float  # FLOP/s of products of float32 at the default precision: TF32 on GPUs that have it
    exact: float  # FLOP/s of products of float32 at the highest precision
    link: float  # bytes/s that a device sends to its neighbors in a sum over devices
    gpu: str = ""  # facts that XLA asks of a GPU, in the words of its GpuTargetConfigProto


def _gpu(major: int, minor: int, cores: int, shared: int, threads: int, l2: int, ghz: float, units: int) -> str:
    return f"""
  threads_per_block_limit: 1024
  threads_per_warp: 32
  shared_memory_per_block: 49152
  shared_memory_per_block_optin: {shared - 1024}
  shared_memory_per_core: {shared}
  threads_per_core_limit: {threads}
  core_count: {cores}
  fpus_per_core: {units}
  block_dim_limit_x: 2147483647
  block_dim_limit_y: 65535
  block_dim_limit_z: 65535
  l2_cache_size: {l2}
  clock_rate_ghz: {ghz}
  cuda_compute_capability {{ major: {major} minor: {minor} }}
  registers_per_core_limit: 65536
  registers_per_block_limit: 65536
"""


_HOPPER = _gpu(9, 0, 132, 233_472, 2048, 52_428_800, 1.98, 128)
GPUS = {
    "h100": Chip("NVIDIA H100 80GB HBM3", 84.9e9, 3.0e12, 790e12, 395e12, 67e12, 450e9, _HOPPER),
    "h200": Chip("NVIDIA H200", 150e9, 4.3e12, 790e12, 395e12, 67e12, 450e9, _HOPPER),
    "a100": Chip(
        "NVIDIA A100-SXM4-80GB", 85.0e9, 2.04e12, 312e12, 156e12, 19.5e12, 300e9,
        _gpu(8, 0, 108, 167_936, 2048, 41_943_040, 1.41, 64),
    ),
    # It has no units for bfloat16 or TF32: XLA computes both in float32.
    "t4": Chip(
        "Tesla T4", 15.8e9, 0.32e12, 8.1e12, 8.1e12, 8.1e12, 16e9, _gpu(7, 5, 40, 65_536, 1024, 4_194_304, 1.59, 64)
    ),
}  # fmt: skip
# Products of float32 are one pass of bfloat16 on a TPU at the default precision, and six at the highest.
TPUS = {
    "v4": Chip("TPU v4", 32 * 2**30, 1.2e12, 275e12, 275e12, 275e12 / 6, 300e9),
    "v5e": Chip("TPU v5e", 16 * 2**30, 0.819e12, 197e12, 197e12, 197e12 / 6, 200e9),
    "v5p": Chip("TPU v5p", 95 * 2**30, 2.77e12, 459e12, 459e12, 459e12 / 6, 600e9),
    "v6e": Chip("TPU v6e", 32 * 2**30, 1.64e12, 918e12, 918e12, 918e12 / 6, 448e9),
}
# Slices of one host by their usual names, which count cores: v4 and v5p have two a chip, which are one device.
SLICES = {"v4-8": "v4:2x2x1", "v5p-8": "v5p:2x2x1", "v5e-4": "v5e:2x2", "v5e-8": "v5e:2x4", "v6e-8": "v6e:2x4"}
EXAMPLES = "h100, h100x8, a100x4, t4, tpu:v5e:2x4, v4-8 or v5p-8"


@dataclass(frozen=True)
class Target:
    """Devices to compile for: so many of a chip."""

    name: str
    platform: str  # cpu, gpu or tpu
    chip: Chip
    count: int

    def rate(self, compute_dtype: str, precision: str) -> float:
        """FLOP/s of convolutions, by ``Config.compute_dtype`` and ``Config.precision``."""
        if compute_dtype == "bfloat16":
            return self.chip.bfloat16
        return self.chip.exact if precision == "highest" else self.chip.float32

    def devices(self) -> list[Any]:
        """The devices, as JAX describes those that are not there.

        Raises:
            TargetError: the compiler is not installed, or there is no such slice.
        """
        if self.platform == "cpu":
            return _own_devices(self.count)
        from jax.experimental import topologies

        try:
            if self.platform == "gpu":
                kinds = {"topology": f"1x1x{self.count}", "target_config": _target_config(self.chip)}
                return topologies.get_topology_desc(platform="cuda", **kinds).devices
            slice_name = self.name.removeprefix("tpu:")
            # The two cores of a v4 chip are one device, as on the machines; by default its topology has both.
            kinds = {"chip_config_name": "megacore"} if slice_name.startswith("v4") else {}
            return topologies.get_topology_desc(platform="tpu", topology_name=slice_name, **kinds).devices
        except Exception as error:
            if importlib.util.find_spec("jax_plugins" if self.platform == "gpu" else "libtpu") is None:
                raise TargetError(
                    f"--target {self.name}: XLA's compiler for it is not installed. {how_to_install(self.platform)}"
                ) from None
            raise TargetError(f"--target {self.name}: {(str(error).splitlines() or [repr(error)])[0][:300]}") from error


def compilers(platform: str) -> list[str]:
    """The packages, as pip takes them, that compile for a platform with the JAX that is installed."""
    if platform == "gpu":
        version = importlib.metadata.version("jaxlib")
        return [f"jax-cuda13-plugin=={version}", f"jax-cuda13-pjrt=={version}"]
    needs = importlib.metadata.requires("jax") or []
    return [need.partition(";")[0].strip() for need in needs if need.startswith("libtpu")] or ["libtpu"]


def how_to_install(platform: str) -> str:
    """A sentence on how to install a compiler."""
    packages = " ".join(f"'{package}'" for package in compilers(platform))
    return (
        "It needs no device and no driver. In a checkout, 'make compilers' puts it into .compilers, where it is found; "
        f"elsewhere, pip install --no-deps --target FOLDER {packages}, and set PYTHONPATH=FOLDER."
    )


def parse(text: str) -> Target:
    """A target by its name: ``h100x8``, ``tpu:v5e:2x4``, ``v4-8``; ``cpu`` and ``cpux2`` are the machine's own.

    Raises:
        TargetError: it is none.
    """
    name = text.lower()
    if match := re.fullmatch(r"([a-z]\w*?)(?:x([0-9]{1,6}))?", name):
        kind, count = match[1], int(match[2] or 1)
        if kind == "cpu" and 1 <= count <= 64:
            # No rates are known, so there is no least time.
            return Target(text, "cpu", Chip("cpu", *(INFINITE,) * 6), count)
        if kind in GPUS and 1 <= count <= 8:
            return Target(text, "gpu", GPUS[kind], count)
    slice_name = SLICES.get(name, name.removeprefix("tpu:"))
    if match := re.fullmatch(r"(\w+):([0-9]{1,4}(?:x[0-9]{1,4}){1,2})", slice_name):
        generation, shape = match.groups()
        if generation in TPUS:
            count = 1
            for side in shape.split("x"):
                count *= int(side)
            return Target(f"tpu:{generation}:{shape}", "tpu", TPUS[generation], count)
    chips = ", ".join([*GPUS, *TPUS])
    raise TargetError(
        f"--target {text!r}: must name devices, such as {EXAMPLES} (chips: {chips}; GPUs of one host, 1 to 8)."
    )


def _target_config(chip: Chip) -> str:
    return f"""
gpu_device_info {{{chip.gpu}
  memory_bandwidth: {int(chip.bandwidth)}
  device_memory_size: {int(chip.memory)}
}}
platform_name: "CUDA"
dnn_version_info {{ major: 9 minor: 12 patch: 0 }}
runtime_version {{ major: 13 minor: 0 patch: 0 }}
device_description_str: "{chip.name}"
"""


def _own_devices(count: int) -> list[Any]:
    import jax

    devices = jax.devices("cpu")
    if len(devices) < count:
        raise TargetError(
            f"--target cpux{count}: this process has {len(devices)}; "
            f"set XLA_FLAGS=--xla_force_host_platform_device_count={count}."
        )
    return devices[:count]
