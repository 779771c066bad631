"""Networks that others trained as a run of ours: read safely, converted, and written as a run directory.

``sample.py``, ``evaluate.py`` and ``--run.init-from`` take the result as they take any run.
"""

import dataclasses
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from stylegen.config import Config, ScheduleConfig
from stylegen.errors import StylegenError
from stylegen.formats import WeightsError, torch_files
from stylegen.formats.pickle_tree import printable
from stylegen.formats.torch_files import Tensors
from stylegen.io import files
from stylegen.networks.generator import Generator
from stylegen.networks.structure import abstract_arrays
from stylegen.networks.trees import by_path
from stylegen.nvidia import pickles, rosinality, stylegan1, stylegan2
from stylegen.nvidia.pickles import PickledFile
from stylegen.nvidia.weight_table import Imported
from stylegen.paths import expanded
from stylegen.runs import directory
from stylegen.training import schedule
from stylegen.training.state import TrainState, abstract_state, init_state

# Parts of paths: noise that is not used, and layers of resolutions that a finished network no longer shows.
MAY_LACK = (".noise_strength", ".noise_const", ".torgb.", ".fromrgb.")
REPORT = "import.txt"  # in the run directory: the networks found, the weights mapped, and remarks


class ImportingError(StylegenError):
    """The imported networks cannot be written where they should go; the message says why."""


# An encoder's or a trainer's own settings lie beside the weights.
_NAMES = dataclasses.replace(
    pickles.NAMES,
    exact={
        **pickles.NAMES.exact,
        ("argparse", "Namespace"): "class",
        **{("pathlib", name): "class" for name in ("PosixPath", "WindowsPath", "PurePosixPath")},
    },
)


def read(path: str | os.PathLike[str]) -> Imported:
    """Networks of one of NVIDIA's pickles, or of a checkpoint of rosinality's form; nothing in the file is run.

    Raises:
        WeightsError: it is none of those that can be read, is damaged, asks for something that weights do not need, or
            is of a network that cannot be represented.
    """
    path = expanded(path)
    if not path.is_file():
        raise WeightsError(f"{path}: there is no such file.")
    data = path.read_bytes()
    if not torch_files.is_torch(data):
        return convert(pickles.parse(data, path))
    value, storages = torch_files.load(data, _NAMES, str(path))
    tensors = Tensors(storages, str(path))
    if rosinality.is_checkpoint(value):
        return rosinality.convert(value, tensors, path)
    return convert(pickles.networks_of(value, tensors, path, len(data)))


def convert(file: PickledFile) -> Imported:
    """A file's networks in our form; raises as ``read``."""
    return _converter(file)(file)


def _converter(file: PickledFile) -> Callable[[PickledFile], Imported]:
    kind = next(file.networks[part] for part in ("G_ema", "G") if part in file.networks).kind
    converters = {
        **dict.fromkeys((("tensorflow", name) for name in stylegan1.G_KINDS), stylegan1.convert),
        **dict.fromkeys((("tensorflow", name) for name in stylegan2.TF_KINDS), stylegan2.convert),
        **dict.fromkeys((("torch", name) for name in stylegan2.TORCH_KINDS), stylegan2.convert),
    }
    if (file.form, kind) not in converters:
        read = ", ".join(f"{name} ({form})" for form, name in converters)
        raise WeightsError(f"{file.path}: its generator is a {printable(kind)} of {file.form}; read are {read}.")
    return converters[file.form, kind]


def generator(imported: Imported, source: str = "") -> Generator:
    """The generator to sample from: moving-average weights."""
    config, nimg = _schedule_position(imported)
    shapes = abstract_arrays(config)
    average = np.zeros(shapes["w_avg"].shape) if imported.w_avg is None else imported.w_avg
    return Generator(
        config=config,
        params=_tree(shapes["params"], imported.g_ema),
        noise_const=_tree(shapes["noise_const"], imported.noise_const),
        w_avg=_checked("w_avg", shapes["w_avg"], average),
        resolution=imported.resolution,
        alpha=imported.alpha,
        kimg=nimg / 1000,
        source=source,
    )


def state_of(imported: Imported) -> tuple[Config, TrainState, schedule.Stage]:
    """A training state that holds the networks, with fresh moments of Adam, and where in a schedule it stands.

    Weights that the file lacks are zero; a missing discriminator is initialized anew.
    """
    config, nimg = _schedule_position(imported)
    shapes = abstract_state(config)
    fields = {field.name: getattr(shapes, field.name) for field in dataclasses.fields(shapes) if field.name != "key"}
    empty = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), fields)
    average = np.zeros(shapes.w_avg.shape) if imported.w_avg is None else imported.w_avg
    imported_fields = {
        "nimg": jnp.asarray(nimg, jnp.int32),
        "key": jax.random.key(config.run.seed),
        "g": _tree(shapes.g, imported.g),
        "d": init_state(config).d if imported.d is None else _tree(shapes.d, imported.d),
        "g_ema": _tree(shapes.g_ema, imported.g_ema),
        "w_avg": _checked("w_avg", shapes.w_avg, average),
        "noise_const": _tree(shapes.noise_const, imported.noise_const),
    }
    state = TrainState(**{**empty, **imported_fields})
    stage = dataclasses.replace(schedule.at(config, nimg), resolution=imported.resolution, alpha=imported.alpha)
    return config, state, stage


