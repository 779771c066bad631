"""Reads the three orbax items of a checkpoint, each of them verified: what is read is what was written."""

import os
import re
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp

from stylegen.config import Config
from stylegen.io.progress import in_kimg
from stylegen.networks.trees import by_path
from stylegen.runs import checkpoint_files, checkpoint_layout, settings
from stylegen.runs.checkpoint_layout import CheckpointError, Damaged, Meta
from stylegen.runs.orbax_messages import hushed


def read_item(path: Path, handler: ocp.CheckpointHandler, args: Any) -> Any:
    """One orbax item. Raises Damaged whatever orbax raises: missing and broken files give errors of many kinds."""
    if not path.is_dir():
        raise Damaged(f"{path.name} is missing")
    # Each process reads for itself; orbax would have it wait for all others.
    try:
        with hushed(), ocp.Checkpointer(handler, multiprocessing_options=by_itself("reader")) as reader:
            return reader.restore(path, args=args)
    except MemoryError:
        raise
    except Exception as error:
        raise Damaged(f"{path.name}: {reason(error)}") from error


def by_itself(what: str) -> ocp.options.MultiprocessingOptions:
    """For orbax in one of several processes, whatever the others do."""
    me = jax.process_index()
    return ocp.options.MultiprocessingOptions(
        primary_host=me, active_processes={me}, barrier_sync_key_prefix=f"{what}{me}"
    )


def read_meta(folder: Path, nimg: int) -> Meta:
    """The ``meta`` item of a checkpoint, verified; raises as ``layout.unseal`` does."""
    step = checkpoint_files.step_dir(folder, nimg)
    sealed = read_item(step / "meta", ocp.JsonCheckpointHandler(), ocp.args.JsonRestore())
    try:
        meta = checkpoint_layout.unseal(sealed)
    except CheckpointError as error:
        raise CheckpointError(f"{step} cannot be read: {error}.") from error
    if meta.nimg != nimg:
        raise Damaged(f"it holds the state at {in_kimg(meta.nimg)} kimg")
    return meta


def check_settings(folder: Path, meta: Meta, config: Config, of: tuple[str, ...] = ("",)) -> None:
    """Raise CheckpointError if the settings whose names begin with one of ``of`` make another run than was saved."""
    if different := [line for line in settings.conflicts(meta.config, config) if line.startswith(of)]:
        raise CheckpointError(
            f"{folder.parent / settings.CONFIG_NAME} is not what the checkpoint at {in_kimg(meta.nimg)} kimg was saved "
            f"with ({checkpoint_layout.summary(different)}): it was changed, or is damaged. Put the old value back."
        )


def read_tree(folder: Path, meta: Meta, item: str, template: dict[str, Any]) -> dict[str, np.ndarray]:
    """The leaves of an item by path, verified to be those of ``template``, a tree of shapes and dtypes.

    Raises:
        Damaged: something is missing, or not what was written.
        CheckpointError: the item was written with other leaves, shapes or dtypes.
    """
    step = checkpoint_files.step_dir(folder, meta.nimg)
    leaves = by_path(template)
    if problems := checkpoint_layout.misfits(meta, item, leaves):
        raise CheckpointError(f"{step} does not fit the configuration: {checkpoint_layout.summary(problems)}.")
    # As host arrays: the CRCs need them there, and from there they go to any devices, whatever those they came from.
    target = {path: np.empty(leaf.shape, leaf.dtype) for path, leaf in checkpoint_layout.stored_shapes(leaves).items()}
    host = read_item(step / item, ocp.StandardCheckpointHandler(), ocp.args.StandardRestore(target))
    if wrong := checkpoint_layout.corrupted(meta, host):
        raise Damaged(f"{item}: wrong CRC of {checkpoint_layout.summary(wrong)}")
    return host


def reason(error: BaseException) -> str:
    """The gist of an error: orbax's and tensorstore's messages run to pages."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    text = str(error).strip()
    if code := re.search(r"os_error_code='(\d+)'", text):
        return os.strerror(int(code[1]))
    line = text.splitlines()[0].rstrip(".") if text else type(error).__name__
    return line if len(line) <= 200 else f"{line[:200]} …"
