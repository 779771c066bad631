"""Saves and restores the training state of one run: the only writer of its checkpoints."""

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, TypeVar

import jax
import numpy as np
import orbax.checkpoint as ocp
from jax.sharding import Sharding
from orbax.checkpoint import checkpoint_managers

from stylegen import config_json
from stylegen.config import Config
from stylegen.io import files
from stylegen.io.progress import in_kimg, size
from stylegen.networks.trees import by_path
from stylegen.runs import checkpoint_files, checkpoint_layout
from stylegen.runs.checkpoint.items import by_itself, check_settings, read_meta, read_tree, reason
from stylegen.runs.checkpoint.load import Log, warn
from stylegen.runs.checkpoint_files import available
from stylegen.runs.checkpoint_layout import CheckpointError, Damaged, Meta
from stylegen.runs.checkpoint_sharing import from_process_0
from stylegen.runs.orbax_messages import hushed, stay_hushed
from stylegen.runtime import processes, sharding
from stylegen.training.schedule import Stage
from stylegen.training.state import TrainState, abstract_state

_T = TypeVar("_T")


@dataclass(frozen=True)
class Restored:
    """A training state and its checkpoint's metadata."""

    state: TrainState
    meta: Meta


class Checkpointer:
    """Saves and restores one run's training state; a context manager that waits for the last save when it is left.

    It is the only writer of ``<run>/checkpoints``, and deletes unfinished checkpoints that a killed process left there.
    """

    def __init__(
        self,
        run_dir: str | Path,
        config: Config,
        *,
        keep_last: int,
        keep_every_nimg: int | None = None,
        shared: bool = True,
    ):
        """Open a run's checkpoint folder, creating it if need be.

        Args:
            run_dir: the run's directory.
            config: of the run: what ``restore`` expects to find.
            keep_last: number of newest checkpoints kept.
            keep_every_nimg: also keep for ever the first checkpoint at or after each multiple of so many images.
            shared: all processes see the directory. If not, process 0 alone writes and reads, and gives the others what
                it has restored.

        Raises:
            CheckpointError: the folder cannot be used.
        """
        self._config, self._keep_last, self._keep_every = config, keep_last, keep_every_nimg
        self._folder = checkpoint_files.folder(run_dir)
        self._pending: int | None = None  # nimg of the save that is being written
        self._latest: int | None = None  # of a process that neither writes nor reads
        self._has_failed = False  # some save
        self._alone = not shared and jax.process_count() > 1
        self._open = ExitStack()
        if not self._is_idle:
            self._manager = self._open_manager()

    def _open_manager(self) -> ocp.CheckpointManager:
        """Orbax's manager of the folder; ``close`` closes it."""
        policies: list[checkpoint_managers.PreservationPolicy] = [checkpoint_managers.LatestN(self._keep_last)]
        if self._keep_every is not None:
            policies.append(_FirstAfterEach(self._keep_every))
        options = ocp.CheckpointManagerOptions(
            step_format_fixed_length=checkpoint_files.NAME_LENGTH,
            lightweight_initialize=True,  # looks into no checkpoint, so that a damaged one does no harm
            preservation_policy=checkpoint_managers.AnyPreservationPolicy(policies),
            create=False,
            multiprocessing_options=by_itself("writer") if self._alone else ocp.options.MultiprocessingOptions(),
            async_options=ocp.AsyncOptions(post_finalization_callback=self._sync),
        )
        with ExitStack() as stack:
            stack.enter_context(hushed())
            try:
                self._folder.mkdir(parents=True, exist_ok=True)
                self._delete_unfinished()  # orbax's cleanup_tmp_directories may still be at it when the run ends
                manager = ocp.CheckpointManager(self._folder, options=options)
            except OSError as error:
                raise CheckpointError(f"{self._folder} cannot be used for checkpoints: {reason(error)}.") from error
            stack.callback(self._close_manager)
            self._open = stack.pop_all()
        return manager

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    @property
    def latest(self) -> int | None:
        """nimg of the newest checkpoint, the one being written included; None if there is none."""
        return self._latest if self._is_idle else self._manager.latest_step()

    @property
    def _is_idle(self) -> bool:
        """Whether this is a process that neither writes nor reads."""
        return self._alone and not processes.is_main()

    def save(self, state: TrainState, stage: Stage, extra: Mapping[str, Any] | None = None) -> None:
        """Start writing a checkpoint and return; the state's buffers may be donated at once.

        Blocks for the copy to the host, the CRCs, and the rest of the previous save.

        Args:
            state: to be saved; replicated, if on several devices.
            stage: where growing stands, for those who load the generator.
            extra: anything else that JSON can hold; ``restore`` gives it back in ``meta.extra``.

        Raises:
            CheckpointError: the previous save failed, or this one did not start. The older checkpoints stay.
        """
        self.wait()
        nimg = int(state.nimg)
        if self._is_idle:
            self._latest = nimg
            return
        if self._alone:
            state = sharding.local(state)
        if self.latest is not None and self.latest >= nimg:
            existing = f"{self._folder} already has one at {in_kimg(self.latest)} kimg"
            raise CheckpointError(f"The checkpoint at {in_kimg(nimg)} kimg was not saved: {existing}.")
        self._check_space(nimg, sum(leaf.nbytes for leaf in jax.tree.leaves(state)))
        items: dict[str, Any] = {
            "meta": ocp.args.JsonSave(checkpoint_layout.seal(_describe(self._config, state, stage, extra)))
        }
        for item, tree in checkpoint_layout.split(state).items():
            leaves = checkpoint_layout.stored(by_path(tree))
            # Of one of several processes orbax takes no arrays of JAX. Copies, because the state is donated.
            items[item] = ocp.args.StandardSave(jax.tree.map(np.array, leaves) if self._alone else leaves)
        with self._cleanup(nimg):
            if not self._manager.save(nimg, args=ocp.args.Composite(**items)):
                raise ValueError("orbax declined to")
        self._pending = nimg

    def wait(self) -> None:
        """Block until the last save is on disk.

        Raises:
            CheckpointError: it failed. The older checkpoints stay, and saving may be tried again.
        """
        if self._pending is not None:
            nimg, self._pending = self._pending, None
            with self._cleanup(nimg):
                self._manager.wait_until_finished()

    def close(self) -> None:
        """Wait for the last save and let go of orbax's threads.

        Raises:
            CheckpointError: the last save failed.
        """
        with self._open:
            self.wait()

    def restore(self, placement: Sharding | None = None, *, log: Log = warn) -> Restored | None:
        """The newest good checkpoint, or None where there is none at all.

        Newer checkpoints are damaged, then. They are renamed to ``damaged-NNNNNNNNN``, because orbax does not save at
        or before the newest directory that it sees. Older ones that are not to be kept are deleted: they are what is
        left where a process was killed, or a disk failed, while it deleted them.

        Of several processes, the first chooses the checkpoint, and each reads and verifies it.

        Args:
            placement: where the leaves go, all alike, whatever devices they were saved from; None: the default device.
            log: told of every damaged checkpoint; warns by default.

        Raises:
            CheckpointError: no checkpoint is good (and none is renamed), or it does not fit the configuration.
        """
        self.wait()
        templates = checkpoint_layout.split(abstract_state(self._config))

        def read(nimg: int) -> tuple[Meta, dict[str, dict[str, np.ndarray]]]:
            meta = read_meta(self._folder, nimg)
            trees = {item: read_tree(self._folder, meta, item, tree) for item, tree in templates.items()}
            check_settings(self._folder, meta, self._config)
            return meta, trees

        result = self._find(read, log) if processes.is_main() else None
        chosen = processes.broadcast(result[0].nimg if result else None)
        if chosen is None:
            self._latest = None
            return None
        if not self._is_idle:
            if processes.is_main():
                self._delete_superseded()
            self._manager.reload()  # what was set aside, and deleted
        if self._alone:
            self._latest, result = chosen, from_process_0(result, templates)
        if result is None:
            try:
                result = read(chosen)
            except Damaged as error:
                name = f"The checkpoint at {in_kimg(chosen)} kimg in {self._folder}"
                raise CheckpointError(f"{name} is good where process 0 reads it, but not here: {error}.") from error
        meta, host = result
        fields: dict[str, Any] = {}
        for item, tree in templates.items():
            fields |= checkpoint_layout.rebuild(tree, sharding.copies(host[item], placement))
        return Restored(TrainState(**fields), meta)

    def abandon(self, nimg: int) -> bool:
        """Rename a checkpoint to ``diverged-NNNNNNNNN``, unless it is the only one; all processes call this.

        Returns:
            Whether it was renamed.
        """
        self.wait()
        has_others = processes.broadcast(processes.is_main() and len(available(self._folder.parent)) > 1)
        if has_others:
            if processes.is_main():
                checkpoint_files.set_aside(self._folder, nimg, "diverged")
            processes.barrier()
            if not self._is_idle:
                self._manager.reload()
            if self._alone:
                self._latest = processes.broadcast(self.latest)
        return has_others

    def _find(self, read: Callable[[int], tuple[Meta, _T]], log: Log) -> tuple[Meta, _T] | None:
        """The result of ``read`` for the newest good checkpoint; newer ones are set aside."""
        steps = available(self._folder.parent)
        if not steps:
            return None
        result, bad = checkpoint_files.newest_good(self._folder, steps, read)
        for nimg, why in bad.items():
            name = checkpoint_files.set_aside(self._folder, nimg, "damaged")
            bad_at, used_at = in_kimg(nimg), in_kimg(result[0].nimg)
            log(
                f"The checkpoint at {bad_at} kimg is damaged ({why}) and now called {name}; "
                f"going on from the one at {used_at} kimg."
            )
        return result

    def _close_manager(self) -> None:
        """Let go of orbax's threads."""
        try:
            self._manager.close()
        except Exception:
            if not self._has_failed:
                raise
            self._manager.close()  # it raised what is left of a save whose failure has been said, and stopped there
        if self._has_failed:
            self._delete_unfinished()  # once more: reads and writes under way go on after orbax gives up

    def _delete_unfinished(self) -> None:
        if processes.is_main():
            for path in self._folder.glob("*.orbax-checkpoint-tmp*"):
                shutil.rmtree(path, ignore_errors=True)

    def _delete_superseded(self) -> None:
        """Delete all that the next save would delete; what resists is left to that."""
        steps = available(self._folder.parent)
        keep = set(steps[-self._keep_last :])
        if self._keep_every is not None:
            keep |= {step for step, is_first in zip(steps, _firsts(steps, self._keep_every), strict=True) if is_first}
        for step in set(steps) - keep:
            shutil.rmtree(checkpoint_files.step_dir(self._folder, step), ignore_errors=True)

    def _sync(self) -> None:
        """Put on disk what orbax has written without doing so, before it renames it and deletes an older checkpoint.

        Orbax calls this in a thread of its own. Without it, a power cut could leave a new checkpoint of empty files,
        and no older one.
        """
        if processes.is_main():
            for path in self._folder.glob("*.orbax-checkpoint-tmp*"):
                files.sync_tree(path)

    def _check_space(self, nimg: int, needed: int) -> None:
        # Before writing: a disk that fills up in the middle costs others their writes, and orbax a page of tracebacks.
        free = shutil.disk_usage(self._folder).free
        if free < needed:
            raise CheckpointError(
                f"The checkpoint at {in_kimg(nimg)} kimg was not saved: it takes {size(needed)}, and "
                f"the disk of {self._folder} has {size(free)} left. The older ones are as they were."
            )

    @contextmanager
    def _cleanup(self, nimg: int) -> Iterator[None]:
        """Turn orbax's error into a sentence; leave neither half a checkpoint on disk nor a wrong list in orbax."""
        try:
            yield
        except Exception as error:
            self._has_failed = True
            stay_hushed()
            # A save that fails where it begins goes on in orbax's threads, and fails there too.
            with suppress(Exception):
                self._manager._checkpointer.wait_until_finished()
            self._delete_unfinished()
            # Orbax has struck those that this one would have replaced from its list; they would never be deleted.
            self._manager.reload()
            raise CheckpointError(
                f"The checkpoint at {in_kimg(nimg)} kimg could not be saved in {self._folder}: {reason(error)}. "
                "The older ones are as they were."
            ) from error


