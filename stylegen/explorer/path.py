"""A path through keyframes: straight or curved in w, as frames of a video or at any moment of it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from stylegen import sampling
from stylegen.explorer import ExploreError
from stylegen.explorer.engine import Engine
from stylegen.explorer.state import State

Easing = Literal["linear", "smooth", "curve"]
EASINGS = ("linear", "smooth", "curve")
MAX_KEYFRAMES, MAX_FRAMES = 64, 5000  # of a video: frames in all


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
        self._ws = np.stack([engine.styles(state) for state in path.keyframes])

    @property
    def segments(self) -> int:
        """From keyframe to keyframe."""
        return self._path.segments

    def styles(self, at: float) -> np.ndarray:
        """The styles [num_ws, w_dim] at a place from 0 to the number of segments."""
        path, ws = self._path, self._ws
        first = min(int(at), path.segments - 1)
        t = np.float32(at - first)
        if path.easing == "smooth":
            t = t * t * (3 - 2 * t)
        if path.easing != "curve":
            return ws[first] * (1 - t) + ws[(first + 1) % len(ws)] * t
        before, a, b, after = (ws[self._index(first + i)] for i in (-1, 0, 1, 2))
        # Catmull and Rom 1974: through every keyframe, with the slope of its neighbors.
        slopes = (b - before) / 2, (after - a) / 2
        weights = (2 * t**3 - 3 * t**2 + 1, t**3 - 2 * t**2 + t, -2 * t**3 + 3 * t**2, t**3 - t**2)
        return weights[0] * a + weights[1] * slopes[0] + weights[2] * b + weights[3] * slopes[1]

    def image(self, at: float) -> np.ndarray:
        """The image at a place from 0 to the number of segments, uint8 [r, r, C]."""
        return self._engine.draw(self.styles(at), self._path.keyframes[0])

    def frames(self) -> Iterator[np.ndarray]:
        """All images of the video, uint8 [r, r, C]."""
        path, G = self._path, self._engine.G
        noise = self._engine.noise(path.keyframes[0])
        size = min(sampling.default_batch(G.resolution), path.total)
        for start in range(0, path.total, size):
            places = [i / path.frames for i in range(start, min(start + size, path.total))]
            ws = np.stack([self.styles(place) for place in places])
            yield from sampling.synthesize(G, ws, noise=np.repeat(noise[None], len(ws), axis=0), batch=size)

    def _index(self, i: int) -> int:
        return i % len(self._ws) if self._path.loop else min(max(i, 0), len(self._ws) - 1)
