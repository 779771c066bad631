"""Where people look at a run: TensorBoard, Weights & Biases, MLflow, Trackio. Any number of them, by one protocol.

Each takes scalars, images and texts by the number of images shown. The packages are extras and are imported when they
are asked for. A logger that fails is said once and left out from then on; training goes on. A resumed run goes on in
the same run of the service, whose name is kept in ``loggers.json``.
"""

import functools
import importlib
import importlib.util
import os
import secrets
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from stylegen.config import LOGGERS as NAMES
from stylegen.errors import StylegenError
from stylegen.io import files
from stylegen.runs.board import Board
from stylegen.untrusted import FileError, json_text, shown

BOARD_NAME = "tensorboard"
RUNS_NAME = "loggers.json"
RUN_FILES = (BOARD_NAME, RUNS_NAME, "wandb", "mlflow.db", "mlartifacts")  # in a run directory; trackio's are the user's
PROJECT = "stylegen"  # in every service, where its own variable names no other


class LoggerError(StylegenError):
    """A logger cannot be used; the message says how to get it."""


class Logger(Protocol):
    """Takes what a run reports. Any method may raise any error, after which the logger is not called again."""

    def scalars(self, values: Mapping[str, float], nimg: int) -> None:
        """Numbers by name."""

    def images(self, images: Mapping[str, np.ndarray], nimg: int) -> None:
        """Images by name: uint8 [h, w, 1 or 3]."""

    def text(self, name: str, text: str, nimg: int) -> None:
        """A sentence."""

    def close(self) -> None:
        """The run ends, or pauses."""


class TensorBoard:
    """An events file; see ``board``."""

    def __init__(self, folder: Path, nimg: int, settings: Mapping[str, Any]):
        self._board = Board(folder / BOARD_NAME, purge_step=nimg)

    def scalars(self, values: Mapping[str, float], nimg: int) -> None:
        for name, value in values.items():
            self._board.scalar(name, value, nimg)

    def images(self, images: Mapping[str, np.ndarray], nimg: int) -> None:
        for name, image in images.items():
            self._board.image(name, image, nimg)

    def text(self, name: str, text: str, nimg: int) -> None:
        self._board.text(name, text, nimg)

    def close(self) -> None:
        self._board.close()


class Wandb:
    """Weights & Biases. Its own variables apply: ``WANDB_MODE=offline``, ``WANDB_PROJECT``, ``WANDB_ENTITY``."""

    def __init__(self, folder: Path, nimg: int, settings: Mapping[str, Any]):
        self._wandb = _package("wandb")
        name = _kept_run(folder, "wandb", lambda: secrets.token_hex(4))
        self._run = self._wandb.init(
            project=os.environ.get("WANDB_PROJECT", PROJECT),
            dir=str(folder),
            id=name,
            name=folder.name,
            resume="allow",
            config=dict(settings),
            # Lines go to log.txt; the package needs neither them, nor the repository, nor the machine's temperature.
            settings=self._wandb.Settings(console="off", disable_git=True, save_code=False, x_disable_stats=True),
        )
        # Its steps only ever grow, and a run may go back to a checkpoint: the number of images is the axis instead.
        self._run.define_metric("*", step_metric="nimg")

    def scalars(self, values: Mapping[str, float], nimg: int) -> None:
        self._run.log({"nimg": nimg, **values})

    def images(self, images: Mapping[str, np.ndarray], nimg: int) -> None:
        self._run.log({"nimg": nimg, **{name: self._wandb.Image(_squeezed(x)) for name, x in images.items()}})

    def text(self, name: str, text: str, nimg: int) -> None:
        self._run.log({"nimg": nimg, name: self._wandb.Html(_escaped(text))})

    def close(self) -> None:
        self._run.finish()


class Mlflow:
    """MLflow: the server that ``MLFLOW_TRACKING_URI`` names, or else ``mlflow.db`` in the run directory."""

    def __init__(self, folder: Path, nimg: int, settings: Mapping[str, Any]):
        tracking = _package("mlflow.tracking")
        self._entities = _package("mlflow.entities")
        remote = os.environ.get("MLFLOW_TRACKING_URI")
        database = folder.absolute() / "mlflow.db"
        self._client = tracking.MlflowClient(tracking_uri=remote or f"sqlite:///{database}")
        self._run = _kept_run(folder, "mlflow", lambda: self._new_run(folder, remote is None, settings))

    def _new_run(self, folder: Path, is_local: bool, settings: Mapping[str, Any]) -> str:
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME", PROJECT)
        known = self._client.get_experiment_by_name(name)
        if known is not None:
            experiment = known.experiment_id
        else:
            place = (folder.absolute() / "mlartifacts").as_uri() if is_local else None
            experiment = self._client.create_experiment(name, artifact_location=place)
        run: str = self._client.create_run(experiment, tags={"mlflow.runName": folder.name}).info.run_id
        for field, value in settings.items():
            self._client.log_param(run, field, value)
        return run

    def scalars(self, values: Mapping[str, float], nimg: int) -> None:
        now = int(time.time() * 1000)
        metrics = [self._entities.Metric(name, float(value), now, nimg) for name, value in values.items()]
        self._client.log_batch(self._run, metrics=metrics)

    def images(self, images: Mapping[str, np.ndarray], nimg: int) -> None:
        for name, image in images.items():
            self._client.log_image(self._run, _squeezed(image), artifact_file=f"{name}/{nimg:09d}.png")

    def text(self, name: str, text: str, nimg: int) -> None:
        self._client.log_text(self._run, text, f"{name}/{nimg:09d}.txt")

    def close(self) -> None:
        self._client.set_terminated(self._run)


