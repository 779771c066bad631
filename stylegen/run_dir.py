"""The run directory: its configuration, log, scalars and pictures.

``config.json``, ``log.txt``, ``stats.jsonl`` (one line of scalars a tick), ``tensorboard/``, ``reals.png``,
``fakes000123.png`` by kimg, ``fakes.png`` (the newest of them), ``checkpoints/`` (see ``checkpoint``).
"""

import json
import math
import shutil
import time
from pathlib import Path
from typing import Any

import numpy as np

from stylegen import images
from stylegen.config import Config, ConfigError, differences, from_json, to_json

OURS = ("config.json", "log.txt", "stats.jsonl", "tensorboard", "checkpoints", "reals.png", "fakes*.png")


class RunError(ValueError):
    """The run directory cannot be used; the message says why and what to do."""


def open_run(config: Config) -> Path:
    """Make the run directory, or check that the one that is there is of the same experiment.

    Raises:
        RunError: no directory is given, it holds something else, or a run with another configuration.
    """
    if not config.run.dir:
        raise RunError("run.dir is empty: say where the run goes, for example --run.dir runs/bedroom.")
    folder = Path(config.run.dir)
    if folder.exists() and not folder.is_dir():
        raise RunError(f"run.dir = {config.run.dir!r}: there is a file of that name.")
    replaces = config.run.overwrite and (folder / "config.json").exists()
    if replaces:
        for pattern in OURS:
            for path in folder.glob(pattern):
                shutil.rmtree(path) if path.is_dir() else path.unlink()
    if (folder / "config.json").exists():
        _check_same(folder, config)
    elif folder.exists() and any(folder.iterdir()) and not replaces:
        raise RunError(
            f"run.dir = {config.run.dir!r}: holds files, but no run (no config.json); give an empty directory."
        )
    folder.mkdir(parents=True, exist_ok=True)
    partial = folder / "config.json.partial"
    partial.write_text(to_json(config))
    partial.replace(folder / "config.json")
    return folder


def _check_same(folder: Path, config: Config) -> None:
    try:
        old = from_json((folder / "config.json").read_text())
    except ConfigError as error:
        raise RunError(f"{folder / 'config.json'}: {error}") from error
    changes = differences(old, config)
    if changes:
        listed = "\n  ".join(changes)
        raise RunError(
            f"{folder} holds a run with another configuration:\n  {listed}\n"
            "Give the same settings to resume it, another --run.dir, or --run.overwrite True to start anew."
        )


class RunLog:
    """Writes what happens to the console, ``log.txt``, ``stats.jsonl`` and TensorBoard. A context manager."""

    def __init__(self, folder: Path, nimg: int):
        """Open the files to go on at ``nimg``; lines beyond it, left by a killed run, are dropped."""
        from tensorboardX import SummaryWriter

        self.folder = folder
        _drop_after(folder / "stats.jsonl", nimg)
        self._text = (folder / "log.txt").open("a", buffering=1)
        self._stats = (folder / "stats.jsonl").open("a", buffering=1)
        self._board = SummaryWriter(str(folder / "tensorboard"), purge_step=nimg, flush_secs=30)

    def __enter__(self) -> "RunLog":
        return self

    def __exit__(self, *exception: object) -> None:
        self._text.close()
        self._stats.close()
        self._board.close()

    def line(self, text: str) -> None:
        """A line on the console and in ``log.txt``, there with the time."""
        print(text, flush=True)
        self._text.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {text}\n")

    def scalars(self, nimg: int, values: dict[str, float]) -> None:
        """A line of ``stats.jsonl`` and the same scalars in TensorBoard, by number of images; nan is left out."""
        finite = {name: value for name, value in values.items() if not math.isnan(value)}
        self._stats.write(json.dumps({"nimg": nimg, **finite}) + "\n")
        for name, value in finite.items():
            self._board.add_scalar(name, value, nimg)

    def grid(self, name: str, pictures: np.ndarray, columns: int, nimg: int, scale: int = 1) -> Path:
        """Save uint8 pictures [n, r, r, C] as a grid ``<name>.png`` and show it in TensorBoard."""
        path = self.folder / f"{name}.png"
        picture = images.grid(pictures, columns, scale)
        images.save_image(picture, path)
        if picture.shape[-1] in (1, 3):
            self._board.add_image(name.rstrip("0123456789"), picture, nimg, dataformats="HWC")
        return path


def _drop_after(path: Path, nimg: int) -> None:
    """Keep the lines of a stats file up to ``nimg`` (whole ones: a killed run may have left half a line)."""
    if not path.exists():
        return
    kept: list[str] = []
    for text in path.read_text().splitlines():
        try:
            record: dict[str, Any] = json.loads(text)
        except json.JSONDecodeError:
            continue
        if record["nimg"] <= nimg:
            kept.append(text + "\n")
    path.write_text("".join(kept))
