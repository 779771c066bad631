"""The messages of a page: what each may hold, checked before anything is done.

A message is a JSON object with a ``type``, an ``id`` and what ``READERS`` says. Nothing in it names a file.
"""

import base64
import binascii
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import numpy as np

from stylegen.editing import drag
from stylegen.explorer import ExploreError, limits
from stylegen.explorer.path import EASINGS, MAX_FRAMES, MAX_KEYFRAMES, Easing, Path
from stylegen.explorer.state import Shape, State, from_json
from stylegen.sampling.generate import MAX_SEED
from stylegen.untrusted import FileError, json_text, numbers, shown

MAX_ID = 2**53 - 1  # of JavaScript's whole numbers
MAX_IMAGES = 64  # of a wall
MAX_CHILDREN = 16
MAX_STEPS = 2000  # of a drag or a projection
MAX_STYLES = 4  # of a transfer
MAX_MASK_SIDE = 512
MAX_CHECKPOINT_KIMG = 10**9
VIDEO_FORMATS = ("mp4", "gif", "webp")
COLORS = ("none", "coral", "luminance")
SPACES = ("w", "w+")

Tree = dict[str, Any]


@dataclass(frozen=True)
class Request:
    """A message that was read: its values are checked."""

    type: str
    id: int
    values: Tree


def parse(message: str | bytes) -> Any:
    """The value of a message's JSON.

    Raises:
        ExploreError, FileError: it is too long, or no JSON.
    """
    if len(message) > limits.MAX_MESSAGE:
        raise ExploreError(f"a message of {len(message):,} bytes; at most {limits.MAX_MESSAGE:,} are read.")
    return json_text.parse(message, "the message")


def read(tree: Any, shape: Shape) -> Request:
    """Read a message.

    Args:
        tree: parsed JSON.
        shape: that its states must fit.

    Raises:
        ExploreError, FileError: something in it is missing, unknown or out of range.
    """
    if not isinstance(tree, dict):
        raise ExploreError(f"the message is {shown(tree)}; wanted a JSON object.")
    kind = tree.get("type")
    if not isinstance(kind, str) or kind not in READERS:
        raise ExploreError(f"there is no message {shown(kind)}; there are {', '.join(READERS)}.")
    number = numbers.whole(tree.get("id", 0), "id", 0, MAX_ID)
    given = {name: value for name, value in tree.items() if name not in ("type", "id")}
    fields = READERS[kind]
    if unknown := sorted(set(given) - set(fields)):
        raise ExploreError(f"a message {kind} has no {shown(unknown[0])}; it has {', '.join(fields) or 'nothing'}.")
    values = {}
    for name, (reader, default) in fields.items():
        if name in given:
            values[name] = reader(given[name], name, shape)
        elif default is REQUIRED:
            raise ExploreError(f"a message {kind} needs {name}.")
        else:
            values[name] = default
    return Request(kind, number, values)


Reader = Callable[[Any, str, Shape], Any]
REQUIRED: Any = object()


def _whole(least: int, most: int) -> Reader:
    return lambda value, name, shape: numbers.whole(value, name, least, most)


def _finite(least: float, most: float) -> Reader:
    return lambda value, name, shape: numbers.finite(value, name, least, most)


def _one_of(*allowed: str) -> Reader:
    def read_text(value: Any, name: str, shape: Shape) -> str:
        if not isinstance(value, str) or value not in allowed:
            raise FileError(f"{name} is {shown(value)}; wanted one of {', '.join(allowed)}.")
        return value

    return read_text


def _flag(value: Any, name: str, shape: Shape) -> bool:
    if not isinstance(value, bool):
        raise FileError(f"{name} is {shown(value)}; wanted true or false.")
    return value


def _state(value: Any, name: str, shape: Shape) -> State:
    return from_json(value, shape)


def _list(reader: Reader, least: int, most: int) -> Reader:
    def read_list(value: Any, name: str, shape: Shape) -> list[Any]:
        if not isinstance(value, list) or not least <= len(value) <= most:
            raise FileError(f"{name} is {shown(value)}; wanted a list of {least} to {most}.")
        return [reader(item, name, shape) for item in value]

    return read_list


def _place(value: Any, name: str, shape: Shape) -> tuple[float, float]:
    if not isinstance(value, list) or len(value) != 2:
        raise FileError(f"{name} is {shown(value)}; wanted places [y, x].")
    y, x = (numbers.finite(part, name, -1, 2**14) for part in value)
    return y, x