def _describe(config: Config, state: TrainState, stage: Stage, extra: Mapping[str, Any] | None) -> Meta:
    nimg = int(state.nimg)
    return Meta(
        nimg=nimg,
        kimg=nimg / 1000,
        resolution=stage.resolution,
        alpha=float(stage.alpha),
        phase=stage.phase,
        config=config_json.to_dict(config),
        extra=dict(extra or {}),
        leaves=checkpoint_layout.describe(by_path(state)),
        versions=checkpoint_layout.versions(),
    )


@dataclass
class _FirstAfterEach(checkpoint_managers.PreservationPolicy):
    """Keeps the first checkpoint at or after each positive multiple of ``nimg``.

    Orbax's own EveryNSteps wants exact multiples, which steps of a batch miss, or drifts off them. A checkpoint that is
    kept stays the first of its stretch, so the rule needs no memory and gives the same answer after a restart.
    """

    nimg: int

    def should_preserve(
        self,
        checkpoints: Sequence[checkpoint_managers.PolicyCheckpointInfo],
        *,
        context: checkpoint_managers.PreservationContext,
    ) -> Sequence[bool]:
        """Which of the checkpoints, oldest first, to keep."""
        return _firsts([info.step for info in checkpoints], self.nimg)


def _firsts(steps: Sequence[int], nimg: int) -> list[bool]:
    """Whether each of these checkpoints, oldest first, is the first at or after a positive multiple of ``nimg``."""
    stretches = [0] + [step // nimg for step in steps]
    return [now > before for before, now in zip(stretches, stretches[1:], strict=False)]
