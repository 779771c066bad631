"""Power-function averages that a run keeps: a file at each checkpoint, and any other average of them afterwards.

``power_ema/000012345.safetensors``, by images shown, holds the averages of ``optimizer.power_ema``. A file is as large
as so many generators, and all are kept: the earlier ones are what an average of another length is made of.
"""

import dataclasses
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from stylegen import config_json, sampling
from stylegen.config import MAX_RESOLUTION, Config
from stylegen.errors import StylegenError
from stylegen.io.tensor_files import save_tensors
from stylegen.networks.generator import Generator
from stylegen.networks.structure import abstract_arrays
from stylegen.networks.trees import by_path
from stylegen.paths import expanded
from stylegen.training.power_ema import MAX_STD, MIN_STD, Snapshot, reconstruction
from stylegen.training.schedule import Stage
from stylegen.training.state import TrainState
from stylegen.untrusted import FileError, checksums, json_text, numbers
from stylegen.untrusted.tensors import open_tensors

FOLDER = "power_ema"
FORMAT = "stylegen-power-ema-1"
MAX_MISSED = 0.5  # of a profile; beyond it the result is another average
NUM_MEAN = 10_000  # latents that the mean of w is taken over


class PowerEmaError(StylegenError):
    """There is no such average; the message says which there can be."""


def save(folder: Path, config: Config, state: TrainState, stage: Stage) -> None:
    """Keep the averages of a state on the host; atomic. Does nothing where a run has none."""
    if state.power_ema is None:
        return
    nimg = int(state.nimg)
    arrays = {f"{i}.{name}": leaf for i, tree in enumerate(state.power_ema) for name, leaf in by_path(tree).items()}
    arrays |= {f"noise_const.{name}": leaf for name, leaf in by_path(state.noise_const).items()}
    tensors = {name: np.asarray(leaf, order="C") for name, leaf in arrays.items()}
    about = {"nimg": nimg, "resolution": stage.resolution, "alpha": stage.alpha, "stds": config.optimizer.power_ema}
    path = folder / FOLDER / f"{nimg:010d}.safetensors"
    save_tensors(path, tensors, {"format": FORMAT, "about": json.dumps(about)})


def forget_after(folder: Path, nimg: int) -> None:
    """Delete averages beyond ``nimg``, where a run goes on: they were of another course, or come again."""
    for path in (folder / FOLDER).glob("*.safetensors"):
        number = numbers.digits(path.stem)
        if number is not None and number > nimg:
            path.unlink()


def reconstruct(run: str | os.PathLike[str], std: float, kimg: float | None = None) -> tuple[Generator, float]:
    """The generator that an average of another length would have been.

    Args:
        run: a run directory whose ``optimizer.power_ema`` kept averages.
        std: the length: the relative standard deviation of the profile, such as 0.1.
        kimg: thousands of images that the average ends at: one at which averages were kept; the last if None.

    Returns:
        (the generator, the part of the profile that is missed; see ``training.power_ema.reconstruction``).

    Raises:
        PowerEmaError: the run has kept none, or too few for this length.
        ConfigError: its configuration cannot be read.
    """
    folder = expanded(run)
    if not MIN_STD <= std <= MAX_STD:
        raise PowerEmaError(f"--ema {std:g}: must be from {MIN_STD} to {MAX_STD}, a part of the training such as 0.1.")
    config = config_json.read(folder / "config.json")
    paths = sorted((folder / FOLDER).glob("*.safetensors"))
    if not paths:
        raise PowerEmaError(
            f"{folder}: has kept no averages. Train with --optimizer.power-ema 0.05 0.1, which keeps them at every "
            "checkpoint."
        )
    try:
        files = _until(folder, [(path, _about(path)) for path in paths], kimg)
        last, end = files[-1][1], max(about["nimg"] for _, about in files)
        snapshots = [Snapshot(about["nimg"], own) for _, about in files for own in about["stds"]]
        weights, missed = reconstruction(snapshots, Snapshot(end, std))
        if missed > MAX_MISSED:
            raise PowerEmaError(
                f"--ema {std:g}: {folder} has kept {len(files)} averages of {', '.join(map(str, last['stds']))} up to "
                f"{end / 1000:g} kimg, of which {100 * missed:.0f}% of this one would be missed. Keep more: a shorter "
                "--run.checkpoint-kimg, or a length near those."
            )
        params, noise = _sum(config, files, weights)
    except (FileError, OSError) as error:
        raise PowerEmaError(f"{folder}: an average cannot be used: {error}") from error
    G = Generator(
        config=config,
        params=params,
        noise_const=noise,
        w_avg=np.zeros(config.generator.w_dim, np.float32),  # type: ignore[arg-type]
        resolution=last["resolution"],
        alpha=last["alpha"],
        kimg=end / 1000,
        source=str(folder),
    )
    return dataclasses.replace(G, w_avg=_mean_of_w(G)), missed


