"""The settings of a run: those in its config.json, which every checkpoint repeats.

A checkpoint's copy has a checksum. It stands in for a config.json that is damaged, and shows where one has changed.
"""

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from stylegen import config_json
from stylegen.config import Config, ConfigError
from stylegen.io.progress import in_kimg

CONFIG_NAME = "config.json"
# Settings that decide what a generator computes from its weights.
OF_GENERATOR = ("resolution", "image_channels", "num_classes", "generator.")


def read(folder: Path, say: Callable[[str], None]) -> Config:
    """The configuration of the run in a folder.

    Args:
        folder: the run directory.
        say: told that config.json cannot be read, and that the newest checkpoint's copy is taken.

    Raises:
        ConfigError: neither can be read; names config.json.
    """
    try:
        return config_json.read(folder / CONFIG_NAME)
    except ConfigError as error:
        if not (folder / CONFIG_NAME).exists() or (found := _newest_copy(folder)) is None:
            raise
        nimg, config = found
        say(f"{error} Taking the settings from the checkpoint at {in_kimg(nimg)} kimg.")
        return dataclasses.replace(config, run=dataclasses.replace(config.run, dir=str(folder)))


def of_checkpoint(tree: Mapping[str, Any]) -> Config | None:
    """The configuration in a checkpoint's description; None if it is one of another version."""
    try:
        return config_json.from_tree(dict(tree))
    except ConfigError:
        return None


def conflicts(tree: Mapping[str, Any], config: Config) -> list[str]:
    """Settings in which a checkpoint's description and a configuration are different runs: ``name: old -> new``."""
    saved = of_checkpoint(tree)
    return config_json.differences(saved, config) if saved else []


def changes(tree: Mapping[str, Any], config: Config) -> list[str]:
    """Settings that have changed since a checkpoint, and may: ``name: old -> new``. Paths of a machine are left out."""
    saved = of_checkpoint(tree)
    return config_json.differences(saved, config, (*config_json.LOCAL, "run.overwrite")) if saved else []


def _newest_copy(folder: Path) -> tuple[int, Config] | None:
    from stylegen.runs import checkpoint_files, checkpoint_layout  # which import JAX: for damaged runs alone
    from stylegen.untrusted import FileError, json_text

    for nimg in reversed(checkpoint_files.available(folder)):
        path = checkpoint_files.step_dir(checkpoint_files.folder(folder), nimg) / "meta" / "metadata"
        try:
            config = of_checkpoint(checkpoint_layout.unseal(json_text.read(path)).config)
        except (OSError, FileError, checkpoint_layout.CheckpointError, checkpoint_layout.Damaged):
            continue
        if config is not None:
            return nimg, config
    return None
