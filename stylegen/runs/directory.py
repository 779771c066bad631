"""The run directory: its configuration, log, scalars and image grids.

Every run has ``config.json``, ``log.txt``, ``stats.jsonl`` (one line of scalars a tick), ``tensorboard/``,
``reals.png``, ``fakes000123.png`` by kimg, ``fakes.png`` (the newest of them), ``checkpoints/`` (see
``checkpoint``) and ``snapshots/`` (see ``snapshots``). With augmentation there is ``augmented.png``. With
``run.metrics`` there are ``metric-<name>.jsonl``, ``metrics.png`` and ``best.safetensors`` (see
``evaluation.during_training``). ``rollbacks.json`` is there if the run has gone back (see ``rollback``).
``stats.jsonl.damaged`` has the lines of ``stats.jsonl`` that could not be read.
"""

import hashlib
import math
import os
import shutil
import time
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, Self

import numpy as np

from stylegen import config_json
from stylegen.config import Config, ConfigError
from stylegen.config_json import differences, to_json
from stylegen.errors import StylegenError
from stylegen.io import files, images, json_lines
from stylegen.io.objects import is_url
from stylegen.io.progress import Progress
from stylegen.paths import expanded
from stylegen.runs import loggers, settings
from stylegen.runs.loggers import BOARD_NAME as BOARD_NAME
from stylegen.runs.settings import CONFIG_NAME

STATS_NAME, TEXT_NAME = "stats.jsonl", "log.txt"
SHARED = ".shared-"  # begins the name of the file by which hosts find out whether they share the directory
OWNER_TOKEN = ".owner"  # in a working copy: that nobody else has gone on with the run
LEFTOVERS = (files.PARTIAL, f"{SHARED}*", OWNER_TOKEN)  # what a run that ends before it begins may leave
RUN_FILES = (  # patterns of all that a run writes
    *(*LEFTOVERS, CONFIG_NAME, TEXT_NAME, STATS_NAME, "rollbacks.json", "checkpoints", "snapshots", "power_ema"),
    *loggers.RUN_FILES,
    *("reals.png", "fakes*.png", "augmented.png", "metric-*.jsonl", "metrics.png", "best.safetensors", "import.txt"),
    "*.jsonl.damaged",
)
MAX_BOARD_SIDE = 1024  # pixels of a grid for loggers; TensorBoard keeps them all in one file


def last_lines(folder: Path) -> dict[str, int]:
    """The images shown at the last line of each file of lines, by its name: what a checkpoint knows of them."""
    positions = {path.name: json_lines.last_position(path) for path in sorted(folder.glob("*.jsonl"))}
    return {name: nimg for name, nimg in positions.items() if nimg is not None}


def lost_lines(folder: Path, known: dict[str, int]) -> list[str]:
    """A sentence for each file that ends before the line that a checkpoint knows of (``last_lines``)."""
    there = last_lines(folder)
    return [
        f"{folder / name}: lines are lost. It had some up to {nimg / 1000:g} kimg, and now has "
        + (f"them up to {there[name] / 1000:g} kimg." if name in there else "none.")
        for name, nimg in known.items()
        if there.get(name, -1) < nimg
    ]


class RunError(StylegenError):
    """The run directory cannot be used; the message says why and what to do."""


def working_copy(url: str, suffix: str = "") -> Path:
    """The folder of this machine in which a run in an object store is worked on; see ``mirror``.

    With a suffix, such as ``.read``, another folder beside it, for those who only read.
    """
    name = url.rstrip("/").rpartition("/")[2]
    digest = hashlib.sha256(url.rstrip("/").encode()).hexdigest()[:12]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "stylegen" / "runs" / f"{name}-{digest}{suffix}"


def folder_of(run_dir: str) -> Path:
    """The folder of this machine that ``run.dir`` means: itself, or the working copy of a URL."""
    return working_copy(run_dir) if is_url(run_dir) else expanded(run_dir)


def check_run(config: Config) -> Path:
    """The run directory, if it is free, or holds this run, or may be overwritten. Nothing is written.

    Raises:
        RunError: no directory is given, it holds something else, or a run with another configuration.
    """
    if not config.run.dir:
        raise RunError("run.dir is empty: say where the run goes, for example --run.dir runs/bedroom.")
    folder = folder_of(config.run.dir)
    if folder.exists() and not folder.is_dir():
        raise RunError(f"run.dir = {config.run.dir!r}: there is a file of that name.")
    if (folder / CONFIG_NAME).exists():
        if not config.run.overwrite:
            _check_same(folder, config)
    elif folder.exists() and any(not any(map(path.match, LEFTOVERS)) for path in folder.iterdir()):
        raise RunError(
            f"run.dir = {config.run.dir!r}: holds files, but no run (no {CONFIG_NAME}); give an empty directory."
        )
    return folder


def clear_run(folder: Path) -> None:
    """Delete what a run has written, and nothing else."""
    for pattern in RUN_FILES:
        for path in folder.glob(pattern):
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def tidy(folder: Path) -> None:
    """Delete the incomplete files that a killed process left in a run that this process holds.

    Other verbs may write there meanwhile, such as ``evaluate`` its metrics.
    """
    for place in (folder, folder / "snapshots", folder / "power_ema"):
        files.remove_partial_of_killed(place)