def _until(
    folder: Path, files: list[tuple[Path, dict[str, Any]]], kimg: float | None
) -> list[tuple[Path, dict[str, Any]]]:
    """Those of a run's averages up to the one at so many kimg, which there must be; all if None."""
    ends = [about["nimg"] for _, about in files]
    end = ends[-1] if kimg is None else round(kimg * 1000)
    if end not in ends:
        listed = ", ".join(f"{nimg / 1000:g}" for nimg in ends[-10:])
        raise PowerEmaError(f"--kimg {end / 1000:g}: {folder} has kept averages at {listed} kimg.")
    return [(path, about) for path, about in files if about["nimg"] <= end]


def _about(path: Path) -> dict[str, Any]:
    """The description of a file of averages."""
    with open_tensors(path) as file:
        if file.metadata.get("format") != FORMAT:
            raise FileError(f"{path}: holds no averages of this package ({FORMAT}).")
        about = json_text.parse_object(file.metadata.get("about", ""), str(path))
    stds = about.get("stds")
    if not isinstance(stds, list) or not 1 <= len(stds) <= 8:
        raise FileError(f"{path}: states no lengths of averages.")
    return {
        "nimg": numbers.whole(about.get("nimg"), f"{path}: nimg", 1, 2**31),
        "resolution": numbers.whole(about.get("resolution"), f"{path}: resolution", 4, MAX_RESOLUTION),
        "alpha": numbers.finite(about.get("alpha"), f"{path}: alpha", 0, 1),
        "stds": [numbers.finite(std, f"{path}: a length", MIN_STD, MAX_STD) for std in stds],
    }


def _sum(
    config: Config, files: Sequence[tuple[Path, dict[str, Any]]], weights: np.ndarray
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The weighted sum of all averages in the files, added up in double precision, and the constant noise."""
    shapes = abstract_arrays(config)
    leaves, noise_leaves = by_path(shapes["params"]), by_path(shapes["noise_const"])
    total = {name: np.zeros(leaf.shape) for name, leaf in leaves.items()}
    remaining = iter(weights)
    noise: dict[str, np.ndarray] = {}
    for path, about in files:
        with open_tensors(path) as file:
            wanted = {f"{i}.{name}": leaf for i in range(len(about["stds"])) for name, leaf in leaves.items()}
            wanted |= {f"noise_const.{name}": leaf for name, leaf in noise_leaves.items()}
            for name, leaf in wanted.items():
                if name not in file.names or file.header(name) != (leaf.shape, "float32"):
                    raise FileError(f"{path}: {name} is missing, or has another shape than the configuration says.")
            arrays = file.read_all(file.names)
            checksums.check_tensors(arrays, file.metadata, str(path))
        for i in range(len(about["stds"])):
            weight = next(remaining)
            for name in leaves:
                total[name] += weight * arrays[f"{i}.{name}"]
        noise = {name: arrays[f"noise_const.{name}"] for name in noise_leaves}
    if not all(np.isfinite(array).all() for array in (*total.values(), *noise.values())):
        raise FileError("its numbers are not finite.")
    ordered = [np.asarray(total[name], np.float32) for name in leaves]
    return (
        jax.tree.map(jax.numpy.asarray, jax.tree.unflatten(jax.tree.structure(shapes["params"]), ordered)),
        jax.tree.map(
            jax.numpy.asarray,
            jax.tree.unflatten(jax.tree.structure(shapes["noise_const"]), [noise[name] for name in noise_leaves]),
        ),
    )


def _mean_of_w(G: Generator) -> jax.Array:
    """The mean of w of the averaged mapping network, whose running mean nobody kept; classes in turn."""
    labels = np.arange(NUM_MEAN) % G.c_dim if G.c_dim else None
    return jax.numpy.asarray(sampling.sample_w(G, NUM_MEAN, labels=labels).mean(axis=0))
