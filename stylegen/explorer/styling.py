"""Style transfer in the explorer: prepared once for a content and its styles, so that alpha and weights are live."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from stylegen.data import imaging
from stylegen.explorer import ExploreError
from stylegen.explorer.engine import Engine
from stylegen.explorer.jobs import resized
from stylegen.explorer.requests import Picture, Request
from stylegen.explorer.uploads import Uploads
from stylegen.style_transfer.model import StyleModel, load_model
from stylegen.style_transfer.stylize import Prepared, prepare

SIDE, MOVING_SIDE = 512, 256  # pixels of a content at rest, and while something moves
STYLE_SIDE = 512
SMALLEST = 256  # pixels that a smaller image is enlarged to: brush strokes need room
KEPT = 4  # prepared transfers


@dataclass(frozen=True)
class _Key:
    """What a prepared transfer depends on."""

    content: tuple[Any, ...]
    styles: tuple[tuple[Any, ...], ...]
    mask: bytes
    color: str
    side: int


class Styling:
    """Transfers of one page."""

    def __init__(self, uploads: Uploads) -> None:
        self._uploads = uploads
        self._model: StyleModel | None = None
        self._prepared: dict[_Key, Prepared] = {}

    def image(self, engine: Engine, request: Request) -> np.ndarray:
        """The image of a message ``style``, uint8 [h, w, 3]; smaller while something moves."""
        values = request.values
        prepared = self._find(engine, values, MOVING_SIDE if values["moving"] else SIDE)
        weights = values["weights"]
        if prepared.masks is not None:
            weights = None
        elif weights is not None:
            total = sum(weights)
            weights = [weight / total for weight in weights] if total > 0 else None
        return prepared.image(values["alpha"], weights)

    def _find(self, engine: Engine, values: dict[str, Any], side: int) -> Prepared:
        content, styles, mask = values["content"], values["styles"], values["mask"]
        shape = b"" if mask is None else repr(mask.shape).encode() + np.packbits(mask).tobytes()
        key = _Key(content.key, tuple(style.key for style in styles), shape, values["color"], side)
        if key not in self._prepared:
            while len(self._prepared) >= KEPT:
                del self._prepared[next(iter(self._prepared))]
            self._prepared[key] = self._prepare(engine, content, styles, mask, values["color"], side)
        return self._prepared[key]

    def _prepare(
        self,
        engine: Engine,
        content: Picture,
        styles: Sequence[Picture],
        mask: np.ndarray | None,
        color: Any,
        side: int,
    ) -> Prepared:
        if self._model is None:
            self._model = load_model()
        drawn = self._pixels(engine, content, side)
        style_images = [self._pixels(engine, style, STYLE_SIDE) for style in styles]
        masks = None
        if mask is not None:
            if len(styles) > 2:
                raise ExploreError(f"a mask goes with one or two styles, and there are {len(styles)}.")
            masks = [resized(mask, drawn.shape[:2]).astype(np.float32)]
        preserved = None if color == "none" else color
        return prepare(self._model, drawn, style_images, masks=masks, preserve_color=preserved)

    def _pixels(self, engine: Engine, picture: Picture, side: int) -> np.ndarray:
        """uint8 [h, w, 3] of an upload, or of a state's image, which is enlarged if it is small."""
        if picture.state is None:
            assert picture.upload is not None
            return self._uploads.get(picture.upload).pixels(side)
        drawn = imaging.from_array(engine.image(picture.state), 3)
        size = max(min(drawn.width, side), SMALLEST)
        return np.asarray(drawn.resize((size, size), Image.Resampling.LANCZOS))
