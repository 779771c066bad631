"""A path through keyframes: straight or curved in w, as frames of a video or at any moment of it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from stylegen import sampling
from stylegen.explorer import ExploreError
from stylegen.explorer.engine import Engine
from stylegen.explorer.state import State
from stylegen.sampling import curves

Easing = Literal["linear", "smooth", "curve"]
EASINGS = ("linear", "smooth", "curve")
MAX_KEYFRAMES, MAX_FRAMES = 32, 5000  # whose styles fit one message; frames in all, of a video
_KINDS: dict[Easing, curves.Kind] = {"linear": "linear", "smooth": "eased", "curve": "cubic"}


@dataclass(frozen=True)
class Path:
    """Keyframes, and how to go from one to the next. Noise is that of the first keyframe: other noise would flicker."""

    keyframes: Sequence[State]
    frames: int = 30  # from one keyframe to the next
    easing: Easing = "smooth"  # straight at constant speed, stopping at each keyframe, or curved without a stop
    loop: bool = False

    def __post_init__(self) -> None:
        if not 2 <= len(self.keyframes) <= MAX_KEYFRAMES:
            raise ExploreError(f"{len(self.keyframes)} keyframes: a path has 2 to {MAX_KEYFRAMES}.")
        if self.frames < 1 or self.total > MAX_FRAMES:
            raise ExploreError(f"frames = {self.frames}: from 1 on, and at most {MAX_FRAMES} in all.")

    @property
    def segments(self) -> int:
        """From keyframe to keyframe."""
        return len(self.keyframes) if self.loop else len(self.keyframes) - 1

    @property
    def total(self) -> int:
        """Frames in all. A loop ends a step before its first keyframe."""
        return self.segments * self.frames + (not self.loop)


class Walker:
    """The images along a path."""

    def __init__(self, engine: Engine, path: Path) -> None:
        """Put the styles of all keyframes together."""
        self._engine, self._path = engine, path
        ws = np.stack([engine.styles(state) for state in path.keyframes])
        # The styles [num_ws, w_dim] at a place from 0 to the number of segments.
        self.styles: curves.Curve = curves.curve(ws, _KINDS[path.easing], path.loop)

    def image(self, at: float) -> np.ndarray:
        """The image at a place from 0 to the number of segments, uint8 [r, r, C]."""
        return self._engine.draw(self.styles(at), self._path.keyframes[0])

    def frames(self) -> Iterator[np.ndarray]:
        """All images of the video, uint8 [r, r, C]."""
        path, G = self._path, self._engine.G
        noise = self._engine.noise(path.keyframes[0])
        places = curves.positions([path.frames] * path.segments, closed=path.loop)
        size = min(sampling.default_batch(G.resolution), path.total)
        for start in range(0, path.total, size):
            ws = np.stack([self.styles(float(place)) for place in places[start : start + size]])
            yield from sampling.synthesize(G, ws, noise=np.repeat(noise[None], len(ws), axis=0), batch=size)
