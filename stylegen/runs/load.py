"""From a name or a path to a ``Generator``: run directories, single files, and what ships with the package.

A single file is safetensors or npz: weights by dotted name, and beside them the configuration and the stage as JSON.
A folder with ``generator.safetensors``, as ``export`` writes it for the Hugging Face hub, is that file.
"""

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from stylegen.config import MAX_KIMG, MAX_RESOLUTION, Config, ConfigError
from stylegen.config_json import from_json, to_json
from stylegen.errors import StylegenError
from stylegen.io.files import replacing
from stylegen.io.objects import is_url
from stylegen.io.tensor_files import save_tensors
from stylegen.networks.generator import Generator
from stylegen.networks.structure import ARRAYS, abstract_arrays
from stylegen.networks.trees import by_path
from stylegen.paths import expanded
from stylegen.runs import snapshots
from stylegen.runtime import sharding
from stylegen.untrusted import FileError, checksums, json_text, numbers, shown
from stylegen.untrusted.npz import Npz
from stylegen.untrusted.tensors import open_tensors

SHIPPED_DIR = Path(__file__).parents[1] / "assets" / "generators"
SUFFIX, NPZ_SUFFIX = ".safetensors", ".npz"
WEIGHTS_NAME = f"generator{SUFFIX}"  # in an exported folder
METADATA_NAME = "metadata"  # in an npz file: JSON as bytes
MAX_METADATA = 2**20  # bytes of it
FORMAT = "stylegen-generator-1"


class LoadError(StylegenError):
    """There is no generator to load; the message lists those that exist."""


def load(source: str | os.PathLike[str], kimg: float | None = None) -> Generator:
    """Load a generator: moving-average weights, configuration and mean style.

    Args:
        source: a run directory, which may be a URL (``gs://``, ``s3://``), a ``.safetensors`` or ``.npz`` file, a
            folder that holds ``generator.safetensors`` (the layout of the Hugging Face hub), or the name of a generator
            that ships with the package (``toy_bedrooms``).
        kimg: of a run directory, the snapshot or checkpoint at so many thousand images; the newest good checkpoint if
            None.

    Raises:
        LoadError: nothing is there, or it is no generator.
        CheckpointError: the run has no such checkpoint.
    """
    if is_url(source):
        from stylegen.runs.mirror import fetched

        return load(fetched(str(source), kimg), kimg)
    path = expanded(source)
    names = shipped()
    if str(source) in names:
        path = SHIPPED_DIR / f"{source}{SUFFIX}"
    if is_exported(path):
        path = path / WEIGHTS_NAME
    if path.is_dir():
        if not (path / "config.json").is_file():
            raise LoadError(f"{path}: not a run directory: it has no config.json.{_runs_in(path)}")
        if kimg is not None and (snapshot := snapshots.nearest(path, kimg)) is not None:
            return load_safetensors(snapshot)
        from stylegen.runs.checkpoint import load_generator  # here, because orbax takes seconds to import

        return load_generator(path, kimg)
    if not path.is_file():
        hint = f" With the package comes {', '.join(names)}." if names else ""
        raise LoadError(f"{source}: no such run directory or file.{_runs_in(path.parent)}{hint}")
    if kimg is not None:
        raise LoadError(f"kimg = {kimg:g}: {source} is a single generator; only a run directory has several.")
    if path.suffix == NPZ_SUFFIX:
        return load_npz(path)
    if path.suffix != SUFFIX:
        raise LoadError(f"{path}: not a generator; give a run directory, a {SUFFIX}, {NPZ_SUFFIX}, .pkl or .pt file.")
    return load_safetensors(path)


def is_exported(folder: str | os.PathLike[str]) -> bool:
    """Whether this is an exported folder, and not a run directory, which has a ``config.json`` too."""
    return (expanded(folder) / WEIGHTS_NAME).is_file()


def shipped() -> list[str]:
    """Names of the generators in the package."""
    return sorted(path.stem for path in SHIPPED_DIR.glob(f"*{SUFFIX}"))


def save(G: Generator, path: str | os.PathLike[str]) -> None:
    """Write a generator as one file that ``load`` reads back exactly; atomic.

    Args:
        G: the generator.
        path: ``.safetensors``, or ``.npz``, which numpy reads without pickles.

    Raises:
        LoadError: another extension.
    """
    suffix = Path(path).suffix
    if suffix not in (SUFFIX, NPZ_SUFFIX):
        raise LoadError(f"{path}: a generator is saved as {SUFFIX} or {NPZ_SUFFIX}; change the extension.")
    (save_generator if suffix == SUFFIX else save_npz)(G, path)


def save_generator(G: Generator, path: str | os.PathLike[str]) -> None:
    """Write a generator as one safetensors file that ``load`` reads back exactly; atomic."""
    save_tensors(path, _tensors(G), metadata(G))


def save_npz(G: Generator, path: str | os.PathLike[str]) -> None:
    """Write a generator as one npz file that ``load`` reads back exactly, and numpy without pickles; atomic.

    The JSON text, as bytes, is the array ``metadata``.
    """
    text = np.frombuffer(json.dumps(metadata(G)).encode(), np.uint8)
    with replacing(path) as partial:
        arrays: dict[str, Any] = {METADATA_NAME: text, **_tensors(G)}
        np.savez(partial, **arrays)  # numpy 2.1 takes allow_pickle for an array; of numbers nothing is pickled


