"""Projections: the styles found for images, their file, and the images drawn from them."""

import hashlib
import json
import os
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from stylegen import sampling
from stylegen.errors import StylegenError
from stylegen.io.files import replacing
from stylegen.networks.generator import Generator, in_float32
from stylegen.networks.trees import by_path
from stylegen.untrusted import FileError, json_text
from stylegen.untrusted.npz import Npz

FORMAT = "stylegen-projection-1"


class ProjectionError(StylegenError):
    """An image cannot be projected, or a projection not used; the message says why."""


@dataclass(frozen=True, eq=False)
class Projection:
    """The styles found for N images."""

    ws: np.ndarray  # [N, num_ws, w_dim]
    names: tuple[str, ...]  # of the images
    generators: tuple[str, ...]  # fingerprints of the generators that it goes with
    noise: np.ndarray | None = None  # [N, num_noise] where noise was sought too; None is the generator's own
    z: np.ndarray | None = None  # [N, z_dim] in space z
    loss: np.ndarray | None = None  # [steps, N]
    about: dict[str, Any] = field(default_factory=dict)  # how it was made


def fingerprint(G: Generator) -> str:
    """Sixteen hexadecimal digits that differ where weights or constant noise, or the stage, do."""
    digest = hashlib.sha256(f"{G.resolution} {float(G.alpha)}".encode())
    for name, leaf in sorted(by_path({"params": G.params, "noise_const": G.noise_const}).items()):
        digest.update(name.encode())
        digest.update(np.ascontiguousarray(leaf).tobytes())
    return digest.hexdigest()[:16]


def check(projection: Projection, G: Generator, source: str) -> None:
    """Raise ProjectionError unless the projection was made with this generator; ``source`` names it in the message."""
    if projection.ws.shape[1:] != (G.num_ws, G.w_dim):
        layers, w_dim = projection.ws.shape[1:]
        raise ProjectionError(
            f"{source} is a projection of another generator: it has {layers} styles of {w_dim}, and this one needs "
            f"{G.num_ws} of {G.w_dim}."
        )
    if fingerprint(G) not in projection.generators:
        generator = projection.about.get("generator", "one that it does not name")
        raise ProjectionError(
            f"{source} is a projection of another generator (of {generator}); the weights of this one ({G.source}) "
            "differ. Give that one with --run and --kimg, or project again."
        )


def draw(G: Generator, projection: Projection, ws: np.ndarray | None = None) -> np.ndarray:
    """The images of a projection, uint8 [N, r, r, C], or of other ws [N, ..., num_ws, w_dim] with its noise."""
    G = in_float32(G)  # as ``project`` computes
    ws = projection.ws if ws is None else ws
    if projection.noise is None:
        return sampling.synthesize(G, ws)
    images_per_row = int(np.prod(ws.shape[1:-2]))
    return sampling.synthesize(G, ws, noise=np.repeat(projection.noise, images_per_row, axis=0))


def psnr(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Peak signal-to-noise ratio of uint8 images [N, h, w, C] in dB, [N]; infinite where they are equal."""
    error = np.square(a.astype(np.float64) - b).mean(axis=(1, 2, 3))
    with np.errstate(divide="ignore"):
        return 10 * np.log10(255**2 / error)


def save(projection: Projection, path: str | os.PathLike[str]) -> None:
    """Write a projection as .npz; atomic."""
    about = {
        "format": FORMAT,
        "names": projection.names,
        "generators": projection.generators,
        "about": projection.about,
    }
    arrays = {name: getattr(projection, name) for name in ("ws", "noise", "z", "loss")}
    present = {name: array for name, array in arrays.items() if array is not None}
    with replacing(path) as partial:
        np.savez_compressed(partial, header=np.array(json.dumps(about)), **present)


def load(path: str | os.PathLike[str]) -> Projection:
    """Read what ``save`` wrote.

    Raises:
        ProjectionError: there is no such file, or it is something else or damaged.
    """
    try:
        with Npz(path) as file:
            arrays = {name: file.read(name) for name in ("ws", "noise", "z", "loss") if name in file.names}
            header = json_text.parse_object(file.text("header"), f"{path}: header", nonfinite=True)
    except OSError as error:
        raise ProjectionError(f"{path}: cannot be read: {error.strerror or error}.") from error
    except FileError as error:
        raise ProjectionError(f"{path} is not a projection that project wrote, or it is damaged: {error}") from error
    about = header.get("about")
    names, generators = (_texts(header.get(name)) for name in ("names", "generators"))
    if header.get("format") != FORMAT or names is None or generators is None or not isinstance(about, dict):
        raise ProjectionError(f"{path} is not a projection that project wrote, or it is damaged.")
    ranks = {"ws": 3, "noise": 2, "z": 2, "loss": 2}
    for name in ("ws", *arrays):
        array = arrays.get(name, np.empty(0))
        count = array.shape[-1 if name == "loss" else 0]
        fits = array.ndim == ranks[name] and count == len(names) and array.dtype.kind == "f"
        if not fits or not np.isfinite(array).all() and name != "loss":
            raise ProjectionError(f"{path} is a damaged projection: its {name} is {array.dtype} {array.shape}.")
    return Projection(names=names, generators=generators, about=about, **arrays)


def _texts(value: Any) -> tuple[str, ...] | None:
    """A list of texts from JSON; None if it is something else."""
    is_list = isinstance(value, list) and all(isinstance(item, str) for item in value)
    return tuple(value) if is_list else None
