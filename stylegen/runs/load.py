"""From a name or a path to a ``Generator``: run directories, single files, and what ships with the package.

A single file is safetensors or npz: weights by dotted name, and beside them the configuration and the stage as JSON.
A folder with ``generator.safetensors``, as ``export`` writes it for the Hugging Face hub, is that file.
"""

import json
import math
import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from stylegen.config import Config
from stylegen.config_json import from_json, to_json
from stylegen.errors import StylegenError
from stylegen.io.files import replacing
from stylegen.networks.generator import ARRAYS, Generator, abstract_arrays
from stylegen.networks.trees import by_path

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
        source: a run directory, a ``.safetensors`` or ``.npz`` file, a folder that holds ``generator.safetensors`` (the
            layout of the Hugging Face hub), or the name of a generator that ships with the package (``toy_bedrooms``).
        kimg: of a run directory, the checkpoint at so many thousand images; the newest good one if None.

    Raises:
        LoadError: nothing is there, or it is no generator.
        CheckpointError: the run has no such checkpoint.
    """
    path = Path(source)
    names = shipped()
    if str(source) in names:
        path = SHIPPED_DIR / f"{source}{SUFFIX}"
    if is_exported(path):
        path = path / WEIGHTS_NAME
    if path.is_dir():
        if not (path / "config.json").is_file():
            raise LoadError(f"{path}: not a run directory: it has no config.json.{_runs_in(path)}")
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
        raise LoadError(f"{path}: not a generator; give a run directory, a {SUFFIX} or an {NPZ_SUFFIX} file.")
    return load_safetensors(path)


def is_exported(folder: str | os.PathLike[str]) -> bool:
    """Whether this is an exported folder, and not a run directory, which has a ``config.json`` too."""
    return (Path(folder) / WEIGHTS_NAME).is_file()


def shipped() -> list[str]:
    """Names of the generators in the package."""
    return sorted(path.stem for path in SHIPPED_DIR.glob(f"*{SUFFIX}"))


def save_generator(G: Generator, path: str | os.PathLike[str]) -> None:
    """Write a generator as one safetensors file that ``load`` reads back exactly; atomic."""
    with replacing(path) as partial:
        save_file(_tensors(G), partial, metadata(G))
        partial.chmod(0o644)  # which safetensors makes for the owner alone


def save_npz(G: Generator, path: str | os.PathLike[str]) -> None:
    """Write a generator as one npz file that ``load`` reads back exactly, and numpy without pickles; atomic.

    The JSON text, as bytes, is the array ``metadata``.
    """
    text = np.frombuffer(json.dumps(metadata(G)).encode(), np.uint8)
    with replacing(path) as partial:
        np.savez(partial, allow_pickle=False, **{METADATA_NAME: text}, **_tensors(G))


def metadata(G: Generator) -> dict[str, str]:
    """The metadata of a generator's file: format, and configuration and stage as JSON."""
    stage = {"resolution": G.resolution, "alpha": float(G.alpha), "kimg": float(G.kimg)}
    return {"format": FORMAT, "config": to_json(G.config), "stage": json.dumps(stage)}


def load_safetensors(path: str | os.PathLike[str]) -> Generator:
    """Read a generator that ``save_generator`` wrote.

    Raises:
        LoadError: the file is damaged or something else, or its weights are not those that its configuration needs.
        ConfigError: its configuration is not one of this version.
    """
    try:
        with safe_open(path, framework="numpy") as file:
            meta = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118, it is no dict
    except (SafetensorError, OSError) as error:
        raise LoadError(f"{path}: cannot be read as safetensors: {error}.") from error
    return _generator(path, meta, lambda expected: tensors)


