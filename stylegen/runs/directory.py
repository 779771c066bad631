"""The run directory: its configuration, log, scalars and image grids.

``config.json``, ``log.txt``, ``stats.jsonl`` (one line of scalars a tick), ``tensorboard/``, ``reals.png``,
``fakes000123.png`` by kimg, ``fakes.png`` (the newest of them), ``checkpoints/`` (see ``checkpoint``),
``snapshots/`` (see ``snapshots``), ``rollbacks.json`` where the run has gone back (see ``rollback``); with augmentation
also ``augmented.png``; with ``run.metrics`` also ``metric-<name>.jsonl``, ``metrics.png`` and ``best.safetensors`` (see
``evaluation.during_training``); ``stats.jsonl.damaged`` with lines of ``stats.jsonl`` that could not be read.
"""

import math
import shutil
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any, Self

import numpy as np

from stylegen.config import Config, ConfigError
from stylegen.config_json import differences, to_json
from stylegen.errors import StylegenError
from stylegen.io import files, images, json_lines
from stylegen.io.progress import Progress
from stylegen.runs import settings
from stylegen.runs.board import Board
from stylegen.runs.settings import CONFIG_NAME

STATS_NAME, TEXT_NAME, BOARD_NAME = "stats.jsonl", "log.txt", "tensorboard"
SHARED = ".shared-"  # begins the name of the file by which hosts find out whether they share the directory
LEFTOVERS = (files.PARTIAL, f"{SHARED}*")  # what a run that ends before it begins may leave
RUN_FILES = (  # patterns of all that a run writes
    *(*LEFTOVERS, CONFIG_NAME, TEXT_NAME, STATS_NAME, "rollbacks.json", BOARD_NAME, "checkpoints", "snapshots"),
    *("reals.png", "fakes*.png", "augmented.png", "metric-*.jsonl", "metrics.png", "best.safetensors", "import.txt"),
    "*.jsonl.damaged",
)
MAX_BOARD_SIDE = 1024  # pixels of a grid in TensorBoard, which keeps them all in one file


class RunError(StylegenError):
    """The run directory cannot be used; the message says why and what to do."""


def check_run(config: Config) -> Path:
    """The run directory, if it is free, or holds this run, or may be overwritten. Nothing is written.

    Raises:
        RunError: no directory is given, it holds something else, or a run with another configuration.
    """
    if not config.run.dir:
        raise RunError("run.dir is empty: say where the run goes, for example --run.dir runs/bedroom.")
    folder = Path(config.run.dir)
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
        """A line of ``stats.jsonl`` and the same scalars in TensorBoard, by number of images."""

    def board_scalars(self, nimg: int, values: dict[str, float]) -> None:
        """Scalars in TensorBoard alone."""

    def board_text(self, nimg: int, name: str, text: str) -> None:
        """A sentence in TensorBoard alone."""

    def stats(self) -> list[dict[str, Any]]:
        """The lines of ``stats.jsonl`` so far."""
        return []

    def rewind(self, nimg: int) -> None:
        """Forget the scalars beyond ``nimg``, where the run goes on."""

    def grid(
        self, name: str, samples: np.ndarray, columns: int, nimg: int, *, scale: int = 1, newest: str | None = None
    ) -> None:
        """Save uint8 images [n, r, r, C] as a grid ``<name>.png``, and as ``<newest>.png``; show it in TensorBoard."""


class RunLog(Log):
    """Writes what happens to the console, ``log.txt``, ``stats.jsonl`` and TensorBoard.

    A write that fails, of a full disk above all, is said once and does not end the training. Lines and grids are tried
    again the next time; TensorBoard's file is given up until the run is resumed.
    """

    def __init__(self, folder: Path, nimg: int):
        """Open the files to go on at ``nimg``; lines beyond it, left by a killed run, are dropped."""
        super().__init__(folder)
        self._best_effort = files.BestEffort(folder, self.line)
        self._board: Board | None = None
        self._open_scalars(nimg)

    def _open_scalars(self, nimg: int) -> None:
        with self._best_effort.writing(STATS_NAME):
            if note := json_lines.set_aside(self.folder / STATS_NAME, json_lines.is_scalars):
                self.line(note)
            json_lines.drop_after(self.folder / STATS_NAME, nimg)
        with self._best_effort.writing(BOARD_NAME):
            self._board = Board(self.folder / BOARD_NAME, purge_step=nimg)

    @contextmanager
    def _on_board(self) -> Iterator[Board | None]:
        with self._best_effort.writing(BOARD_NAME):
            try:
                yield self._board
            except OSError:
                board, self._board = self._board, None
                if board is not None:
                    with suppress(OSError):  # the same error again, as it has something left to write
                        board.close()
                raise

    def rewind(self, nimg: int) -> None:
        self._close_board()
        self._open_scalars(nimg)

    def stats(self) -> list[dict[str, Any]]:
        return json_lines.read(self.folder / STATS_NAME, json_lines.is_scalars)

    def writing(self, name: str) -> AbstractContextManager[None]:
        return self._best_effort.writing(name)

    def close(self) -> None:
        self._close_board()

    def _close_board(self) -> None:
        with self._on_board() as board:
            if board is not None:
                board.close()
        self._board = None

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
        with self._on_board() as board:
            if board is not None:
                for name, value in values.items():
                    board.scalar(name, value, nimg)

    def board_text(self, nimg: int, name: str, text: str) -> None:
        with self._on_board() as board:
            if board is not None:
                board.text(name, text, nimg)

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
        with self._on_board() as board:
            if board is not None and sheet.shape[-1] in (1, 3):
                stride = math.ceil(max(sheet.shape[:2]) / MAX_BOARD_SIDE)
                board.image(kind, sheet[::stride, ::stride], nimg)
