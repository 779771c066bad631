"""The training loop: schedule, data, step, tick. ``train(config)`` starts a run or resumes it."""

import dataclasses
import sys
import types
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

# Imported here, before threads exist: for a moment the import replaces ``builtins.__import__`` (by that of etils' lazy
# imports). Anything that a compiling thread imports at that moment, as JAX does while it traces, fails.
import grain  # noqa: F401
import jax
import numpy as np
from jax.sharding import Mesh

from stylegen import data
from stylegen.config import Config
from stylegen.data.source import class_text
from stylegen.errors import StylegenError
from stylegen.evaluation.during_training import RunMetrics
from stylegen.evaluation.during_training import check as check_metrics
from stylegen.hub import init_from
from stylegen.io.files import exclusive
from stylegen.io.objects import is_url
from stylegen.io.progress import counted
from stylegen.io.signals import check as check_signals
from stylegen.io.signals import stop_requested
from stylegen.runs import directory, loggers, power_ema, rollback, settings, snapshots
from stylegen.runs.checkpoint import Checkpointer, Restored, available
from stylegen.runs.grids import SampleGrids
from stylegen.runs.load import save_generator
from stylegen.runs.mirror import Mirror
from stylegen.runs.report import Reporter
from stylegen.runtime import compilation, processes, sharding
from stylegen.runtime.memory import keep_freed_memory
from stylegen.training import freeze, micro_batches, schedule
from stylegen.training.batches import Batches
from stylegen.training.meters import Clock, Means
from stylegen.training.programs import TRAIN, StagePrograms, Step
from stylegen.training.schedule import Stage
from stylegen.training.state import TrainState, init_state
from stylegen.training.step import Metrics, reset_optimizers

TICKS = 200  # in a run, where run.tick_kimg does not say
TICKS_PER_CHECKPOINT = 10  # where run.checkpoint_kimg does not say,
MAX_CHECKPOINT_NIMG = 200_000  # but not less often than this


class TrainingError(StylegenError):
    """Training went wrong; the message says how, and what is saved."""


class Hooks:
    """Callbacks of the loop, for benchmarks, tests and notebooks. The methods here do nothing.

    Subclass it and override some: ``train(config, hooks=MyHooks())``. Hooks see the state on the devices, and the next
    step donates its buffers: fetch the arrays to keep.
    """

    def on_stage(self, stage: Stage, steps: dict[str, Step], programs: StagePrograms) -> dict[str, Step]:
        """A stage begins, its programs compiled; returns the steps to use, by name."""
        return steps

    def on_step(self, state: TrainState, metrics: Metrics, nimg: int) -> None:
        """A step has been taken, and the regularization steps due after it; ``nimg`` images have been shown."""

    def on_tick(self, state: TrainState, scalars: dict[str, float], nimg: int) -> None:
        """A tick was reported; the scalars are those of the log, none but in process 0."""

    def part(self, name: str) -> AbstractContextManager[Any]:
        """Around a part of the loop other than its steps: named in a profiler's trace."""
        return jax.profiler.TraceAnnotation(name)


def train(config: Config, hooks: Hooks | None = None) -> Path:
    """Train, from the beginning or from the newest good checkpoint in ``run.dir``, to the end of the schedule.

    SIGTERM and Ctrl-C save and return; the same call goes on from there, with the same result as an uninterrupted run.

    Args:
        config: the run.
        hooks: callbacks of the loop.

    Returns:
        The run directory; of a run in an object store, its working copy on this machine.

    Raises:
        RunError: the directory cannot be used, or holds another run.
        DataError: the data cannot be used.
        ConfigError: the devices do not fit the configuration.
        CheckpointError: no checkpoint of the run is good, or saving failed.
        TrainingError: the losses are not finite again and again; what was saved before is still there.
        TransferError: ``run.init_from`` names nothing to start from, or weights that do not fit.
        EvaluationError, WeightsError: ``run.metrics`` cannot be measured.
        ProcessError: there are several processes, which do not fit together.
        StoreError: the object store of ``run.dir`` cannot be read at the beginning, or written to at the end.
    """
    with processes.running(config.distributed):
        return _train(config, hooks or Hooks())