def _schedule_position(imported: Imported) -> tuple[Config, int]:
    """The configuration, and a number of images at which its schedule has the stage that the networks are in.

    Finished networks stand at the beginning of a schedule that does not grow; those from the middle of growing stand
    where the original's schedule has their stage. How many images they have seen their file does not say.
    """
    config = imported.config
    if (imported.resolution, imported.alpha) == (config.resolution, 1):
        return config, 0
    # The original starts at 8 pixels; a smaller stage, or a fade-in at 8, comes from a schedule that starts at 4.
    start = 8 if imported.resolution > 8 or (imported.resolution, imported.alpha) == (8, 1) else 4
    config = dataclasses.replace(config, schedule=ScheduleConfig(start_resolution=start))
    kind = "stable" if imported.alpha == 1 else "fade"
    phase = next(p for p in schedule.phases(config) if (p.resolution, p.kind) == (imported.resolution, kind))
    fraction = imported.alpha if kind == "fade" else 0
    return config, phase.start + round(fraction * (phase.end - phase.start))


def _tree(shapes: Any, arrays: dict[str, np.ndarray]) -> Any:
    """Arrays by path in the structure of a tree of shapes; zero where the networks have what the file may lack."""
    leaves = by_path(shapes)
    lacking = [path for path in leaves if path not in arrays and not any(part in path for part in MAY_LACK)]
    if lacking:
        raise WeightsError(f"There is nothing for {lacking[0]}: the table of names does not fit the network.")
    if unknown := sorted(set(arrays) - set(leaves)):
        raise WeightsError(f"There is no place for {unknown[0]}: the table of names does not fit the network.")
    checked = [
        _checked(path, leaf, arrays.get(path, np.zeros(leaf.shape, leaf.dtype))) for path, leaf in leaves.items()
    ]
    return jax.tree.unflatten(jax.tree.structure(shapes), checked)


def _checked(path: str, leaf: Any, array: np.ndarray) -> jax.Array:
    if array.shape != leaf.shape:
        raise WeightsError(f"{path} has shape {array.shape}; wanted {leaf.shape}.")
    return jnp.asarray(array, leaf.dtype)


def check_free(folder: Path, overwrite: bool = False) -> None:
    """Raise ImportingError if a run cannot go to this folder."""
    if folder.exists() and not folder.is_dir():
        raise ImportingError(f"{folder}: there is a file of that name.")
    files.check_writable(folder / directory.CONFIG_NAME)
    if not folder.is_dir() or not any(folder.iterdir()):
        return
    if not (folder / directory.CONFIG_NAME).is_file():
        raise ImportingError(f"{folder}: holds files, but no run; give an empty directory.")
    if not overwrite:
        raise ImportingError(f"{folder}: holds a run already; give another --out, or --overwrite to replace it.")


def write_run(imported: Imported, folder: str | os.PathLike[str], source: str, overwrite: bool = False) -> Config:
    """Write the networks as a run directory; whole or not at all.

    Args:
        imported: from ``read``.
        folder: the run directory; made if need be.
        source: the file that they come from, whose name and hash are kept.
        overwrite: replace a run that is there.

    Raises:
        ImportingError: the folder holds something else.
        OSError: the folder cannot be written to.
        CheckpointError: the disk is full.
    """
    from stylegen.runs.checkpoint import Checkpointer, CheckpointError  # here, because orbax takes seconds to import

    folder = expanded(folder)
    check_free(folder, overwrite)
    config, state, stage = state_of(imported)
    config = dataclasses.replace(config, run=dataclasses.replace(config.run, dir=str(folder)))
    provenance = {"file": Path(source).name, "sha256": files.sha256(source)}
    with files.replacing_folder(folder, last=directory.CONFIG_NAME) as partial:
        try:
            with Checkpointer(partial, config, keep_last=1) as checkpointer:
                checkpointer.save(state, stage, {"imported": provenance})
        except CheckpointError as error:  # in the words of the user, who does not know the temporary folder
            raise CheckpointError(str(error).replace(str(partial), str(folder))) from error
        (partial / REPORT).write_text(
            f"{provenance['file']}, SHA-256 {provenance['sha256']}\n{imported.report.text()}\n"
        )
        directory.write_config(partial, config)
        if folder.exists():
            directory.clear_run(folder)
    return config
