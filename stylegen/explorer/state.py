"""The state of the explorer: all that an image depends on, as JSON that fits into an address.

Everything in it comes from a page, so every number is checked.
"""

import base64
import binascii
import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, cast, get_args

import numpy as np

from stylegen.explorer import ExploreError
from stylegen.networks.generator import Generator
from stylegen.networks.synthesis import NoiseMode
from stylegen.sampling.generate import MAX_SEED
from stylegen.untrusted import FileError, numbers, shown

MAX_PSI = 10.0  # of either sign; images are of noise long before
MAX_STRENGTH = 100.0  # of a direction, in standard deviations
MAX_NOISE_STRENGTH = 10.0
MAX_DIRECTIONS = 64  # that are not 0 at once
MAX_NAME = 64  # characters of a direction's name
Source = int | str  # a seed, or the style of one layer as ``encode`` writes it


@dataclass(frozen=True)
class Shape:
    """What a state must fit: the sizes of a generator, and the names of its directions."""

    num_ws: int
    w_dim: int
    c_dim: int
    directions: frozenset[str]

    @classmethod
    def of(cls, G: Generator, directions: frozenset[str] = frozenset()) -> "Shape":
        """That of a generator."""
        return cls(G.num_ws, G.w_dim, G.c_dim, directions)


@dataclass(frozen=True)
class State:
    """An image. The order of what is done to it: mixing, truncation, directions, noise."""

    seed: int = 0  # of its latent, and of random noise
    label: int | None = None  # class; None without classes
    ws: str | None = None  # styles of a photograph, a drag or a child by ``encode``, in place of the seed's
    psi: float = 0.7
    cutoff: int | None = None  # layers truncated; None is all
    mix: Mapping[int, Source] = field(default_factory=dict)  # layers that come from elsewhere
    directions: Mapping[str, float] = field(default_factory=dict)  # strengths by name
    noise: NoiseMode = "const"
    noise_strength: float = 1.0

    def to_json(self) -> dict[str, Any]:
        """What differs from a new state, for JSON."""
        tree: dict[str, Any] = {}
        for one in dataclasses.fields(self):
            value = getattr(self, one.name)
            if one.name in ("mix", "directions"):
                value = {str(key): value[key] for key in sorted(value)}
                default: Any = {}
            else:
                default = one.default
            if value != default:
                tree[one.name] = value
        return tree


def from_json(tree: Any, shape: Shape) -> State:
    """The state that a page sent.

    Args:
        tree: parsed JSON.
        shape: of the generator that it must fit.

    Raises:
        ExploreError: something in it is unknown, no number, or out of range; the message names it.
    """
    if not isinstance(tree, dict):
        raise ExploreError(f"a state is {shown(tree)}; wanted a JSON object.")
    names = {one.name for one in dataclasses.fields(State)}
    if unknown := sorted(set(tree) - names):
        raise ExploreError(f"a state has no {shown(unknown[0])}; it has {', '.join(sorted(names))}.")
    try:
        return State(**{name: _READERS[name](value, shape) for name, value in tree.items()})
    except FileError as error:
        raise ExploreError(str(error)) from error


def encode(ws: np.ndarray) -> str:
    """Styles as base64 of float16, little endian: half the length of float32, and an error that no image shows."""
    limited = np.clip(np.asarray(ws, np.float32), -_LARGEST, _LARGEST)
    return base64.urlsafe_b64encode(np.ascontiguousarray(limited, "<f2").tobytes()).decode()


def decode(text: Any, name: str, shape: tuple[int, ...]) -> np.ndarray:
    """What ``encode`` wrote, float32 of this shape.

    Raises:
        FileError: it is something else.
    """
    size = int(np.prod(shape))
    if not isinstance(text, str) or len(text) != -(-2 * size // 3) * 4:
        raise FileError(f"{name} is {shown(text)}; wanted base64 of {size:,} numbers of 2 bytes.")
    try:
        data = base64.b64decode(text, altchars=b"-_", validate=True)
    except (binascii.Error, ValueError) as error:
        raise FileError(f"{name}: not base64: {error}.") from error
    if len(data) != 2 * size:
        raise FileError(f"{name} has {len(data):,} bytes; wanted {2 * size:,}.")
    ws = np.frombuffer(data, "<f2").astype(np.float32).reshape(shape)
    if not np.isfinite(ws).all():
        raise FileError(f"{name} holds numbers that are not finite.")
    return ws


_LARGEST = float(np.finfo(np.float16).max)


def _optional(value: Any, name: str, most: int) -> int | None:
    return None if value is None else numbers.whole(value, name, 0, most)


def _label(value: Any, shape: Shape) -> int | None:
    if not shape.c_dim:
        if value is not None:
            raise FileError(f"label is {shown(value)}; this generator has no classes.")
        return None
    return _optional(value, "label", shape.c_dim - 1)


def _ws(value: Any, shape: Shape) -> str | None:
    if value is not None:
        decode(value, "ws", (shape.num_ws, shape.w_dim))
    return cast(str | None, value)


def _mix(value: Any, shape: Shape) -> dict[int, Source]:
    if not isinstance(value, dict) or len(value) > shape.num_ws:
        raise FileError(f"mix is {shown(value)}; wanted sources by layer.")
    mixed: dict[int, Source] = {}
    for key, source in value.items():
        number = numbers.digits(key)
        layer = numbers.whole(-1 if number is None else number, "a layer of mix", 0, shape.num_ws - 1)
        if isinstance(source, str):
            decode(source, f"mix of layer {layer}", (shape.w_dim,))
            mixed[layer] = source
        else:
            mixed[layer] = numbers.whole(source, f"mix of layer {layer}", 0, MAX_SEED)
    return mixed


def _directions(value: Any, shape: Shape) -> dict[str, float]:
    if not isinstance(value, dict) or len(value) > MAX_DIRECTIONS:
        raise FileError(f"directions are {shown(value)}; wanted at most {MAX_DIRECTIONS} strengths by name.")
    if unknown := sorted(set(value) - shape.directions):
        raise FileError(f"there is no direction {shown(unknown[0], MAX_NAME)}.")
    named = {name: numbers.finite(x, f"direction {name}", -MAX_STRENGTH, MAX_STRENGTH) for name, x in value.items()}
    return {name: strength for name, strength in named.items() if strength}


def _noise(value: Any, shape: Shape) -> Literal["random", "const", "none"]:
    if not isinstance(value, str) or value not in get_args(NoiseMode):
        raise FileError(f"noise is {shown(value)}; wanted one of {', '.join(get_args(NoiseMode))}.")
    return cast(NoiseMode, value)


_READERS: dict[str, Any] = {
    "seed": lambda value, shape: numbers.whole(value, "seed", 0, MAX_SEED),
    "label": _label,
    "ws": _ws,
    "psi": lambda value, shape: numbers.finite(value, "psi", -MAX_PSI, MAX_PSI),
    "cutoff": lambda value, shape: _optional(value, "cutoff", shape.num_ws),
    "mix": _mix,
    "directions": _directions,
    "noise": _noise,
    "noise_strength": lambda value, shape: numbers.finite(value, "noise_strength", 0, MAX_NOISE_STRENGTH),
}
