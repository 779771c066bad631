"""Replies to a page: a JSON header and binary parts, images above all, in one frame.

A frame is four bytes that hold the header's length (little endian), the header as JSON in UTF-8, and the parts one
after the other. The header has their lengths in ``sizes``.
"""

import json
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from stylegen.io import images

Coding = Literal["raw", "jpeg", "png"]
RAW_SIDE = 64  # pixels: up to here an image is sent as it is, which is the quickest
# Of an image that moves: JPEG with the color of every pixel takes 0.75 ms at 256 pixels where PNG takes 16.
MOVING = {"quality": 95, "subsampling": "4:4:4"}
AT_REST = {"compress_level": 1}


@dataclass(frozen=True)
class Reply:
    """A reply to a message."""

    type: str
    id: int  # of the message
    header: dict[str, Any] = field(default_factory=dict)
    parts: Sequence[bytes] = ()

    def tree(self) -> dict[str, Any]:
        """The header as JSON."""
        return {"type": self.type, "id": self.id, **self.header, "sizes": [len(part) for part in self.parts]}

    def frame(self) -> bytes:
        """The whole as bytes."""
        header = json.dumps(self.tree(), allow_nan=False).encode()
        return b"".join([struct.pack("<I", len(header)), header, *self.parts])


def coding(image: np.ndarray, moving: bool) -> Coding:
    """How an image [h, w, C] is sent: nothing is lost in small images, and in others only while they move."""
    if max(image.shape[:2]) <= RAW_SIDE:
        return "raw"
    return "jpeg" if moving and image.shape[2] in (1, 3) else "png"


def encoded(image: np.ndarray, kind: Coding) -> bytes:
    """The bytes of an image, uint8 [h, w, C]."""
    if kind == "raw":
        return image.tobytes()
    return images.encoded(images.to_pil(image), f".{kind}", **(MOVING if kind == "jpeg" else AT_REST))


def with_images(kind: str, number: int, shown: Sequence[np.ndarray], moving: bool = False, **header: Any) -> Reply:
    """A reply that shows images of one size, uint8 [h, w, C]."""
    chosen = coding(shown[0], moving) if len(shown) else "raw"
    shape = list(shown[0].shape) if len(shown) else []
    parts = [encoded(image, chosen) for image in shown]
    return Reply(kind, number, {"coding": chosen, "shape": shape, **header}, parts)
