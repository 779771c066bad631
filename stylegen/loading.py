"""From a name or a path to a ``Generator``: run directories, single files, and what ships with the package.

A single file is safetensors: the weights by dotted name, and in its metadata the configuration and the stage as JSON.
"""

import json
import math
import os
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from stylegen.config_json import from_json, to_json
from stylegen.generator import Generator, split_generator
from stylegen.images import replacing
from stylegen.layers import Initializer
from stylegen.state import build_networks, by_path

SHIPPED_DIR = Path(__file__).parent / "pretrained"
SUFFIX = ".safetensors"
FORMAT = "stylegen-generator-1"


class LoadError(ValueError):
    """There is no generator to load; the message says what there is."""


def load(source: str | os.PathLike[str], kimg: float | None = None) -> Generator:
    """Load a generator: moving-average weights, configuration and mean style.

    Args:
        source: a run directory, a ``.safetensors`` file, or the name of a generator that ships with the package
            (``toy_bedrooms``).
        kimg: of a run directory, the checkpoint at so many thousand images; the newest good one if None.

    Raises:
        LoadError: nothing is there, or it is no generator.
        CheckpointError: the run has no such checkpoint.
    """
    path = Path(source)
    names = shipped()
    if str(source) in names:
        path = SHIPPED_DIR / f"{source}{SUFFIX}"
    if path.is_dir():
        if not (path / "config.json").is_file():
            raise LoadError(f"{path}: not a run directory: it has no config.json.{_runs_in(path)}")
        from stylegen.checkpoint import load_generator  # here, because orbax takes seconds to import

        return load_generator(path, kimg)
    if not path.is_file():
        known = f" With the package comes {', '.join(names)}." if names else ""
        raise LoadError(f"{source}: no such run directory or file.{_runs_in(path.parent)}{known}")
    if kimg is not None:
        raise LoadError(f"kimg = {kimg:g}: {source} is a single generator; only a run directory has several.")
    if path.suffix != SUFFIX:
        raise LoadError(f"{path}: not a generator; give a run directory or a {SUFFIX} file.")
    return load_safetensors(path)


def shipped() -> list[str]:
    """Names of the generators in the package."""
    return sorted(path.stem for path in SHIPPED_DIR.glob(f"*{SUFFIX}"))


def save_generator(G: Generator, path: str | os.PathLike[str]) -> None:
    """Write a generator as one safetensors file that ``load`` reads back exactly; atomic."""
    tensors = {name: np.asarray(leaf, order="C") for name, leaf in by_path(_arrays(G)).items()}
    stage = {"resolution": G.resolution, "alpha": float(G.alpha), "kimg": float(G.kimg)}
    metadata = {"format": FORMAT, "config": to_json(G.config), "stage": json.dumps(stage)}
    with replacing(path) as partial:
        save_file(tensors, partial, metadata)


def load_safetensors(path: str | os.PathLike[str]) -> Generator:
    """Read a generator that ``save_generator`` wrote.

    Raises:
        LoadError: the file is damaged or something else, or its weights are not those that its configuration needs.
        ConfigError: its configuration is not one of this version.
    """
    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118, it is no dict
    except (SafetensorError, OSError) as error:
        raise LoadError(f"{path}: cannot be read as safetensors: {error}.") from error
    if metadata.get("format") != FORMAT:
        raise LoadError(f"{path}: safetensors, but not of a stylegen generator (its format is not {FORMAT}).")
    config, stage = from_json(metadata["config"]), json.loads(metadata["stage"])
    wanted = by_path(_abstract_arrays(config))
    _check_tensors(path, tensors, wanted)
    arrays = _unflatten({name: jnp.asarray(tensor) for name, tensor in tensors.items()})
    return Generator(
        config=config,
        graphdef=build_networks(config).g,
        params=arrays["params"],
        noise_const=arrays["noise_const"],
        w_avg=arrays["w_avg"],
        resolution=stage["resolution"],
        alpha=stage["alpha"],
        kimg=stage["kimg"],
        source=str(path),
    )


def _arrays(G: Generator) -> dict[str, Any]:
    return {"params": G.params, "noise_const": G.noise_const, "w_avg": G.w_avg}


def _abstract_arrays(config: Any) -> dict[str, Any]:
    """Shapes and dtypes of a generator's arrays; nothing is computed."""
    params, noise_const = jax.eval_shape(lambda: split_generator(config, Initializer(None))[1:])
    w_avg = jax.ShapeDtypeStruct((config.generator.w_dim,), np.float32)
    return {"params": params, "noise_const": noise_const, "w_avg": w_avg}


def _check_tensors(path: Any, tensors: dict[str, np.ndarray], wanted: dict[str, Any]) -> None:
    if different := sorted(tensors.keys() ^ wanted.keys()):
        state = "is missing" if different[0] in wanted else "is unknown"
        raise LoadError(f"{path}: the weight {different[0]} {state}.")
    for name, leaf in wanted.items():
        found = tensors[name]
        if found.shape != leaf.shape or found.dtype != leaf.dtype:
            raise LoadError(f"{path}: {name} is {found.dtype} {found.shape}; wanted {leaf.dtype} {leaf.shape}.")
        if not math.isfinite(float(np.sum(np.abs(found)))):
            raise LoadError(f"{path}: {name} holds numbers that are not finite.")


def _runs_in(folder: Path) -> str:
    """A sentence that names the run directories in a folder."""
    found = sorted(str(path.parent) for path in folder.glob("*/config.json"))
    return f" Runs in {folder}: {', '.join(found[-8:])}." if found else ""


def _unflatten(flat: dict[str, Any]) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for name, value in flat.items():
        *parents, leaf = name.split(".")
        node = tree
        for parent in parents:
            node = node.setdefault(parent, {})
        node[leaf] = value
    return tree