def metadata(G: Generator) -> dict[str, str]:
    """The metadata of a generator's file: format, and configuration and stage as JSON."""
    stage = {"resolution": G.resolution, "alpha": float(G.alpha), "kimg": float(G.kimg)}
    return {"format": FORMAT, "config": to_json(G.config), "stage": json.dumps(stage)}


def load_safetensors(path: str | os.PathLike[str]) -> Generator:
    """Read a generator that ``save_generator`` wrote. Shapes are checked before a weight is read.

    Raises:
        LoadError: the file is damaged or something else, or its weights are not those that its configuration needs.
        ConfigError: its configuration is not one of this version.
    """
    try:
        with open_tensors(path) as file:
            headers = {name: file.header(name) for name in file.names}
            return _generator(path, file.metadata, headers, file.read)
    except (FileError, OSError) as error:
        raise LoadError(_message(path, error)) from error


def load_npz(path: str | os.PathLike[str]) -> Generator:
    """Read a generator that ``save_npz`` wrote. Shapes are checked before a weight is read; pickles are refused.

    Raises:
        LoadError, ConfigError: as of ``load_safetensors``.
    """
    try:
        with Npz(path) as file:
            headers = {name: file.header(name) for name in file.names}
            text = headers.pop(METADATA_NAME, None)
            if text is None or text.dtype != np.uint8 or text.nbytes > MAX_METADATA:
                raise LoadError(f"{path}: not of a stylegen generator (it has no {METADATA_NAME} of bytes).")
            meta = json_text.parse_object(file.read(METADATA_NAME).tobytes(), f"{path}: {METADATA_NAME}")
            shapes = {name: (header.shape, header.dtype.name) for name, header in headers.items()}
            return _generator(path, meta, shapes, file.read)
    except (FileError, OSError) as error:
        raise LoadError(_message(path, error)) from error


def _message(path: str | os.PathLike[str], error: FileError | OSError) -> str:
    return str(error) if isinstance(error, FileError) else f"{path}: cannot be read: {error.strerror or error}."


def _generator(
    path: Any,
    meta: Mapping[str, Any],
    headers: Mapping[str, tuple[tuple[int, ...], str]],
    read: Callable[[str], np.ndarray],
) -> Generator:
    """The generator of a file's metadata and tensors.

    Args:
        path: of the file.
        meta: its metadata.
        headers: shape and dtype of its tensors by name.
        read: reads one of them.
    """
    if meta.get("format") != FORMAT:
        raise LoadError(f"{path}: not of a stylegen generator (its format is not {FORMAT}).")
    config, stage = _config_and_stage(path, meta)
    expected = by_path(abstract_arrays(config))
    _check_names(path, set(headers), set(expected))
    for name, leaf in expected.items():
        shape, dtype = headers[name]
        if shape != leaf.shape or dtype != leaf.dtype:
            raise LoadError(f"{path}: {name} is {dtype} {shape}; wanted {leaf.dtype} {leaf.shape}.")
    tensors = {name: read(name) for name in expected}
    for name, tensor in tensors.items():
        if not np.isfinite(tensor).all():
            raise LoadError(f"{path}: {name} holds numbers that are not finite.")
    checksums.check_tensors(tensors, meta, str(path))
    # Not by jnp.asarray, which compiles a program for each shape: half a second for the shipped generator's 28.
    arrays = _unflatten(sharding.copies(tensors, None))
    return Generator(config=config, **arrays, **stage, source=str(path))


def _config_and_stage(path: Any, meta: Mapping[str, Any]) -> tuple[Config, dict[str, Any]]:
    """Configuration and stage of a file's metadata."""
    if not all(isinstance(meta.get(name), str) for name in ("config", "stage")):
        raise LoadError(f"{path}: its metadata has no configuration, or no stage of growing.")
    try:
        config = from_json(meta["config"])
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error
    where = f"{path}: its stage of growing"
    tree = json_text.parse_object(meta["stage"], where)
    resolution = numbers.whole(tree.get("resolution"), f"{where}: resolution", 4, MAX_RESOLUTION)
    if resolution not in config.resolutions:
        raise LoadError(f"{path}: its configuration has no such stage of growing: {resolution} pixels.")
    alpha = numbers.finite(tree.get("alpha"), f"{where}: alpha", 0, 1)
    kimg = numbers.finite(tree.get("kimg"), f"{where}: kimg", 0, MAX_KIMG)
    return config, {"resolution": resolution, "alpha": alpha, "kimg": kimg}


def _tensors(G: Generator) -> dict[str, np.ndarray]:
    arrays = by_path({name: getattr(G, name) for name in ARRAYS})
    return {name: np.asarray(leaf, order="C") for name, leaf in arrays.items()}


def _check_names(path: Any, names: set[str], expected: set[str]) -> None:
    if different := sorted(names ^ expected):
        state = "is missing" if different[0] in expected else "is unknown"
        raise LoadError(f"{path}: the weight {shown(different[0])} {state}.")


def _runs_in(folder: Path) -> str:
    """A sentence that names the run directories in a folder."""
    runs = sorted(str(path.parent) for path in folder.glob("*/config.json"))
    return f" Runs in {folder}: {', '.join(runs[-8:])}." if runs else ""


def _unflatten(flat: dict[str, Any]) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for name, value in flat.items():
        *parents, leaf = name.split(".")
        node = tree
        for parent in parents:
            node = node.setdefault(parent, {})
        node[leaf] = value
    return tree