def _train(config: Config, hooks: Hooks) -> Path:
    notes = _prepare_process(config)
    mesh = sharding.make_mesh(config)
    main = processes.is_main()
    folder, remote = directory.folder_of(config.run.dir), is_url(config.run.dir)
    mirror = Mirror(config.run.dir, folder) if remote and main else None
    if mirror is not None and not config.run.overwrite:
        mirror.pull()
    if main:
        directory.check_run(config)
    resumes = processes.broadcast(main and not config.run.overwrite and bool(available(folder)))
    config, source = _open_data(config, renew=not resumes)
    metrics = RunMetrics(config, folder, source) if config.run.metrics else None
    if config.run.freeze:
        freeze.frozen(config)
    with processes.main_first():  # the one that fetches what is elsewhere
        transfer = init_from.read(config) if config.run.init_from and not resumes else None
    if jax.process_count() == 1:  # of several, all must stop at the same step
        check_signals()
    with _locked(folder) if main else nullcontext():
        if main and config.run.overwrite:
            directory.clear_run(folder)
        if main:
            directory.tidy(folder)
        if mirror is not None:
            mirror.take_over(clear=config.run.overwrite)
        if not remote:
            processes.check_shared(folder, directory.SHARED)
        keep_every = config.run.keep_every_kimg
        keep_nimg = round(keep_every * 1000) if keep_every else None
        with Checkpointer(
            folder, config, keep_last=config.run.keep_last, keep_every_nimg=keep_nimg, shared=not remote
        ) as checkpointer:
            restored = checkpointer.restore(sharding.replicated(mesh), log=notes.append)
            notes += _check_resumed(restored, config, source, folder) if restored else []
            if main:
                directory.write_config(folder, config)
            nimg = restored.meta.nimg if restored else 0
            with (
                mirror.copying() if mirror is not None else nullcontext(),  # to the last line of the log
                directory.RunLog(folder, nimg, config) if main else directory.Log(folder) as log,
                stop_requested() as stop,
            ):
                if mirror is not None:
                    mirror.say = log.line
                verb = "Resuming" if restored else "Starting"
                notes.append(f"{verb} {folder} at {nimg / 1000:g} kimg: {source.description}")
                for note in [*notes, *_circumstances(config, mesh, source, restored, transfer)]:
                    log.line(note)
                if metrics is not None and main:
                    for line in [*metrics.forget_after(nimg), *metrics.expected()]:
                        log.line(line)
                if restored and main:
                    for line in directory.lost_lines(folder, restored.meta.extra.get("lines", {})):
                        log.line(line)
                vote = sharding.StopVote(mesh, stop.is_set)
                loop = _Loop(config, mesh, source, checkpointer, log, vote, metrics, transfer, hooks, mirror)
                with processes.computing():
                    loop.run(restored)
    return folder


def _prepare_process(config: Config) -> list[str]:
    """Set up this process, and check what needs neither devices nor data; returns what the log should say of it."""
    keep_freed_memory()
    cache_trouble = compilation.use_cache(config.run.compilation_cache)
    processes.check_same_config(config)
    check_metrics(config)
    if processes.is_main():
        loggers.check(name for name in config.run.log.split(",") if name)
    return [cache_trouble] if cache_trouble else []


def _open_data(config: Config, *, renew: bool) -> tuple[Config, data.ImageSource]:
    """The source of the images, the same in all processes, and the configuration with what it says of itself."""
    with processes.main_first():  # the one that prepares what is raw
        source = data.open_source(config, renew=renew)
    if source.fingerprint != processes.broadcast(source.fingerprint):
        raise data.DataError(f"{source.description} is not the same here as in process 0.")
    return data.with_channel_stats(data.with_class_names(config, source), source), source