def write_config(folder: Path, config: Config) -> None:
    """Write ``config.json`` atomically."""
    files.write_text(folder / CONFIG_NAME, to_json(config))


def _check_same(folder: Path, config: Config) -> None:
    try:
        old = settings.read(folder, Progress().say)
    except ConfigError as error:
        raise RunError(str(error)) from error
    changes = differences(old, config)
    if changes:
        listed = "\n  ".join(changes)
        raise RunError(
            f"{folder} holds a run with another configuration:\n  {listed}\n"
            "Give the same settings to resume it, another --run.dir, or --run.overwrite to delete it."
        )


class Log:
    """A log that writes nothing: that of all processes but the first. A context manager."""

    def __init__(self, folder: Path):
        self.folder = folder

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the files."""

    def writing(self, name: str) -> AbstractContextManager[None]:
        """A block that writes a file or folder of the run which only informs: a failure is said, and ends nothing."""
        return nullcontext()

    def line(self, text: str) -> None:
        """A line on the console and in ``log.txt``, there with the time."""

    def scalars(self, nimg: int, values: dict[str, float]) -> None:
        """A line of ``stats.jsonl`` and the same scalars to the loggers, by number of images."""

    def board_scalars(self, nimg: int, values: dict[str, float]) -> None:
        """Scalars to the loggers of ``run.log`` alone."""

    def board_text(self, nimg: int, name: str, text: str) -> None:
        """A sentence to the loggers of ``run.log`` alone."""

    def stats(self) -> list[dict[str, Any]]:
        """The lines of ``stats.jsonl`` so far."""
        return []

    def rewind(self, nimg: int) -> None:
        """Forget the scalars beyond ``nimg``, where the run goes on."""

    def grid(
        self, name: str, samples: np.ndarray, columns: int, nimg: int, *, scale: int = 1, newest: str | None = None
    ) -> None:
        """Save uint8 images [n, r, r, C] as a grid ``<name>.png``, and as ``<newest>.png``; give it to the loggers."""


class RunLog(Log):
    """Writes what happens to the console, ``log.txt``, ``stats.jsonl`` and the loggers of ``run.log``.

    A write that fails, of a full disk above all, is said once and does not end the training. Lines and grids are tried
    again the next time; a logger is given up until the run is resumed.
    """

    def __init__(self, folder: Path, nimg: int, config: Config | None = None):
        """Open the files to go on at ``nimg``; lines beyond it, left by a killed run, are dropped.

        Args:
            folder: the run directory.
            nimg: images shown so far.
            config: of the run, which names the loggers; TensorBoard alone if None.
        """
        super().__init__(folder)
        self._best_effort = files.BestEffort(folder, self.line)
        names = ["tensorboard"] if config is None else [name for name in config.run.log.split(",") if name]
        flat = {} if config is None else config_json.flat(config)
        self._loggers = loggers.Several(names, folder, flat, self.line)
        self._open_scalars(nimg)

    def _open_scalars(self, nimg: int) -> None:
        with self._best_effort.writing(STATS_NAME):
            if note := json_lines.set_aside(self.folder / STATS_NAME, json_lines.is_scalars):
                self.line(note)
            json_lines.drop_after(self.folder / STATS_NAME, nimg)
        self._loggers.open(nimg)

    def rewind(self, nimg: int) -> None:
        self._loggers.close()
        self._open_scalars(nimg)

    def stats(self) -> list[dict[str, Any]]:
        return json_lines.read(self.folder / STATS_NAME, json_lines.is_scalars)

    def writing(self, name: str) -> AbstractContextManager[None]:
        return self._best_effort.writing(name)

    def close(self) -> None:
        self._loggers.close()

    def line(self, text: str) -> None:
        with self._best_effort.writing("the console"):
            print(text, flush=True)
        with self._best_effort.writing(TEXT_NAME):
            json_lines.append_text(self.folder / TEXT_NAME, f"{time.strftime('%Y-%m-%d %H:%M:%S')} {text}")

    def scalars(self, nimg: int, values: dict[str, float]) -> None:
        with self._best_effort.writing(STATS_NAME):
            json_lines.append(self.folder / STATS_NAME, {"nimg": nimg, **values})
        self.board_scalars(nimg, values)

    def board_scalars(self, nimg: int, values: dict[str, float]) -> None:
        self._loggers.each(lambda logger: logger.scalars(values, nimg))

    def board_text(self, nimg: int, name: str, text: str) -> None:
        self._loggers.each(lambda logger: logger.text(name, text, nimg))

    def grid(
        self, name: str, samples: np.ndarray, columns: int, nimg: int, *, scale: int = 1, newest: str | None = None
    ) -> None:
        sheet = images.grid(samples, columns, scale)
        kind = name.rstrip("0123456789")
        with self._best_effort.writing(f"{kind}.png"):
            path = self.folder / f"{name}.png"
            images.save_image(sheet, path)
            if newest is not None:
                with files.replacing(self.folder / f"{newest}.png", durable=False) as partial:
                    partial.write_bytes(path.read_bytes())
        if sheet.shape[-1] in (1, 3):
            stride = math.ceil(max(sheet.shape[:2]) / MAX_BOARD_SIDE)
            shown = {kind: sheet[::stride, ::stride]}
            self._loggers.each(lambda logger: logger.images(shown, nimg))
