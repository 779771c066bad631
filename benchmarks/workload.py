"""The work that is timed: a training step and sampling as ``stylegen`` does them, for a network of a given size."""

import argparse
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.common import BenchmarkError
from stylegen import sampling
from stylegen.config import (
    Config,
    ConfigError,
    DataConfig,
    DiscriminatorConfig,
    GeneratorConfig,
    RunConfig,
    ScheduleConfig,
)
from stylegen.networks.build import build_networks
from stylegen.runtime import sharding
from stylegen.runtime.compilation import compiler_options
from stylegen.runtime.memory import keep_freed_memory
from stylegen.sampling import programs
from stylegen.training.schedule import Stage
from stylegen.training.state import abstract_state, ema_generator, init_state
from stylegen.training.step import StepConfig, jit_step, train_step


def make_config(a: argparse.Namespace) -> Config:
    """The original's settings (R1 at every step, style mixing 0.9) at the size that the options give, on one device.

    Raises:
        BenchmarkError: the sizes cannot be.
    """
    try:
        return Config(
            resolution=a.resolution,
            compute_dtype="bfloat16" if a.amp else "float32",
            precision=getattr(a, "precision", "highest"),
            data=DataConfig(source="images", batch=a.batch),
            generator=GeneratorConfig(block=a.block, channel_base=a.base, channel_max=a.max),
            discriminator=DiscriminatorConfig(channel_base=a.base, channel_max=a.max),
            schedule=ScheduleConfig(start_resolution=a.resolution),
            run=RunConfig(devices=1),
        )
    except ConfigError as error:
        raise BenchmarkError(str(error)) from error


class Training:
    """The training step of a stage, compiled as the training loop does it; a call is one step on the same batch."""

    def __init__(self, config: Config, resolution: int, alpha: float = 1.0):
        keep_freed_memory()  # as train() does
        self.config, self.resolution, self.batch = config, resolution, config.batch_at(resolution)
        self.mesh = sharding.make_mesh(config)
        self.static = StepConfig(config, build_networks(config), sharding.split_latents(self.mesh))
        compiler_options()  # tries the options out, once: not a part of the step's own compilation
        start = time.perf_counter()
        self.lowered = self._lower()
        self.lower_s = time.perf_counter() - start
        self.program = self.lowered.compile()
        self.compile_s = time.perf_counter() - start
        self.scalars = np.asarray(alpha, np.float32), np.asarray(config.learning_rate_at(resolution), np.float32)

    def _lower(self) -> Any:
        placement = sharding.replicated(self.mesh), sharding.split_batch(self.mesh)
        images = jax.ShapeDtypeStruct(self._image_shape(), jnp.uint8)
        labels, scalar = jax.ShapeDtypeStruct((self.batch,), jnp.int32), jax.ShapeDtypeStruct((), jnp.float32)
        step = jit_step(train_step, self.static, *placement)
        return step.lower(abstract_state(self.config), images, labels, scalar, scalar)

    def _image_shape(self) -> tuple[int, int, int, int]:
        return self.batch, self.resolution, self.resolution, self.config.image_channels

    def start(self) -> None:
        """Put a state and a batch of random images on the device."""
        self.state = sharding.put_replicated(self.mesh, init_state(self.config))
        images = np.random.default_rng(0).integers(0, 256, self._image_shape(), np.uint8)
        batch = {"image": images, "label": np.zeros(self.batch, np.int32)}
        placed = sharding.put_batch(self.mesh, batch)
        self.images, self.labels = placed["image"], placed["label"]

    def stop(self) -> None:
        """Free the state."""
        del self.state

    def __call__(self) -> Any:
        self.state, metrics = self.program(self.state, self.images, self.labels, *self.scalars)
        return self.state, metrics


class Sampling:
    """Mapping and synthesis of a batch at alpha 1 with random noise, by the programs that ``stylegen.sample`` runs.

    A call draws latents from seeds and leaves the images on the device.
    """

    def __init__(self, config: Config):
        keep_freed_memory()  # as the verb does
        self.batch = config.data.batch
        stage = Stage(0, config.resolution, 1.0, self.batch, config.optimizer.learning_rate)
        self.G = G = jax.block_until_ready(ema_generator(config, init_state(config), stage))
        self.seeds = np.arange(self.batch, dtype=np.uint32)
        start = time.perf_counter()
        z, ws = np.zeros((self.batch, G.z_dim), np.float32), jnp.zeros((self.batch, G.num_ws, G.w_dim))
        styles = programs.map_latents.jitted.lower(G, np.float32(1), np.int32(G.num_ws), z)
        images = programs.draw.jitted.lower(G, ws, self.seeds, noise="random", as_float=True)
        self.programs = styles.compile(), images.compile()
        self.compile_s = time.perf_counter() - start

    def __call__(self) -> jax.Array:
        map_latents, draw = self.programs
        z = sampling.latents(self.seeds, self.G.z_dim)
        return draw(self.G, map_latents(self.G, np.float32(1), np.int32(self.G.num_ws), z), self.seeds)

    def call_library(self) -> np.ndarray:
        """The same images as ``stylegen.sample`` gives them: uint8, in the host's memory."""
        return sampling.sample(self.G, self.seeds.tolist(), noise="random", batch=self.batch)
