"""The speed of training on this machine: a few steps of each stage, on images of zeros."""

import time
from collections.abc import Callable

import jax
import numpy as np

from stylegen.config import Config
from stylegen.io import signals
from stylegen.io.progress import duration
from stylegen.runtime import compilation, sharding
from stylegen.training import schedule
from stylegen.training.programs import TRAIN, StagePrograms
from stylegen.training.regularization import regularization_steps
from stylegen.training.schedule import Phase
from stylegen.training.state import init_state

LEAST_STEPS, LEAST_SECONDS = 3, 1.0  # that are timed, of each program

Speeds = dict[tuple[int, int], float]  # images a second by resolution and batch size


def measure(config: Config, log: Callable[[str], None] = print) -> Speeds:
    """Compile the programs of each stage that the run reaches, and time them.

    The first execution of each, which takes longer, does not count. Reading the data, metrics, samples and checkpoints
    are not in it.

    Args:
        config: of the run.
        log: told what is being done, which takes minutes for large networks.

    Raises:
        ConfigError: the devices do not fit the configuration.
        Interrupted: a signal asked to stop, between two steps.
    """
    if trouble := compilation.use_cache(config.run.compilation_cache):
        log(f"warning: {trouble}.")
    mesh = sharding.make_mesh(config)
    programs = StagePrograms(config, mesh)
    speeds: Speeds = {}
    try:
        for phase in schedule.phases(config):
            signals.check()
            key = (phase.resolution, phase.batch_size)
            if phase.start < schedule.total_nimg(config) and key not in speeds:
                rows, columns = config.shape_at(phase.resolution)
                log(f"Compiling the steps of {columns}x{rows} pixels, batch {phase.batch_size} ...")
                speeds[key], compiled = _measure_stage(config, mesh, programs, phase)
                log(f"  compiled in {duration(compiled)}; {speeds[key]:.3g} images/s")
    finally:
        programs.close()
    return speeds


def _measure_stage(
    config: Config, mesh: jax.sharding.Mesh, programs: StagePrograms, phase: Phase
) -> tuple[float, float]:
    """Images a second of a phase, and the seconds that its programs were compiled in."""
    steps, compiled = programs.begin(schedule.at(config, phase.start))
    batch = phase.batch_size
    images = np.zeros((batch, *config.shape_at(phase.resolution), config.image_channels), config.pixel_dtype)
    placed = sharding.put_batch(mesh, {"image": images, "label": np.zeros(batch, np.int32)})
    arguments = placed["image"], placed["label"], np.float32(1), np.float32(phase.learning_rate)
    state = sharding.put_replicated(mesh, init_state(config))
    intervals = {TRAIN: 1} | {name: interval for name, (_, interval) in regularization_steps(config).items()}
    seconds = 0.0
    for name, interval in intervals.items():
        state, _ = steps[name](state, *arguments)
        jax.block_until_ready(state)
        started, count = time.monotonic(), 0
        while count < LEAST_STEPS or time.monotonic() - started < LEAST_SECONDS:
            signals.check()
            state, _ = steps[name](state, *arguments)
            jax.block_until_ready(state)
            count += 1
        seconds += (time.monotonic() - started) / count / interval
    return batch / seconds, compiled