class Trackio:
    """Trackio, on this machine in its own folder (``TRACKIO_DIR``), where ``trackio show`` finds it."""

    def __init__(self, folder: Path, nimg: int, settings: Mapping[str, Any]):
        self._trackio = _package("trackio")
        name = _kept_run(folder, "trackio", lambda: f"{folder.name}-{secrets.token_hex(2)}")
        project = os.environ.get("TRACKIO_PROJECT", PROJECT)
        self._run = self._trackio.init(
            project=project, name=name, resume="allow", config=dict(settings), auto_log_gpu=False, auto_log_cpu=False
        )

    def scalars(self, values: Mapping[str, float], nimg: int) -> None:
        self._run.log(dict(values), step=nimg)

    def images(self, images: Mapping[str, np.ndarray], nimg: int) -> None:
        self._run.log({name: self._trackio.Image(_squeezed(image)) for name, image in images.items()}, step=nimg)

    def text(self, name: str, text: str, nimg: int) -> None:
        self._run.log({name: self._trackio.Markdown(text)}, step=nimg)

    def close(self) -> None:
        self._run.finish()


Factory = Callable[[Path, int, Mapping[str, Any]], Logger]
LOGGERS: dict[str, Factory] = {"tensorboard": TensorBoard, "wandb": Wandb, "mlflow": Mlflow, "trackio": Trackio}
assert tuple(LOGGERS) == NAMES


def _package(name: str) -> Any:
    """A logger's package.

    Raises:
        LoggerError: it is not installed.
    """
    top = name.partition(".")[0]
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise LoggerError(f"run.log {top} needs the package {top} ({error}): pip install 'stylegen[{top}]'.") from error


def check(names: Iterable[str]) -> None:
    """Raise LoggerError, before a run begins, if a logger's package is not installed; nothing is imported."""
    for name in names:
        if name != "tensorboard" and importlib.util.find_spec(name) is None:
            raise LoggerError(f"run.log names {name}, which is not installed: pip install 'stylegen[{name}]'.")


def _kept_run(folder: Path, service: str, new: Callable[[], str]) -> str:
    """The name of this run at a service: that of before, or a new one, which is kept."""
    path = folder / RUNS_NAME
    known: dict[str, Any] = {}
    with suppress(FileNotFoundError, FileError):  # of a damaged file new runs begin
        known = json_text.parse_object(path.read_bytes(), str(path))
    name = known.get(service)
    if not isinstance(name, str):
        name = new()
        files.write_json(path, {**known, service: name})
    return name


def _squeezed(image: np.ndarray) -> np.ndarray:
    return image[:, :, 0] if image.shape[-1] == 1 else image


def _escaped(text: str) -> str:
    import html

    return f"<p>{html.escape(text)}</p>"


class Several:
    """The loggers of a run. One that fails is said once and called no more."""

    def __init__(self, names: Iterable[str], folder: Path, settings: Mapping[str, Any], say: Callable[[str], None]):
        """Prepare; ``open`` begins.

        Args:
            names: of ``LOGGERS``.
            folder: the run directory.
            settings: of the run, flat, for services that show them.
            say: is told of a logger that fails.
        """
        self._names, self._folder, self._settings, self._say = tuple(names), folder, settings, say
        self._open: dict[str, Logger] = {}

    def open(self, nimg: int) -> None:
        """Begin, or go on, at ``nimg`` images."""
        for name in self._names:
            self._try(name, functools.partial(self._begin, name, nimg))

    def _begin(self, name: str, nimg: int) -> None:
        self._open[name] = LOGGERS[name](self._folder, nimg, self._settings)

    def each(self, act: Callable[[Logger], None]) -> None:
        """Call every logger that has not failed."""
        for name in tuple(self._open):
            self._try(name, functools.partial(act, self._open[name]))

    def close(self) -> None:
        """The run ends, or pauses."""
        self.each(lambda logger: logger.close())
        self._open.clear()

    def _try(self, name: str, act: Callable[[], None]) -> None:
        try:
            act()
        except Exception as error:  # whatever a service's package raises; a run is worth more than its curves
            failed = self._open.pop(name, None)
            if failed is not None:
                with suppress(Exception):  # the same error again, as it has something left to write
                    failed.close()
            if isinstance(error, OSError) and name == "tensorboard":
                why = error.strerror or error
                self._say(f"{self._folder / BOARD_NAME} could not be written ({why}); training goes on without it.")
            else:
                why = shown(str(error) or type(error).__name__, 300)
                self._say(f"The logger {name} failed ({why}); training goes on without it.")
