"""The report of a run at a tick: scalars, a progress line, a grid of samples, and the doctor's advice."""

from collections.abc import Mapping

import jax
import numpy as np
from jax.sharding import Mesh

from stylegen.config import Config
from stylegen.io.progress import duration
from stylegen.runs.directory import Log
from stylegen.runs.grids import NUM_STYLES, SampleGrids
from stylegen.runtime import processes, sharding
from stylegen.training import doctor, schedule
from stylegen.training.meters import Clock, Means
from stylegen.training.schedule import Stage
from stylegen.training.state import TrainState, blank_state
from stylegen.training.summary import seconds_left

# Means in the progress line, where a run has them: key, format.
SHOWN = {
    "Loss/r1_penalty": "R1 {:.3g}",
    "Loss/path_length": "path {:.3g}",
    "Progress/augment": "augment {:.3f}",
}

PATIENCE = 60.0  # seconds of steps without a tick, after which the log says when the first one comes
WEEK = 7 * 24 * 3600.0


class Reporter:
    """Reports to the log of a run; only process 0 has something to say."""

    def __init__(self, config: Config, mesh: Mesh, log: Log, grids: SampleGrids, num_images: int):
        """Prepare; ``restart`` comes before the first tick.

        Args:
            config: of the run.
            mesh: where its state is.
            log: of the run.
            grids: draws its grids.
            num_images: of the data.
        """
        self._config, self._mesh, self._log, self._grids = config, mesh, log, grids
        self._num_images = num_images
        self._spoke = not processes.is_main()

    def restart(self) -> None:
        """Go on from what the log has: after a start, a resume, a return to a checkpoint."""
        self._doctor = doctor.Doctor(self._config, self._num_images, self._log.stats())

    def tick(self, state: TrainState, stage: Stage, nimg: int, means: Means, clock: Clock) -> dict[str, float]:
        """Report on the steps since the last tick; the scalars that were logged, none but in process 0."""
        values = means.take()
        if not processes.is_main():
            return {}
        self._spoke = True
        jax.block_until_ready(state.nimg)
        speed = clock.speed(nimg)
        styles = self._grids.styles(state, stage)
        values |= doctor.vitals(values, self._config, sharding.local(state), styles, stage.resolution)
        scalars = values | {
            "Progress/skipped": means.skipped,
            "Progress/kimg": nimg / 1000,
            "Progress/resolution": stage.resolution,
            "Progress/alpha": stage.alpha,
            "Progress/batch_size": stage.batch_size,
            "Progress/learning_rate": stage.learning_rate,
            "Timing/sec_per_kimg": 1000 / speed,
            "Timing/img_per_sec": speed,
            "Timing/total_sec": clock.total(),
        }
        self._log.scalars(nimg, scalars)
        self._log.line(progress_line(self._config, stage, nimg, speed, values))
        for sentence in self._doctor.look(scalars):
            self._log.line(f"Doctor: {sentence}")
            self._log.board_text(nimg, "Doctor", sentence)
        self._grids.save_fakes(state, stage, nimg)
        clock.restart(nimg)
        return scalars

    def early(self, stage: Stage, nimg: int, tick: int, clock: Clock) -> None:
        """Say once, a minute into a run without a tick, when the first one comes: on a CPU it may be hours away.

        Args:
            stage: the present one.
            nimg: images shown.
            tick: images between two ticks.
            clock: of the steps since the stage began.
        """
        if self._spoke or clock.seconds() < PATIENCE:
            return
        self._spoke = True
        speed, due = clock.speed(nimg), min(nimg + tick - nimg % tick, schedule.total_nimg(self._config))
        if (due - nimg) / speed >= PATIENCE:
            self._log.line(outlook(self._config, stage, nimg, due, speed, on_cpu=jax.default_backend() == "cpu"))

    def rehearse(self, resolution: int) -> None:
        """Compute what a tick does at a resolution, on zeros, so that a tick has nothing to compile."""
        self._grids.rehearse(resolution)
        if jax.default_backend() != "cpu":  # where the doctor compiles nothing
            g = sharding.local(sharding.put_replicated(self._mesh, blank_state(self._config).g))
            w = np.zeros((NUM_STYLES, self._config.generator.w_dim), np.float32)
            doctor.of_weights(g, g, w, resolution)


def outlook(config: Config, stage: Stage, nimg: int, due: int, speed: float, on_cpu: bool) -> str:
    """When the tick at ``due`` images and the end of the run come, at ``speed`` images/s in this stage."""
    run_left = seconds_left(config, nimg, stage.resolution, speed)[1]
    text = (
        f"{nimg / 1000:g} kimg at {speed:.1f} img/s: the next line and samples come at {due / 1000:g} kimg, in about "
        f"{duration((due - nimg) / speed)}; the run ends in about {duration(run_left)}."
    )
    if on_cpu and run_left > WEEK:
        text += " This configuration needs a GPU. For your images on a CPU there is --config folder_64_few."
    return text


def progress_line(config: Config, stage: Stage, nimg: int, speed: float, means: Mapping[str, float]) -> str:
    """A tick in one line: where the run is, images/s, time left, losses."""
    losses = "no finite losses"
    if "Loss/G/loss" in means:
        losses = f"G {means['Loss/G/loss']:.3f}  D {means['Loss/D/loss']:.3f}"
    losses = "  ".join([losses, *[form.format(means[key]) for key, form in SHOWN.items() if key in means]])
    rows, columns = config.shape_at(stage.resolution)
    phase_left, run_left = seconds_left(config, nimg, stage.resolution, speed)
    fading = f" alpha {stage.alpha:.2f}" if stage.alpha < 1 else ""
    return (
        f"kimg {nimg / 1000:<8g} {columns}x{rows}{fading:<11}  {speed:7.1f} img/s  "
        f"{1000 / speed:7.2f} s/kimg  phase {duration(phase_left)} left, run {duration(run_left)}  {losses}"
    )
