"""What a run's newest good checkpoint holds, for those who only read: its configuration, generator and state."""

import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from stylegen.config import Config, ConfigError
from stylegen.io.progress import in_kimg
from stylegen.networks.generator import Generator
from stylegen.paths import expanded
from stylegen.runs import checkpoint_files, checkpoint_layout, settings
from stylegen.runs.checkpoint.items import check_settings, read_meta, read_tree
from stylegen.runs.checkpoint_files import available
from stylegen.runs.checkpoint_layout import CheckpointError, Meta
from stylegen.runtime import sharding
from stylegen.training.state import GENERATOR_FIELDS, TrainState, abstract_state

Log = Callable[[str], None]


def warn(message: str) -> None:
    """Warn at the line that called the public function, two calls above; the default ``log``."""
    warnings.warn(message, stacklevel=3)


def read_config(run_dir: str | Path, *, log: Log = warn) -> Config:
    """The configuration that a run was started with.

    Args:
        run_dir: the run's directory.
        log: told that its config.json is damaged and a checkpoint's copy is taken; warns by default.

    Raises:
        CheckpointError: there is no such directory, it is no run's, or its config.json cannot be used.
    """
    run_dir = expanded(run_dir)
    path = run_dir / "config.json"
    if not run_dir.is_dir():
        why = "it is a file" if run_dir.exists() else "it does not exist"
        raise CheckpointError(f"{run_dir} is no run directory: {why}.")
    if not path.is_file():
        raise CheckpointError(f"{run_dir} is no run directory: it has no config.json.")
    try:
        return settings.read(run_dir, log)
    except ConfigError as error:
        raise CheckpointError(str(error)) from error


def load_generator(run_dir: str | Path, kimg: float | None = None, *, log: Log = warn) -> Generator:
    """The generator of a run's newest good checkpoint: averaged weights, at the resolution and alpha of their stage.

    Reads the ``ema`` item alone and changes nothing in the run directory, so it may run beside the training.

    Args:
        run_dir: the run's directory.
        kimg: which checkpoint, in thousands of images: the nearest one, if it is within half a kimg.
        log: told of every newer checkpoint that is damaged; warns by default.

    Raises:
        CheckpointError: no run, no such checkpoint, none that is good, or one that does not fit the run's config.json.
    """
    config, meta, ema = _load(run_dir, kimg, ("ema",), log)
    return Generator(
        config=config,
        **{name: sharding.copies(ema[field], None) for name, field in GENERATOR_FIELDS.items()},
        resolution=meta.resolution,
        alpha=meta.alpha,
        kimg=meta.kimg,
        source=str(checkpoint_files.step_dir(checkpoint_files.folder(run_dir), meta.nimg)),
    )


def load_state(run_dir: str | Path, kimg: float | None = None, *, log: Log = warn) -> tuple[Config, Meta, TrainState]:
    """The state in a run's newest good checkpoint, as host arrays, to start another run from; see ``load_generator``.

    Raises:
        CheckpointError: as ``load_generator`` does.
    """
    config, meta, fields = _load(run_dir, kimg, ("ema", "train"), log)
    return config, meta, TrainState(**fields)


def _load(
    run_dir: str | Path, kimg: float | None, items: Sequence[str], log: Log
) -> tuple[Config, Meta, dict[str, Any]]:
    """Items of a run's newest good checkpoint, or of the one at ``kimg``, as host arrays by field of the state."""
    config = read_config(run_dir, log=log)
    folder, steps = checkpoint_files.folder(run_dir), available(run_dir)
    if not steps:
        raise CheckpointError(f"{run_dir} has no checkpoint yet.")
    if kimg is not None:
        steps = [checkpoint_files.nearest(steps, kimg, run_dir)]
    templates = checkpoint_layout.split(abstract_state(config))

    def read(nimg: int) -> tuple[Meta, dict[str, Any]]:
        meta = read_meta(folder, nimg)
        if meta.resolution not in config.resolutions:
            step = checkpoint_files.step_dir(folder, nimg)
            raise CheckpointError(f"{step} does not fit the configuration: it is of {meta.resolution} pixels.")
        fields: dict[str, Any] = {}
        for item in items:
            fields |= checkpoint_layout.rebuild(templates[item], read_tree(folder, meta, item, templates[item]))
        check_settings(folder, meta, config, settings.OF_GENERATOR)  # shapes say more, where they differ too
        return meta, fields

    (meta, fields), bad = checkpoint_files.newest_good(folder, steps, read)
    for nimg, why in bad.items():
        fallback = f"using the one at {in_kimg(meta.nimg)} kimg"
        log(f"The checkpoint at {in_kimg(nimg)} kimg of {run_dir} is damaged ({why}); {fallback}.")
    return config, meta, fields