def _check_resumed(restored: Restored, config: Config, source: data.ImageSource, folder: Path) -> list[str]:
    """Raise RunError if the data are others than the checkpoint's; returns what the log should say of the settings."""
    if restored.meta.extra.get("data") not in (source.fingerprint, *source.earlier_fingerprints):
        raise directory.RunError(
            f"{folder} was trained on other data than {source.description} is now, and would not be the same "
            "run. Give the data that it began with, or another --run.dir."
        )
    changed = settings.changes(restored.meta.config, config)
    return [f"Changed since the checkpoint: {'; '.join(changed)}"] if changed else []


def _circumstances(
    config: Config,
    mesh: Mesh,
    source: data.ImageSource,
    restored: Restored | None,
    transfer: init_from.Transfer | None,
) -> Iterator[str]:
    """What the log says when a run begins or goes on: other devices, classes, the weights it starts from."""
    if restored and "layout" in restored.meta.extra:
        yield sharding.layout_change(restored.meta.extra["layout"], sharding.layout(config, mesh))
    if config.num_classes:
        yield f"Labels are the numbers of {class_text(source.class_names)}"
    if transfer and not restored:
        yield transfer.text


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    folder.mkdir(parents=True, exist_ok=True)
    with exclusive(folder, directory.RunError(f"{folder} is in use: another process trains there.")):
        yield


