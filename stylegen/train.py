"""The training loop: schedule, data, step, and what happens at a tick. ``train(config)`` starts a run or resumes it."""

import dataclasses
import functools
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

# Here and not where batches are read first: for a moment its import puts another ``builtins.__import__`` in place (that
# of etils' lazy imports), and what a compiling thread imports just then, as JAX does while it traces, fails.
import grain  # noqa: F401
import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from stylegen import data, ops
from stylegen.config import Config
from stylegen.errors import StylegenError
from stylegen.evaluation.during_training import RunMetrics
from stylegen.evaluation.during_training import check as check_metrics
from stylegen.io.files import exclusive
from stylegen.io.progress import duration
from stylegen.networks.build import build_networks
from stylegen.runs import directory, init_from, rollback
from stylegen.runs.checkpoint import Checkpointer, Restored, available
from stylegen.runs.pictures import NUM_STYLES, Pictures
from stylegen.runtime import compilation, processes, sharding
from stylegen.runtime.memory import keep_freed_memory
from stylegen.runtime.signals import stop_requested
from stylegen.training import doctor, freeze, schedule, warmup
from stylegen.training.doctor import Doctor
from stylegen.training.meters import Clock, Means
from stylegen.training.regularization import regularization_steps
from stylegen.training.schedule import Stage
from stylegen.training.state import TrainState, abstract_state, blank_state, init_state
from stylegen.training.step import StepConfig, jit_step, reset_optimizers, train_step
from stylegen.training.summary import seconds_left

TICKS = 200  # in a run, where run.tick_kimg does not say
TICKS_PER_CHECKPOINT = 10  # where run.checkpoint_kimg does not say,
MAX_CHECKPOINT_NIMG = 200_000  # but not less often than this


class TrainingError(StylegenError):
    """Training went wrong; the message says how, and what is saved."""


def train(config: Config) -> Path:
    """Train, from the beginning or from the newest good checkpoint in ``run.dir``, to the end of the schedule.

    SIGTERM and Ctrl-C save and return; the same call goes on from there, and computes what an uninterrupted run would
    have.

    Returns:
        The run directory.

    Raises:
        RunError: the directory cannot be used, or holds another run.
        DataError: the data cannot be used.
        ConfigError: the devices do not fit the configuration.
        CheckpointError: no checkpoint of the run is good, or saving failed.
        TrainingError: the losses are not finite again and again; what was saved before is still there.
        TransferError: ``run.init_from`` names nothing to start from, or what does not fit.
        EvaluationError, WeightsError: ``run.metrics`` cannot be measured.
        ProcessError: there are several processes, which do not fit together.
    """
    with processes.running(config.distributed):
        return _train(config)


def _train(config: Config) -> Path:
    keep_freed_memory()
    cache_trouble = compilation.use_cache(config.run.compilation_cache)
    processes.check_same_config(config)
    check_metrics(config)
    mesh = sharding.make_mesh(config)
    main = processes.is_main()
    folder = directory.check_run(config) if main else Path(config.run.dir)
    with processes.main_first():  # the one that prepares what is raw
        source = data.open_source(config)
    if source.fingerprint != processes.from_main(source.fingerprint):
        raise data.DataError(f"{source.description} is not the same here as in process 0.")
    metrics = RunMetrics(config, folder, source) if config.run.metrics and main else None
    if config.run.freeze:
        freeze.frozen(config)
    resumes = processes.broadcast(main and not config.run.overwrite and bool(available(folder)))
    taken = init_from.read(config) if config.run.init_from and not resumes else None
    with _held(folder) if main else nullcontext():
        if main and config.run.overwrite:
            directory.clear_run(folder)
        processes.check_shared(folder, directory.SHARED)
        keep_every = config.run.keep_every_kimg
        every = round(keep_every * 1000) if keep_every else None
        with Checkpointer(folder, config, keep_last=config.run.keep_last, keep_every_nimg=every) as checkpointer:
            notes = [cache_trouble] if cache_trouble else []
            restored = checkpointer.restore(sharding.replicated(mesh), log=notes.append)
            if restored and restored.meta.extra.get("data") != source.fingerprint:
                raise directory.RunError(
                    f"{folder} was trained on other data than {source.description} is now, and would not be the same "
                    "run. Give the data that it began with, or another --run.dir."
                )
            if main:
                directory.write_config(folder, config)
            nimg = restored.meta.nimg if restored else 0
            with directory.RunLog(folder, nimg) if main else directory.Log(folder) as log, stop_requested() as asked:
                for note in notes:
                    log.line(note)
                verb = "Resuming" if restored else "Starting"
                log.line(f"{verb} {folder} at {nimg / 1000:g} kimg: {source.description}")
                if taken and not restored:
                    log.line(taken.text)
                if metrics is not None:
                    metrics.forget_after(nimg)
                stop = sharding.StopVote(mesh, asked.is_set)
                loop = _Loop(config, mesh, source, checkpointer, log, stop, metrics, taken)
                with processes.computing():
                    loop.run(restored)
    return folder


