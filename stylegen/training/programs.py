"""The compiled steps of a run, stage by stage: compiled when a stage begins, or earlier in the background."""

import functools
import time
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jax.sharding import Mesh

from stylegen.config import Config
from stylegen.networks.build import build_networks
from stylegen.runtime import compilation, sharding
from stylegen.training import schedule, warmup
from stylegen.training.regularization import regularization_steps
from stylegen.training.schedule import Stage
from stylegen.training.state import TrainState, abstract_state
from stylegen.training.step import Metrics, StepConfig, jit_step, train_step

# (state, images, labels, alpha, learning rate) to (state, metrics); the state that is given is used up.
Step = Callable[[TrainState, Array, Array, Any, Any], tuple[TrainState, Metrics]]
Key = tuple[str, int, int]  # of a program: its name, resolution and batch size

TRAIN = "train"  # the name of the step that every batch takes; regularization steps have names of their own


class StagePrograms:
    """The steps of every stage of a run, by name: ``train`` and those of ``regularization_steps``."""

    def __init__(self, config: Config, mesh: Mesh):
        """Compile nothing yet.

        Args:
            config: of the run.
            mesh: the devices that the state and the batches are on.
        """
        self.static = StepConfig(config, build_networks(config), sharding.split_latents(mesh))
        self._config, self._mesh = config, mesh
        regularization = regularization_steps(config)
        self._intervals = {name: interval for name, (_, interval) in regularization.items()}
        placement = sharding.replicated(mesh), sharding.split_batch(mesh)
        functions = {TRAIN: train_step} | {name: step for name, (step, _) in regularization.items()}
        self._jitted = {name: jit_step(step, self.static, *placement) for name, step in functions.items()}
        self._compiled = compilation.CompileAhead[Key](self.lower)
        self.compiles_ahead = compilation.compiles_ahead(config.run.compile_ahead)

    def lower(self, key: Key) -> Any:
        """The program of a key, lowered."""
        name, resolution, batch = key
        shape = self._config.shape_at(resolution)
        images = jax.ShapeDtypeStruct((batch, *shape, self._config.image_channels), self._config.pixel_dtype)
        labels, scalar = jax.ShapeDtypeStruct((batch,), jnp.int32), jax.ShapeDtypeStruct((), jnp.float32)
        return self._jitted[name].lower(abstract_state(self._config), images, labels, scalar, scalar)

    def ready(self, stage: Stage) -> bool:
        """Whether ``begin`` would have nothing to wait for."""
        keys = [(name, stage.resolution, stage.batch_size) for name in self._jitted]
        return all(self._compiled.ready(key) is not None for key in keys)

    def begin(self, stage: Stage) -> tuple[dict[str, Step], float]:
        """The compiled steps of a stage by name, and the seconds that they were waited for; earlier ones are freed."""
        started = time.monotonic()
        keys = {name: (name, stage.resolution, stage.batch_size) for name in self._jitted}
        steps = {name: self._compiled.get(key) for name, key in keys.items()}
        self._compiled.forget_all_but(set(keys.values()))
        return steps, time.monotonic() - started

    def due(self, nimg: int, batch: int) -> list[str]:
        """The regularization steps that follow the step which began at ``nimg`` images.

        The clock alone says so: a resumed run takes the same ones.
        """
        return [name for name, interval in self._intervals.items() if nimg // batch % interval == 0]

    def start(self, stage: Stage | schedule.Phase) -> None:
        """Begin to compile a stage in the background, where ``compiles_ahead``."""
        if self.compiles_ahead:
            for name in self._jitted:
                self._compiled.start((name, stage.resolution, stage.batch_size))

    def start_next(self, stage: Stage, nimg: int, rehearse: Callable[[int], None] | None) -> None:
        """Begin to compile the next stage and run it once on zeros, in the background.

        Args:
            stage: the present one.
            nimg: images shown.
            rehearse: computes what a tick does at a resolution; called where the next stage has another one.
        """
        total, now = schedule.total_nimg(self._config), (stage.resolution, stage.batch_size)
        later = [phase for phase in schedule.phases(self._config) if nimg < phase.start < total]
        upcoming = next((phase for phase in later if (phase.resolution, phase.batch_size) != now), None)
        if upcoming is None or not self.compiles_ahead:
            return
        self.start(upcoming)
        self._compiled.run(functools.partial(self._warm_up, upcoming.resolution, upcoming.batch_size))
        if upcoming.resolution != stage.resolution and rehearse is not None:
            self._compiled.run(functools.partial(rehearse, upcoming.resolution))

    def _warm_up(self, resolution: int, batch: int) -> None:
        programs = [self._compiled.ready((name, resolution, batch)) for name in self._jitted]
        if None not in programs:
            warmup.warm_up(self._config, self._mesh, programs, resolution, batch)

    def wait(self) -> Mapping[Key, float]:
        """Wait for all that is compiled in the background; the seconds that each program took, by key.

        Raises:
            Exception: whatever compiling raised.
        """
        return self._compiled.wait()

    def idle(self) -> bool:
        """Whether nothing is compiled, or waits for that, in the background."""
        return self._compiled.idle()

    def trouble(self) -> list[str]:
        """Errors of background work; each is reported once."""
        return self._compiled.trouble()

    def running(self) -> bool:
        """Whether something is being compiled just now."""
        return self._compiled.running()

    def close(self) -> None:
        """Start no further compilation."""
        self._compiled.close()