def _mask(value: Any, name: str, shape: Shape) -> np.ndarray | None:
    """A mask {width, height, bits: base64 of a bit a pixel, the first one highest}: bool [h, w]; null is none."""
    if value is None:
        return None
    if not isinstance(value, dict) or set(value) != {"width", "height", "bits"}:
        raise FileError(f"{name} is {shown(value)}; wanted width, height and bits.")
    width, height = (numbers.whole(value[side], f"{name}: {side}", 1, MAX_MASK_SIDE) for side in ("width", "height"))
    bits, size = value["bits"], -(-width * height // 8)
    if not isinstance(bits, str) or len(bits) != -(-size // 3) * 4:
        raise FileError(f"{name}: bits are {shown(bits)}; wanted base64 of {size:,} bytes.")
    try:
        data = base64.b64decode(bits, validate=True)
    except (binascii.Error, ValueError) as error:
        raise FileError(f"{name}: bits are no base64: {error}.") from error
    if len(data) != size:
        raise FileError(f"{name}: bits are {len(data):,} bytes; wanted {size:,}.")
    flat = np.unpackbits(np.frombuffer(data, np.uint8), count=width * height)
    return flat.reshape(height, width).astype(bool)


@dataclass(frozen=True)
class Picture:
    """An image to work on: one that was uploaded, or that of a state."""

    upload: int | None
    state: State | None

    @property
    def key(self) -> tuple[Any, ...]:
        """Equal for equal images."""
        return self.upload, None if self.state is None else str(self.state.to_json())


def _picture(value: Any, name: str, shape: Shape) -> Picture:
    if isinstance(value, dict) and set(value) == {"upload"}:
        return Picture(numbers.whole(value["upload"], name, 1, MAX_ID), None)
    if isinstance(value, dict) and set(value) == {"state"}:
        return Picture(None, from_json(value["state"], shape))
    raise FileError(f"{name} is {shown(value)}; wanted upload or state.")


_PATH: dict[str, tuple[Reader, Any]] = {
    "keyframes": (_list(_state, 2, MAX_KEYFRAMES), REQUIRED),
    "easing": (_one_of(*EASINGS), "smooth"),
    "loop": (_flag, False),
}

# Of each type: its fields, each with its reader and its default.
READERS: dict[str, dict[str, tuple[Reader, Any]]] = {
    "hello": {},
    "ping": {},
    "stop": {},
    "image": {"state": (_state, REQUIRED), "moving": (_flag, False)},
    "images": {"states": (_list(_state, 1, MAX_IMAGES), REQUIRED)},
    "children": {
        "a": (_state, REQUIRED),
        "b": (_state, REQUIRED),
        "count": (_whole(1, MAX_CHILDREN), 8),
        "seed": (_whole(0, MAX_SEED), 0),
    },
    "layer": {"state": (_state, REQUIRED)},
    "npz": {"state": (_state, REQUIRED)},
    "frame": {**_PATH, "at": (_finite(0, MAX_KEYFRAMES), REQUIRED)},
    "video": {
        **_PATH,
        "frames": (_whole(1, MAX_FRAMES), 30),
        "fps": (_finite(1, 120), 30.0),
        "format": (_one_of(*VIDEO_FORMATS), "mp4"),
    },
    "project": {
        "upload": (_whole(1, MAX_ID), REQUIRED),
        "steps": (_whole(1, MAX_STEPS), 500),
        "space": (_one_of(*SPACES), "w+"),
        "label": (_whole(0, 2**31), None),
        "continue": (_flag, False),
    },
    "drag": {
        "state": (_state, REQUIRED),
        "points": (_list(_place, 1, drag.MAX_POINTS), REQUIRED),
        "targets": (_list(_place, 1, drag.MAX_POINTS), REQUIRED),
        "mask": (_mask, None),
        "steps": (_whole(1, MAX_STEPS), 200),
        "learning_rate": (_finite(1e-6, 1), 0.01),
        "style_weight": (_finite(0, 1000), 0.05),
        "at": (_whole(4, 2**14), None),
        "layers": (_whole(1, 100), None),
    },
    "style": {
        "content": (_picture, REQUIRED),
        "styles": (_list(_picture, 1, MAX_STYLES), REQUIRED),
        "weights": (_list(_finite(0, 1), 1, MAX_STYLES), None),
        "alpha": (_finite(0, 1), 1.0),
        "mask": (_mask, None),
        "color": (_one_of(*COLORS), "none"),
        "moving": (_flag, False),
    },
    "run": {"seen": (_whole(0, MAX_ID), 0)},
    "grid": {"kimg": (_whole(0, MAX_CHECKPOINT_KIMG), REQUIRED)},
    "checkpoint": {"kimg": (_finite(0, MAX_CHECKPOINT_KIMG), REQUIRED)},
}


def path_of(values: Tree, frames: int = 1) -> Path:
    """The path of a message ``frame`` or ``video``."""
    return Path(tuple(values["keyframes"]), frames, cast(Easing, values["easing"]), values["loop"])
