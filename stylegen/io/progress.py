"""Messages of a long job: lines, and one progress line that overwrites itself on a terminal."""

import sys
import time
from typing import TextIO

_LOG_SECONDS = 10.0  # between progress lines where they cannot overwrite each other


class Progress:
    """Writes to ``stream`` (default: standard error)."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = sys.stderr if stream is None else stream
        self._terminal = self._stream.isatty()
        self._width = 0
        self._last = 0.0

    def say(self, text: str) -> None:
        """A line that stays."""
        self.clear()
        print(text, file=self._stream, flush=True)

    def update(self, text: str) -> None:
        """The present state; overwritten by the next one, or, off a terminal, written every ten seconds."""
        if self._terminal:
            print("\r" + text.ljust(self._width), end="", file=self._stream, flush=True)
            self._width = len(text)
        elif time.monotonic() - self._last >= _LOG_SECONDS:
            self._last = time.monotonic()
            print(text, file=self._stream, flush=True)

    def clear(self) -> None:
        """Wipe the progress line."""
        if self._width:
            print("\r" + " " * self._width + "\r", end="", file=self._stream, flush=True)
            self._width = 0


class Rate:
    """Speed and time left of a job of known size; work done before it started does not count towards the speed."""

    def __init__(self, total: int, done: int = 0) -> None:
        self.total = total
        self._first = done
        self._start = time.monotonic()

    def line(self, done: int) -> str:
        """For example ``1,200 of 3,033,042 images, 310 images/s, 2 h 43 min left``."""
        seconds = max(time.monotonic() - self._start, 1e-6)
        speed = (done - self._first) / seconds
        text = f"{done:,} of {self.total:,} images"
        if speed <= 0:
            return text
        return f"{text}, {speed:,.0f} images/s, {duration((self.total - done) / speed)} left"


def duration(seconds: float) -> str:
    """For example ``45 s``, ``12 min`` or ``2 h 43 min``."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02d} min"


def size(count: float) -> str:
    """Bytes in decimal units, for example ``43.2 GB``."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if count < 1000 or unit == "GB":
            return f"{count:,.0f} {unit}" if unit == "bytes" or count >= 100 else f"{count:.1f} {unit}"
        count /= 1000
    raise AssertionError("unreachable")