@contextmanager
def _held(folder: Path) -> Iterator[None]:
    folder.mkdir(parents=True, exist_ok=True)
    with exclusive(folder, directory.RunError(f"{folder} is in use: another process trains there.")):
        yield


@dataclasses.dataclass
class _Loop:
    config: Config
    mesh: Mesh
    source: data.ImageSource
    checkpointer: Checkpointer
    log: directory.Log
    stop: sharding.StopVote
    metrics: RunMetrics | None
    taken: init_from.Transfer | None

    def __post_init__(self) -> None:
        config = self.config
        self.static = StepConfig(config, build_networks(config), sharding.split_latents(self.mesh))
        self.total = schedule.total_nimg(config)
        tick = config.run.tick_kimg
        self.tick = max(round(tick * 1000) if tick else self.total // TICKS, 1)
        every = config.run.checkpoint_kimg
        default = min(self.tick * TICKS_PER_CHECKPOINT, MAX_CHECKPOINT_NIMG)
        self.checkpoint_every = max(round(every * 1000) if every else default, 1)
        placement = sharding.replicated(self.mesh), sharding.split_batch(self.mesh)
        self.programs = {"train": jit_step(train_step, self.static, *placement)}
        self.lazy = regularization_steps(config)
        for name, (step, _) in self.lazy.items():
            self.programs[name] = jit_step(step, self.static, *placement)
        self.compiled = compilation.CompileAhead[tuple[str, int, int]](self._lower)
        self.ahead = compilation.compiles_ahead(config.run.compile_ahead)
        self.rollbacks = rollback.read(self.log.folder)
        self.means = Means()
        self.pictures = Pictures(config, self.static.networks, self.mesh, self.source, self.log)

    def _lower(self, key: tuple[str, int, int]) -> Any:
        """One of the programs for (its name, resolution, batch size), lowered."""
        name, resolution, batch = key
        images = jax.ShapeDtypeStruct((batch, resolution, resolution, self.config.image_channels), jnp.uint8)
        labels, scalar = jax.ShapeDtypeStruct((batch,), jnp.int32), jax.ShapeDtypeStruct((), jnp.float32)
        return self.programs[name].lower(abstract_state(self.config), images, labels, scalar, scalar)

    def reset(self, state: TrainState) -> TrainState:
        """The state with Adam's moments forgotten, on the devices."""
        forgotten = reset_optimizers(state)
        moments = {"g_opt": forgotten.g_opt, "d_opt": forgotten.d_opt}
        return dataclasses.replace(state, **sharding.put_replicated(self.mesh, moments))

    def load(self, restored: Restored | None) -> tuple[TrainState, int, int]:
        """Where to go on, at a checkpoint or at the beginning: (state, nimg, phase of the last step taken)."""
        extra = restored.meta.extra if restored else {}
        state = restored.state if restored else None
        if state is None:
            state = sharding.put_replicated(self.mesh, init_from.apply(init_state(self.config), self.taken))
        if len(self.rollbacks) > extra.get("rollbacks", 0):
            key = rollback.other_key(sharding.local(state.key), len(self.rollbacks))
            state = dataclasses.replace(state, key=sharding.put_replicated(self.mesh, key))
        nimg, phase = (restored.meta.nimg, restored.meta.phase) if restored else (0, 0)
        self.means = Means(extra.get("skipped", 0))
        self.doctor = Doctor(self.config, self.source.num_images, self.log.stats())
        return state, nimg, phase

    def run(self, restored: Restored | None) -> None:
        """Train from a checkpoint, or from the beginning, to the end, or until asked to stop."""
        state, nimg, phase = self.load(restored)
        batches, streaming, fresh = None, None, False
        stage = schedule.at(self.config, max(nimg - 1, 0))
        if nimg < self.total and self.ahead:
            self.compile_ahead(schedule.at(self.config, nimg))
        if not self.ahead and self.config.run.compile_ahead is None:
            self.log.line("Each stage is compiled when it begins: on a GPU, compiling times kernels on the card.")
        if nimg == 0 and processes.is_main():
            self.pictures.save_reals()
            self.pictures.save_fakes(state, schedule.at(self.config, 0), 0)
        clock = Clock(nimg)
        try:
            while nimg < self.total and not self.stop():
                stage = schedule.at(self.config, nimg)
                if stage.phase != phase:
                    state, phase = self.reset(state), stage.phase
                key = stage.resolution, stage.batch_size
                if key != streaming:
                    if batches is not None:
                        batches.close()
                    batches, streaming = self.stream(stage, nimg), key
                    steps = self.begin_stage(key)
                    clock.restart(nimg)
                    fresh = True
                arguments = *self.next_batch(batches), *_scalars(stage)
                state, metrics = steps["train"](state, *arguments)
                if fresh:  # only now: tracing keeps the interpreter from handing the first step to the device
                    self.compile_following(key, nimg)
                    fresh = False
                # The clock alone says which steps regularize, so that a resumed run takes the same ones.
                for name, (_, interval) in self.lazy.items():
                    if nimg // stage.batch_size % interval == 0:
                        state, penalty = steps[name](state, *arguments)
                        metrics = metrics | penalty
                self.means.add(metrics)
                nimg += stage.batch_size
                ticks = nimg // self.tick != (nimg - stage.batch_size) // self.tick or nimg >= self.total
                saves = nimg // self.checkpoint_every != (nimg - stage.batch_size) // self.checkpoint_every
                measures = self.metrics is not None and self.metrics.due(nimg - stage.batch_size, nimg)
                if ticks or saves or measures:
                    self.means.settle()
                if self.means.in_a_row >= self.config.run.max_skipped and nimg < self.total:
                    del state
                    state, nimg, phase = self.roll_back(nimg)
                    streaming = None
                    continue
                if ticks:
                    self.report(state, stage, nimg, clock)
                if measures:
                    self.measure(state, stage, nimg, clock)
                if saves and not self.means.in_a_row:
                    self.save(state, stage)
        finally:
            self.compiled.close()
            if batches is not None:
                batches.close()
        self.means.settle()
        self.finish(state, stage, nimg)

    def roll_back(self, nimg: int) -> tuple[TrainState, int, int]:
        """Go back to the last checkpoint that training got on from, and take another way; results as of ``load``.

        Raises:
            TrainingError: that has been done often enough.
        """
        self.checkpointer.wait()
        newest = self.checkpointer.latest or 0
        why = (
            f"{self.config.run.max_skipped} updates in a row were skipped, for losses or gradients that are not finite"
        )
        rollbacks = [*self.rollbacks, rollback.Rollback(nimg, newest)]
        if rollback.in_vain(rollbacks) > self.config.run.max_rollbacks:
            raise TrainingError(rollback.advice(why, rollbacks, self.log.folder))
        if self.rollbacks and self.rollbacks[-1].to == newest and self.checkpointer.abandon(newest):
            rollbacks[-1] = rollback.Rollback(nimg, self.checkpointer.latest or 0)
        self.rollbacks = rollbacks
        notes: list[str] = []
        restored = self.checkpointer.restore(sharding.replicated(self.mesh), log=notes.append)
        back = restored.meta.nimg if restored else 0
        if processes.is_main():
            rollback.write(self.log.folder, rollbacks)
        self.log.rewind(back)
        if self.metrics is not None:
            self.metrics.forget_after(back)
        place = f"the checkpoint at {back / 1000:g} kimg" if restored else "the beginning"
        for note in notes:
            self.log.line(note)
        self.log.line(
            f"{why}: at {nimg / 1000:g} kimg. Going back to {place}, with another order of the images and other random "
            f"numbers; time {len(rollbacks)} in this run."
        )
        return self.load(restored)

    def measure(self, state: TrainState, stage: Stage, nimg: int, clock: Clock) -> None:
        """The metrics that ``run.metrics`` names, of the moving average."""
        assert self.metrics is not None
        scalars, text = self.metrics.measure(self.pictures.generator(state, stage), nimg)
        self.log.board_scalars(nimg, scalars)
        self.log.line(text)
        clock.restart(nimg)

    def save(self, state: TrainState, stage: Stage) -> None:
        """Start writing a checkpoint."""
        extra = {"data": self.source.fingerprint, "rollbacks": len(self.rollbacks), "skipped": self.means.skipped}
        self.checkpointer.save(state, stage, extra=extra)

    def finish(self, state: TrainState, stage: Stage, nimg: int) -> None:
        """Save where the run is, unless that is saved, and say so."""
        # Where updates are being skipped, the state may be past help: a resumed run comes here again and can go back.
        astray = self.means.in_a_row > 0 and nimg < self.total
        if self.checkpointer.latest != nimg and nimg > 0 and not astray:
            self.save(state, stage)
        self.checkpointer.wait()
        place = f"{(self.checkpointer.latest or 0) / 1000:g} kimg, before updates were skipped" if astray else "here"
        done = "Finished" if nimg >= self.total else f"Stopped; the same command goes on from {place}"
        self.log.line(f"{done}: {nimg / 1000:g} kimg in {self.log.folder}, newest pictures in fakes.png")
        if self.compiled.running():
            self.log.line("Everything is saved. Waiting for a compilation to end, which cannot be interrupted.")

    def stream(self, stage: Stage, nimg: int) -> Any:
        """This process's share of batches from image number ``nimg`` of the run on.

        The original's minibatch-std groups are neighbours: in the whole batch, whatever the number of processes.
        """
        order = ops.minibatch_std_order(stage.batch_size, self.config.discriminator.mbstd_group_size)
        return data.make_pipeline(
            self.source,
            stage.resolution,
            stage.batch_size,
            start=nimg,
            seed=rollback.order_seed(self.config.data.seed, len(self.rollbacks)),
            positions=sharding.share(np.array(order)),
            workers=self.workers(stage.resolution),
        )

    def workers(self, resolution: int) -> int:
        """Reader threads of a stage: those of the configuration, or as many as keep the devices busy."""
        if self.config.data.workers is not None:
            return self.config.data.workers
        accelerators = [device for device in self.mesh.local_devices if device.platform != "cpu"]
        return data.choose_workers(self.source, resolution, len(accelerators))

    def next_batch(self, batches: Any) -> tuple[jax.Array, jax.Array]:
        """The next images and labels, on the devices."""
        batch = next(batches)
        placed = sharding.put_batch(self.mesh, {name: batch[name] for name in ("image", "label")})
        return placed["image"], placed["label"]

    def begin_stage(self, key: tuple[int, int]) -> dict[str, Any]:
        """The compiled programs of a stage, by name."""
        started = time.monotonic()
        steps = {name: self.compiled.get((name, *key)) for name in self.programs}
        self.compiled.forget_all_but({(name, *key) for name in self.programs})
        waited = time.monotonic() - started
        compiled = f" (compiled in {waited:.0f} s)" if waited > 1 else ""
        workers = self.workers(key[0])
        readers = f"{workers} reader thread{'s' * (workers != 1)}"
        self.log.line(f"{key[0]}x{key[0]} pixels, batch {key[1]}, {readers}{compiled}")
        for trouble in self.compiled.trouble():
            self.log.line(f"Preparing this stage in the background failed: {trouble}")
        return steps

    def compile_following(self, key: tuple[int, int], nimg: int) -> None:
        """Begin to compile what follows the stage of ``key``, in the background: its programs, and its grid's."""
        later = [p for p in schedule.phases(self.config) if nimg < p.start < self.total]
        upcoming = [p for p in later if (p.resolution, p.batch_size) != key]
        if upcoming and self.ahead:
            self.compile_ahead(upcoming[0])
            self.compiled.run(functools.partial(self.warm_up, upcoming[0].resolution, upcoming[0].batch_size))
            if upcoming[0].resolution != key[0] and processes.is_main():
                self.compiled.run(functools.partial(self.rehearse, upcoming[0].resolution))

    def rehearse(self, resolution: int) -> None:
        """Compute what a tick does at a resolution, on zeros, so that it is compiled before."""
        self.pictures.rehearse(resolution)
        if jax.default_backend() != "cpu":  # where the doctor compiles nothing
            g = sharding.local(sharding.put_replicated(self.mesh, blank_state(self.config).g))
            doctor.of_weights(g, g, np.zeros((NUM_STYLES, self.config.generator.w_dim), np.float32), resolution)

    def compile_ahead(self, stage: Stage | schedule.Phase) -> None:
        """Begin to compile the programs of a stage in the background."""
        for name in self.programs:
            self.compiled.start((name, stage.resolution, stage.batch_size))

    def warm_up(self, resolution: int, batch: int) -> None:
        """Run the programs of a stage once, if they are compiled."""
        programs = [self.compiled.ready((name, resolution, batch)) for name in self.programs]
        if None not in programs:
            warmup.warm_up(self.config, self.mesh, programs, resolution, batch)

    def report(self, state: TrainState, stage: Stage, nimg: int, clock: Clock) -> None:
        """What happens at a tick: scalars, the progress line, a grid of samples, what the doctor says."""
        means = self.means.take()
        if not processes.is_main():
            return
        jax.block_until_ready(state.nimg)
        speed = clock.speed(nimg)
        phase_left, run_left = seconds_left(self.config, nimg, stage.resolution, speed)
        w = self.pictures.styles(state, stage)
        means |= doctor.vitals(means, self.config, sharding.local(state), w, stage.resolution)
        scalars = means | {
            "Progress/skipped": self.means.skipped,
            "Progress/kimg": nimg / 1000,
            "Progress/resolution": stage.resolution,
            "Progress/alpha": stage.alpha,
            "Progress/batch_size": stage.batch_size,
            "Progress/learning_rate": stage.learning_rate,
            "Timing/sec_per_kimg": 1000 / speed,
            "Timing/img_per_sec": speed,
            "Timing/total_sec": clock.total(),
        }
        self.log.scalars(nimg, scalars)
        losses = "no finite losses"
        if "Loss/G/loss" in means:
            losses = f"G {means['Loss/G/loss']:.3f}  D {means['Loss/D/loss']:.3f}"
        if "Loss/r1_penalty" in means:
            losses += f"  R1 {means['Loss/r1_penalty']:.3g}"
        if "Loss/path_length" in means:
            losses += f"  path {means['Loss/path_length']:.3g}"
        if "Progress/augment" in means:
            losses += f"  augment {means['Progress/augment']:.3f}"
        fading = f" alpha {stage.alpha:.2f}" if stage.alpha < 1 else ""
        self.log.line(
            f"kimg {nimg / 1000:<8g} {stage.resolution}x{stage.resolution}{fading:<11}  {speed:7.1f} img/s  "
            f"{1000 / speed:7.2f} s/kimg  phase {duration(phase_left)} left, run {duration(run_left)}  {losses}"
        )
        for sentence in self.doctor.look(scalars):
            self.log.line(f"Doctor: {sentence}")
            self.log.board_text(nimg, "Doctor", sentence)
        self.pictures.save_fakes(state, stage, nimg)
        clock.restart(nimg)


def _scalars(stage: Stage) -> tuple[np.ndarray, np.ndarray]:
    return np.asarray(stage.alpha, np.float32), np.asarray(stage.learning_rate, np.float32)