@dataclasses.dataclass
class _Loop:
    """Batch, step, regularization, account, checkpoint, until the schedule ends or someone asks to stop."""

    config: Config
    mesh: Mesh
    source: data.ImageSource
    checkpointer: Checkpointer
    log: directory.Log
    stop: sharding.StopVote
    metrics: RunMetrics | None
    transfer: init_from.Transfer | None
    hooks: Hooks
    mirror: Mirror | None = None

    def __post_init__(self) -> None:
        config, mesh, source, log = self.config, self.mesh, self.source, self.log
        self.total = schedule.total_nimg(config)
        self.tick = _interval(config.run.tick_kimg, self.total // TICKS)
        default = min(self.tick * TICKS_PER_CHECKPOINT, MAX_CHECKPOINT_NIMG)
        self.checkpoint_every = _interval(config.run.checkpoint_kimg, default)
        self.snapshot_every = (
            0 if config.run.snapshot_kimg == 0 else _interval(config.run.snapshot_kimg, self.total // snapshots.KEPT)
        )
        self.programs = StagePrograms(config, mesh)
        self.batches = Batches(config, source, mesh)
        self.grids = SampleGrids(config, mesh, source, log)
        self.reporter = Reporter(config, mesh, log, self.grids, source.num_images)
        self.rollbacks = rollback.read(log.folder)
        self.means = Means()

    def _size(self, stage: Stage) -> str:
        rows, columns = self.config.shape_at(stage.resolution)
        return f"{columns}x{rows}"

    def run(self, restored: Restored | None) -> None:
        """Train from a checkpoint, or from the beginning, to the end, or until asked to stop."""
        state, nimg, phase = self.load(restored)
        stage = schedule.at(self.config, max(nimg - 1, 0))
        self.prepare(state, nimg)
        clock = Clock(nimg)
        try:
            while nimg < self.total and not self.stop():
                stage = schedule.at(self.config, nimg)
                if stage.phase != phase:
                    state, phase = self.reset(state), stage.phase
                begins = self.batches.size != (stage.resolution, stage.batch_size)
                if begins:
                    steps = self.begin_stage(stage, nimg)
                    clock.restart(nimg)
                with self.hooks.part("next batch"):
                    arguments = *self.batches.next(), np.float32(stage.alpha), np.float32(stage.learning_rate)
                state, metrics = steps[TRAIN](state, *arguments)
                if begins:  # only now: tracing keeps the interpreter from handing the first step to the device
                    rehearse = self.reporter.rehearse if processes.is_main() else None
                    self.programs.start_next(stage, nimg, rehearse)
                for name in self.programs.due(nimg, stage.batch_size):
                    state, penalty = steps[name](state, *arguments)
                    metrics = metrics | penalty
                self.means.add(metrics)
                before, nimg = nimg, nimg + stage.batch_size
                self.hooks.on_step(state, metrics, nimg)
                if self.account(state, stage, before, nimg, clock):
                    continue
                del state
                state, nimg, phase = self.roll_back(nimg)
                self.batches.close()
            self.means.settle()
        except jax.errors.JaxRuntimeError as error:
            if "RESOURCE_EXHAUSTED" not in str(error):
                raise
            raise TrainingError(
                micro_batches.out_of_memory(self.config, stage.resolution, self.mesh.devices.size)
            ) from error
        finally:
            self.programs.close()
            self.batches.close()
        self.finish(state, stage, nimg)

    def account(self, state: TrainState, stage: Stage, before: int, nimg: int, clock: Clock) -> bool:
        """Carry out what is due after a step from ``before`` to ``nimg`` images: report, metrics, checkpoint.

        Returns:
            Whether to go on; False where so many updates were skipped in a row that the run must go back.
        """
        ticks = nimg // self.tick != before // self.tick or nimg >= self.total
        saves = nimg // self.checkpoint_every != before // self.checkpoint_every
        measures = self.metrics is not None and self.metrics.due(before, nimg)
        if ticks or saves or measures:
            self.means.settle()
        if self.means.in_a_row >= self.config.run.max_skipped and nimg < self.total:
            return False
        if ticks:
            with self.hooks.part("report"):
                scalars = self.reporter.tick(state, stage, nimg, self.means, clock)
            self.hooks.on_tick(state, scalars, nimg)
        else:
            self.reporter.early(stage, nimg, self.tick, clock)
        if measures:
            with self.hooks.part("metrics"):
                self.measure(state, stage, nimg, clock)
        if saves and not self.means.in_a_row:
            with self.hooks.part("checkpoint"):
                self.save(state, stage)
        if self.mirror is not None and (ticks or saves):
            self.mirror.wake()
        return True

    def load(self, restored: Restored | None) -> tuple[TrainState, int, int]:
        """The state to go on from, a checkpoint's or the initial one: (state, nimg, phase of the last step taken)."""
        extra = restored.meta.extra if restored else {}
        state = restored.state if restored else None
        if state is None:
            state = sharding.put_replicated(self.mesh, init_from.apply(init_state(self.config), self.transfer))
        if len(self.rollbacks) < extra.get("rollbacks", 0):
            self.log.line(
                f"{rollback.NAME} has {counted(len(self.rollbacks), 'rollback')} where the checkpoint knows "
                f"{extra['rollbacks']}: the order of the images from here on is another one than without that loss."
            )
        if len(self.rollbacks) > extra.get("rollbacks", 0):
            key = rollback.other_key(sharding.local(state.key), len(self.rollbacks))
            state = dataclasses.replace(state, key=sharding.put_replicated(self.mesh, key))
        nimg, phase = (restored.meta.nimg, restored.meta.phase) if restored else (0, 0)
        if processes.is_main():
            power_ema.forget_after(self.log.folder, nimg)
            snapshots.forget_after(self.log.folder, nimg)
        self.means = Means(extra.get("skipped", 0))
        self.reporter.restart()
        return state, nimg, phase

    def prepare(self, state: TrainState, nimg: int) -> None:
        """Begin to compile the first stage, and draw a run's first grids."""
        if nimg < self.total:
            self.programs.start(schedule.at(self.config, nimg))
        if not self.programs.compiles_ahead and self.config.run.compile_ahead is None:
            self.log.line("Each stage is compiled when it begins: on a GPU, compiling times kernels on the card.")
        if nimg == 0 and processes.is_main():
            self.grids.save_reals()
            self.grids.save_fakes(state, schedule.at(self.config, 0), 0)

    def reset(self, state: TrainState) -> TrainState:
        """The state with Adam's moments forgotten, on the devices."""
        with self.hooks.part("reset"):
            forgotten = reset_optimizers(state)
            moments = {"g_opt": forgotten.g_opt, "d_opt": forgotten.d_opt}
            return dataclasses.replace(state, **sharding.put_replicated(self.mesh, moments))

    def begin_stage(self, stage: Stage, nimg: int) -> dict[str, Step]:
        """Begin to read for a stage; returns its compiled steps by name."""
        with self.hooks.part("open data"):
            seed = rollback.order_seed(self.config.data.seed, len(self.rollbacks))
            self.batches.begin(stage, nimg, seed)
        if not self.programs.ready(stage):
            self.log.line(f"Compiling the steps of {self._size(stage)} pixels ...")
        with self.hooks.part("compile"):
            steps, waited = self.programs.begin(stage)
        compiled = f" (compiled in {waited:.0f} s)" if waited > 1 else ""
        workers = self.batches.workers(stage.resolution)
        self.log.line(
            f"{self._size(stage)} pixels, batch {stage.batch_size}, {counted(workers, 'reader thread')}{compiled}"
        )
        for trouble in self.programs.trouble():
            self.log.line(f"Preparing this stage in the background failed: {trouble}")
        return self.hooks.on_stage(stage, steps, self.programs)

    def roll_back(self, nimg: int) -> tuple[TrainState, int, int]:
        """Go back to the last checkpoint that training advanced from, with other randomness; returns as ``load``.

        Raises:
            TrainingError: ``run.max_rollbacks`` is reached.
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
        if self.metrics is not None and processes.is_main():
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
        self.log.line(self.metrics.announcement())
        scalars, text = self.metrics.measure(self.grids.generator(state, stage), nimg)
        self.log.board_scalars(nimg, scalars)
        self.log.line(text)
        clock.restart(nimg)

    def save(self, state: TrainState, stage: Stage) -> None:
        """Start writing a checkpoint; write a snapshot, if one is due."""
        extra = {
            "data": self.source.fingerprint,
            "rollbacks": len(self.rollbacks),
            "skipped": self.means.skipped,
            "layout": sharding.layout(self.config, self.mesh),
            "lines": directory.last_lines(self.log.folder) if processes.is_main() else {},
        }
        self.checkpointer.save(state, stage, extra=extra)
        if processes.is_main() and state.power_ema is not None:
            local = sharding.local({"power_ema": state.power_ema, "noise_const": state.noise_const, "nimg": state.nimg})
            with self.log.writing(power_ema.FOLDER):
                power_ema.save(self.log.folder, self.config, dataclasses.replace(state, **local), stage)
        nimg = self.checkpointer.latest or 0
        if processes.is_main() and self.snapshot_every and snapshots.is_due(self.log.folder, nimg, self.snapshot_every):
            with self.log.writing(snapshots.NAME):
                save_generator(self.grids.generator(state, stage), snapshots.path_of(self.log.folder, nimg))

    def finish(self, state: TrainState, stage: Stage, nimg: int) -> None:
        """Save where the run is, unless that is saved, and say so."""
        # While updates are being skipped, the state may be lost: a resumed run gets here again and can go back.
        astray = self.means.in_a_row > 0 and nimg < self.total
        if self.checkpointer.latest != nimg and nimg > 0 and not astray:
            self.save(state, stage)
        self.checkpointer.wait()
        place = f"{(self.checkpointer.latest or 0) / 1000:g} kimg, before updates were skipped" if astray else "here"
        outcome = "Finished" if nimg >= self.total else f"Stopped; the same command goes on from {place}"
        self.log.line(f"{outcome}: {nimg / 1000:g} kimg in {self.log.folder}, newest samples in fakes.png")
        if self.programs.running():
            self.log.line("Everything is saved. Waiting for a compilation to end, which cannot be interrupted.")


def _interval(kimg: float | None, default: int) -> int:
    """Images between two events of a kind, 1 at least; ``default`` where the configuration does not say."""
    return max(round(kimg * 1000) if kimg else default, 1)


class _CallableModule(types.ModuleType):
    """``stylegen.train(config)`` is the function above, although ``stylegen.train`` is this module.

    Importing a submodule binds its name in the package, whatever the package had there before.
    """

    def __call__(self, config: Config, hooks: Hooks | None = None) -> Path:
        return train(config, hooks)


sys.modules[__name__].__class__ = _CallableModule