def load_npz(path: str | os.PathLike[str]) -> Generator:
    """Read a generator that ``save_npz`` wrote. Sizes are checked before anything is allocated; pickles are refused.

    Raises:
        LoadError, ConfigError: as of ``load_safetensors``.
    """
    try:
        with zipfile.ZipFile(path) as file:
            names = {member.removesuffix(".npy") for member in file.namelist()}
            text = _read_member(path, file, METADATA_NAME, (MAX_METADATA,)) if METADATA_NAME in names else None
            meta = json.loads(text.tobytes()) if text is not None else {}

            def read(expected: dict[str, Any]) -> dict[str, np.ndarray]:
                _check_names(path, names - {METADATA_NAME}, set(expected))
                return {name: _read_member(path, file, name, leaf.shape) for name, leaf in expected.items()}

            return _generator(path, meta if isinstance(meta, dict) else {}, read)
    except (zipfile.BadZipFile, OSError, EOFError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise LoadError(f"{path}: cannot be read as npz: {error}.") from error


def _read_member(path: Any, file: zipfile.ZipFile, name: str, shape: tuple[int, ...]) -> np.ndarray:
    """An array of an npz file, of this shape or, of bytes, at most as long."""
    with file.open(f"{name}.npy") as member:
        try:
            version = np.lib.format.read_magic(member)
            header = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
            if version not in header:
                raise ValueError(f"version {version} of the npy format is not known")
            stored_shape, fortran, dtype = header[version](member)
        except ValueError as error:
            raise LoadError(f"{path}: {name} cannot be read: {error}.") from error
        is_text = name == METADATA_NAME and dtype == np.uint8 and len(stored_shape) == 1 and stored_shape[0] <= shape[0]
        if fortran or not (is_text or (stored_shape == shape and dtype == np.float32)):
            raise LoadError(f"{path}: {name} is {dtype} {stored_shape}; wanted float32 {shape}.")
        count = math.prod(stored_shape)
        data = member.read(count * dtype.itemsize)
    if len(data) != count * dtype.itemsize:
        raise LoadError(f"{path}: {name} is cut off.")
    return np.frombuffer(data, dtype).reshape(stored_shape)


def _generator(path: Any, meta: dict[str, Any], read: Callable[[dict[str, Any]], dict[str, np.ndarray]]) -> Generator:
    """The generator of a file's metadata and of the tensors that ``read`` returns for the expected leaves."""
    if meta.get("format") != FORMAT:
        raise LoadError(f"{path}: not of a stylegen generator (its format is not {FORMAT}).")
    config, stage = _config_and_stage(path, meta)
    expected = by_path(abstract_arrays(config))
    tensors = read(expected)
    _check_tensors(path, tensors, expected)
    arrays = _unflatten({name: jnp.asarray(tensor) for name, tensor in tensors.items()})
    return Generator(config=config, **arrays, **stage, source=str(path))


def _config_and_stage(path: Any, meta: dict[str, Any]) -> tuple[Config, dict[str, Any]]:
    """Configuration and stage of a file's metadata."""
    if not all(isinstance(meta.get(name), str) for name in ("config", "stage")):
        raise LoadError(f"{path}: its metadata has no configuration, or no stage of growing.")
    config = from_json(meta["config"])
    try:
        tree = json.loads(meta["stage"])
        stage = {"resolution": int(tree["resolution"]), "alpha": float(tree["alpha"]), "kimg": float(tree["kimg"])}
    except (ValueError, TypeError, KeyError) as error:
        raise LoadError(f"{path}: its stage of growing cannot be read: {meta['stage'][:80]}.") from error
    if stage["resolution"] not in config.resolutions or not 0 <= stage["alpha"] <= 1:
        raise LoadError(f"{path}: its configuration has no such stage of growing: {meta['stage'][:80]}.")
    return config, stage


def _tensors(G: Generator) -> dict[str, np.ndarray]:
    arrays = by_path({name: getattr(G, name) for name in ARRAYS})
    return {name: np.asarray(leaf, order="C") for name, leaf in arrays.items()}


def _check_tensors(path: Any, tensors: dict[str, np.ndarray], expected: dict[str, Any]) -> None:
    _check_names(path, set(tensors), set(expected))
    for name, leaf in expected.items():
        tensor = tensors[name]
        if tensor.shape != leaf.shape or tensor.dtype != leaf.dtype:
            raise LoadError(f"{path}: {name} is {tensor.dtype} {tensor.shape}; wanted {leaf.dtype} {leaf.shape}.")
        if not math.isfinite(float(np.sum(np.abs(tensor)))):
            raise LoadError(f"{path}: {name} holds numbers that are not finite.")


def _check_names(path: Any, names: set[str], expected: set[str]) -> None:
    if different := sorted(names ^ expected):
        state = "is missing" if different[0] in expected else "is unknown"
        raise LoadError(f"{path}: the weight {different[0]} {state}.")


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
