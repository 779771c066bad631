"""Walks along a direction, and walks that a file describes: keyframes of seeds or projections."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from stylegen.editing.directions import Direction, EditError, move
from stylegen.networks.generator import Generator
from stylegen.paths import expanded
from stylegen.projection import result
from stylegen.sampling import curves
from stylegen.sampling.generate import MAX_SEED, latents, mix, styles
from stylegen.sampling.walks import Frames, Walk, truncate_frames
from stylegen.untrusted import FileError, json_text, numbers, shown

MAX_KEYFRAMES = 10_000
MAX_SECONDS = 3600
MAX_PSI = 100.0
FIELDS = ("seed", "projection", "name", "label", "seconds", "psi", "layers")


def along(walk: Walk, direction: Direction, strengths: Sequence[float], layers: Sequence[int] | None = None) -> Walk:
    """The walk moved along a direction, whose strength passes through ``strengths`` evenly over the frames.

    Args:
        walk: of a seed that stays, or any other.
        direction: of ``editing.directions``.
        strengths: in standard deviations of w along it.
        layers: that are moved; those of the direction if None.

    Raises:
        EditError: no strength, another size of w, or a layer that does not exist.
    """
    if not strengths or not np.isfinite(strengths).all():
        raise EditError(f"strengths {list(strengths)}: must be finite numbers, at least one.")
    line = curves.curve(np.asarray(strengths, np.float64)[:, None])
    last = max(walk.frames - 1, 1)
    move(walk.styles(np.array([0])), direction, 0.0, layers)  # what does not fit is said now

    def change(frames: Frames, ws: np.ndarray) -> np.ndarray:
        at = [float(line(frame / last * (len(strengths) - 1))[0]) for frame in frames]
        return np.stack([move(x, direction, strength, layers) for x, strength in zip(ws, at, strict=True)])

    return walk.changed(change)


@dataclass(frozen=True)
class Keyframe:
    """One point of a walk."""

    seed: int | None  # or
    projection: str | None  # a file that project wrote
    name: str | None  # of the image in it; the first if None
    label: int | None  # class of the seed
    seconds: float  # to the next keyframe
    psi: float  # truncation here; in between it changes straight
    layers: dict[str, int]  # layers that come from another seed: {"4-7": 9}


def read(path: str | os.PathLike[str]) -> tuple[list[Keyframe], bool]:
    """The keyframes of a file, and whether the last leads back to the first.

    The file is JSON: ``{"loop": true, "keyframes": [{"seed": 3, "seconds": 2, "psi": 0.7, "layers": {"4-7": 9}},
    {"projection": "out/projection.npz", "name": "room", "seconds": 1}]}``. Only a seed or a projection must be stated.
    Paths are relative to the file's folder.

    Raises:
        EditError: there is no such file, or a field is missing, unknown or out of range; the message names it.
    """
    path = expanded(path)
    try:
        tree = json_text.parse_object(path.read_bytes(), str(path))
        return _keyframes(tree, path), _loop(tree)
    except FileError as error:
        raise EditError(f"{error}" if str(path) in str(error) else f"{path}: {error}") from error
    except OSError as error:
        raise EditError(f"{path}: cannot be read: {error.strerror or error}.") from error


def _loop(tree: dict[str, Any]) -> bool:
    if not isinstance(loop := tree.get("loop", False), bool):
        raise FileError(f"loop is {shown(loop)}; wanted true or false.")
    return loop


def _keyframes(tree: dict[str, Any], path: Path) -> list[Keyframe]:
    entries = tree.get("keyframes")
    if unknown := sorted(set(tree) - {"loop", "keyframes"}):
        raise FileError(f"{shown(unknown[0])} is unknown; there are loop and keyframes.")
    if not isinstance(entries, list) or not 2 <= len(entries) <= MAX_KEYFRAMES:
        raise FileError(f"keyframes is no list of 2 to {MAX_KEYFRAMES:,} keyframes.")
    return [_keyframe(entry, f"keyframe {number}", path.parent) for number, entry in enumerate(entries)]


def _keyframe(entry: Any, where: str, folder: Path) -> Keyframe:
    if not isinstance(entry, dict):
        raise FileError(f'{where} is {shown(entry)}; wanted an object such as {{"seed": 3, "seconds": 2}}.')
    if unknown := sorted(set(entry) - set(FIELDS)):
        raise FileError(f"{where}: {shown(unknown[0])} is unknown; there are {', '.join(FIELDS)}.")
    if ("seed" in entry) == ("projection" in entry):
        raise FileError(f"{where}: has {'both' if 'seed' in entry else 'none'} of seed and projection; give one.")
    projection, name, layers = (entry.get(field) for field in ("projection", "name", "layers"))
    for field, value in (("projection", projection), ("name", name)):
        if value is not None and not isinstance(value, str):
            raise FileError(f"{where}: {field} is {shown(value)}; wanted a text.")
    if layers is not None and not isinstance(layers, dict):
        raise FileError(f'{where}: layers is {shown(layers)}; wanted an object such as {{"4-7": 9}}.')
    return Keyframe(
        seed=None if projection is not None else numbers.whole(entry["seed"], f"{where}: seed", 0, MAX_SEED),
        projection=None if projection is None else str(folder / projection),
        name=name,
        label=None if "label" not in entry else numbers.whole(entry["label"], f"{where}: label", 0, 10**6),
        seconds=numbers.finite(entry.get("seconds", 1.0), f"{where}: seconds", 0.01, MAX_SECONDS),
        psi=numbers.finite(entry.get("psi", 1.0), f"{where}: psi", -MAX_PSI, MAX_PSI),
        layers={
            text: numbers.whole(seed, f"{where}: layers {shown(text)}", 0, MAX_SEED)
            for text, seed in (layers or {}).items()
        },
    )


def keyframe_walk(
    G: Generator,
    keyframes: Sequence[Keyframe],
    *,
    loop: bool = False,
    path: curves.Kind = "cubic",
    fps: float = 30.0,
    cutoff: int | None = None,
) -> Walk:
    """The walk through keyframes, truncated as they say. Constant noise: a projection's own noise is not used.

    Args:
        G: the generator.
        keyframes: of ``read``, at least two.
        loop: return to the first.
        path: from one to the next.
        fps: frames a second.
        cutoff: layers that psi truncates.

    Raises:
        EditError: a layer that does not exist, or a projection has no image of that name.
        ProjectionError: a projection is none, or of another generator.
        SamplingError: labels that do not fit.
    """
    ws = np.concatenate([_styles(G, keyframe, number) for number, keyframe in enumerate(keyframes)])
    between = keyframes if loop else keyframes[:-1]
    at = curves.positions([max(round(keyframe.seconds * fps), 1) for keyframe in between], closed=loop)
    line = curves.curve(ws, path, loop)
    psi = curves.curve(np.array([[keyframe.psi] for keyframe in keyframes], np.float32), "linear", loop)

    def of_frames(frames: Frames) -> np.ndarray:
        points = np.stack([line(position) for position in at[frames]])[:, None]
        values = np.stack([psi(position) for position in at[frames]])
        return truncate_frames(G, points, values[:, :, None, None], cutoff)

    return Walk(len(at), of_frames)


def _styles(G: Generator, keyframe: Keyframe, number: int) -> np.ndarray:
    """Styles [1, num_ws, w_dim] of a keyframe, its own layers mixed in."""
    if keyframe.projection is not None:
        projection = result.load(keyframe.projection)
        result.check(projection, G, keyframe.projection)
        if keyframe.name is not None and keyframe.name not in projection.names:
            names = ", ".join(projection.names[:10])
            raise EditError(f"keyframe {number}: {keyframe.projection} has no {keyframe.name!r}; it has {names}.")
        index = 0 if keyframe.name is None else projection.names.index(keyframe.name)
        ws = projection.ws[index : index + 1]
    else:
        assert keyframe.seed is not None
        ws = styles(G, latents([keyframe.seed], G.z_dim), labels=keyframe.label)
    for text, seed in keyframe.layers.items():
        first, dash, last = text.partition("-")
        ends = [numbers.digits(end) for end in ((first, last) if dash else (first, first))]
        if None in ends or not 0 <= (ends[0] or 0) <= (ends[1] or 0) < G.num_ws:
            raise EditError(f"keyframe {number}: layers {shown(text)!r} are not among 0 to {G.num_ws - 1}; write 4-7.")
        chosen = range(ends[0] or 0, (ends[1] or 0) + 1)
        ws = mix(ws, styles(G, latents([seed], G.z_dim), labels=keyframe.label), chosen)[0]
    return ws
