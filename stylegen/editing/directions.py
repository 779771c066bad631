"""Directions in the space of styles: named vectors with the layers that they act on, and their file."""

import json
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from stylegen.errors import StylegenError
from stylegen.io.files import replacing
from stylegen.networks.generator import Generator
from stylegen.projection.result import fingerprint
from stylegen.untrusted import FileError, json_text, numbers
from stylegen.untrusted.npz import Npz

FORMAT = "stylegen-directions-1"
MAX_LAYERS = 100  # a generator of 1024 pixels has 18


class EditError(StylegenError):
    """There is no such direction, or it cannot be found or applied; the message says why."""


@dataclass(frozen=True, eq=False)
class Direction:
    """One direction."""

    name: str
    vector: np.ndarray  # [w_dim]; a strength of 1 adds it once: one standard deviation of w along it
    layers: tuple[int, ...]  # that it acts on
    about: dict[str, Any] = field(default_factory=dict)  # how it was found


@dataclass(frozen=True, eq=False)
class Directions:
    """All directions found for one generator."""

    entries: tuple[Direction, ...]
    generator: str  # its fingerprint

    def __len__(self) -> int:
        return len(self.entries)

    def get(self, name: str) -> Direction:
        """A direction by its name, or by its number from 0.

        Raises:
            EditError: there is none; the message lists what there is.
        """
        for direction in self.entries:
            if direction.name == name:
                return direction
        number = numbers.digits(name)
        if number is not None and number < len(self.entries):
            return self.entries[number]
        names = ", ".join(f"{i} {direction.name}" for i, direction in enumerate(self.entries))
        raise EditError(f"direction {name!r}: there is none of this name or number; there are {names}.")

    def renamed(self, old: str, new: str) -> "Directions":
        """The same directions, one of them renamed.

        Raises:
            EditError: there is none of the old name, or the new one is empty, a number or taken.
        """
        target = self.get(old)
        if not re.fullmatch(r"[^\s,=/]+", new) or new.isdigit():
            raise EditError(f"{new!r} is no name for a direction: use letters, no spaces, commas, = or /.")
        if any(d.name == new and d is not target for d in self.entries):
            raise EditError(f"there is a direction {new!r} already.")
        return replace(self, entries=tuple(replace(d, name=new) if d is target else d for d in self.entries))

    def joined(self, added: Sequence[Direction]) -> "Directions":
        """These directions and the added ones, which replace those of the same name."""
        names = {direction.name for direction in added}
        return replace(self, entries=(*(d for d in self.entries if d.name not in names), *added))


def move(ws: np.ndarray, direction: Direction, strength: float, layers: Sequence[int] | None = None) -> np.ndarray:
    """Styles ws [..., num_ws, w_dim] moved along a direction.

    Args:
        ws: the styles.
        direction: where to.
        strength: in standard deviations of w along it.
        layers: that are moved; those of the direction if None.

    Raises:
        EditError: another size of w, or a layer that does not exist.
    """
    if ws.shape[-1] != len(direction.vector):
        raise EditError(f"direction {direction.name}: it has {len(direction.vector)} numbers, w has {ws.shape[-1]}.")
    moved_layers = list(direction.layers if layers is None else layers)
    if outside := [layer for layer in moved_layers if not 0 <= layer < ws.shape[-2]]:
        raise EditError(f"layer {outside[0]} does not exist: there are {ws.shape[-2]}, 0 to {ws.shape[-2] - 1}.")
    moved = np.array(ws)
    moved[..., moved_layers, :] += np.float32(strength) * direction.vector
    return moved


def save(directions: Directions, path: str | os.PathLike[str]) -> None:
    """Write directions as .npz; atomic."""
    entries = [{"name": d.name, "layers": d.layers, "about": d.about} for d in directions.entries]
    header = {"format": FORMAT, "generator": directions.generator, "directions": entries}
    vectors = np.stack([d.vector for d in directions.entries]).astype(np.float32)
    with replacing(path) as partial:
        np.savez_compressed(partial, header=np.array(json.dumps(header)), vectors=vectors)


def load(path: str | os.PathLike[str], G: Generator | None = None) -> Directions:
    """Read what ``save`` wrote.

    Args:
        path: the file.
        G: the generator that they are to be used with.

    Raises:
        EditError: there is no such file, it is something else, or of another generator.
    """
    try:
        with Npz(path) as file:
            header = json_text.parse_object(file.text("header"), f"{path}: header", nonfinite=True)
            vectors = file.read("vectors")
        entries = _entries(header, vectors)
    except FileNotFoundError as error:
        raise EditError(f"{path}: there are no directions there; find some first (--discover 10).") from error
    except OSError as error:
        raise EditError(f"{path}: cannot be read: {error.strerror or error}.") from error
    except FileError as error:
        raise EditError(f"{path} holds no directions that edit wrote, or it is damaged: {error}") from error
    directions = Directions(entries, header["generator"])
    if G is not None and (vectors.shape[1:] != (G.w_dim,) or directions.generator != fingerprint(G)):
        raise EditError(
            f"{path} has directions of another generator; its weights are not those of {G.source}. Find new ones with "
            "edit --discover 10."
        )
    return directions


def _entries(header: dict[str, Any], vectors: np.ndarray) -> tuple[Direction, ...]:
    """The directions of a file; raises FileError where they are none."""
    listed: Any = header.get("directions")
    plain = vectors.ndim == 2 and vectors.dtype.kind == "f" and isinstance(listed, list) and len(listed) == len(vectors)
    if header.get("format") != FORMAT or not isinstance(header.get("generator"), str) or not plain:
        raise FileError(f"its format is not {FORMAT}, or its vectors are not those of its header.")
    if not np.isfinite(vectors).all():
        raise FileError("its vectors hold numbers that are not finite.")
    entries = []
    for number, (entry, vector) in enumerate(zip(listed, vectors, strict=True)):
        fields = entry if isinstance(entry, dict) else {}
        name, layers, about = (fields.get(key) for key in ("name", "layers", "about"))
        if not isinstance(name, str) or not isinstance(layers, list) or not isinstance(about, dict):
            raise FileError(f"its direction {number} has no name, layers or origin.")
        acts_on = tuple(numbers.whole(layer, "a layer", 0, MAX_LAYERS) for layer in layers)
        entries.append(Direction(name, vector, acts_on, about))
    return tuple(entries)
