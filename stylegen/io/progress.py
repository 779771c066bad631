"""Messages of a long job: lines, and one progress line that overwrites itself on a terminal."""

import re
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Protocol, TextIO, TypeVar

from stylegen.io import signals

_TERMINAL_SECONDS = 0.5  # between two states of the progress line
_FIRST_SECONDS = 3.0  # until a wait is spoken of
_LOG_SECONDS = 10.0  # between progress lines where they cannot overwrite each other


class Sized(Protocol):
    """Anything with a length."""

    def __len__(self) -> int: ...


Batch = TypeVar("Batch", bound=Sized)


class Progress:
    """Writes to ``stream`` (default: standard error)."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = sys.stderr if stream is None else stream
        self._terminal = self._stream.isatty()
        self._width = 0
        self._last = time.monotonic()  # a job that takes no longer than a moment needs no progress line

    def say(self, text: str) -> None:
        """A line that stays."""
        self.clear()
        print(text, file=self._stream, flush=True)

    def update(self, text: str) -> None:
        """Show the present state: in place, every half second, on a terminal; else a line every ten seconds."""
        now = time.monotonic()
        if now - self._last < (_TERMINAL_SECONDS if self._terminal else _LOG_SECONDS):
            return
        self._last = now
        if self._terminal:
            print("\r" + text.ljust(self._width), end="", file=self._stream, flush=True)
            self._width = len(text)
        else:
            print(text, file=self._stream, flush=True)

    def clear(self) -> None:
        """Wipe the progress line."""
        if self._width:
            print("\r" + " " * self._width + "\r", end="", file=self._stream, flush=True)
            self._width = 0


class Rate:
    """Speed and time left of a job; work done before it started does not count towards the speed."""

    def __init__(self, total: int, done: int = 0, unit: str = "images") -> None:
        """Start to measure.

        Args:
            total: size of the job; 0 if it is not known.
            done: of it already.
            unit: what is counted; "bytes" are written as MB and the like.
        """
        self.total, self._unit = total, unit
        self.restart(done)

    def restart(self, done: int) -> None:
        """Measure the speed from here on."""
        self._first, self._start = done, time.monotonic()

    def speed(self, done: int) -> float:
        """Units per second since the last start."""
        return (done - self._first) / max(time.monotonic() - self._start, 1e-6)

    def left(self, done: int) -> str | None:
        """The time left, for example ``2 h 43 min``; None if it is not known."""
        speed = self.speed(done)
        return duration((self.total - done) / speed) if self.total and speed > 0 else None

    def line(self, done: int) -> str:
        """For example ``1,200 of 3,033,042 images, 310 images/s, 2 h 43 min left``."""
        speed, left = self.speed(done), self.left(done)
        if self._unit == "bytes":
            text = f"{size(done)} of {size(self.total)}" if self.total else size(done)
            shown = size(speed)
        else:
            text = (f"{done:,} of {self.total:,}" if self.total else f"{done:,}") + f" {self._unit}"
            shown = f"{speed:,.0f} {self._unit}" if speed >= 10 else f"{speed:.2g} {self._unit}"
        return text + (f", {shown}/s" if speed > 0 else "") + (f", {left} left" if left else "")


def with_progress(batches: Iterable[Batch], total: int, unit: str, progress: Progress | None = None) -> Iterator[Batch]:
    """Pass batches on and show their number, the speed and the time left, if it takes longer than a moment.

    If the first batch takes long, which mostly is compiling, a line says what is waited for, and another how long that
    took.
    Between two batches the work stops if a signal has asked to (``signals.check``).

    Args:
        batches: anything with a length, such as arrays.
        total: sum of the lengths; 0 if it is not known.
        unit: what is counted.
        progress: where to; default: standard error.
    """
    progress = progress or Progress()
    done, rate, started = 0, None, time.monotonic()
    waiting = _Announcement(progress, f"Waiting for the first {unit}; programs are compiled before them.")
    if unit != "bytes":
        waiting.start()
    try:
        for batch in batches:
            done += len(batch)
            if rate is None:
                if waiting.end():
                    progress.say(f"The first {unit} came after {duration(time.monotonic() - started)}.")
                rate = Rate(total, done, unit)  # from here: the first batch includes compilation
            else:
                progress.update(rate.line(done))
            yield batch
            signals.check()
    finally:
        waiting.end()
        progress.clear()


@contextmanager
def announced(text: str, progress: Progress | None = None) -> Iterator[None]:
    """A block that may take long; after a few seconds of it, a line says what is waited for, and at its end how long.

    Args:
        text: the line.
        progress: where to; default: standard error.
    """
    progress, started = progress or Progress(), time.monotonic()
    waiting = _Announcement(progress, text)
    waiting.start()
    try:
        yield
    finally:
        if waiting.end():
            progress.say(f"That took {duration(time.monotonic() - started)}.")


class _Announcement:
    """A line that is written after a few seconds, unless the wait for something ends before."""

    def __init__(self, progress: Progress, text: str) -> None:
        self._said = False
        self._timer = threading.Timer(_FIRST_SECONDS, self._say, (progress, text))
        self._timer.daemon = True

    def start(self) -> None:
        """Begin to wait."""
        self._timer.start()

    def end(self) -> bool:
        """Say nothing from now on; whether the line was written."""
        self._timer.cancel()
        return self._said

    def _say(self, progress: Progress, text: str) -> None:
        self._said = True
        progress.say(text)


def counted(count: int, noun: str, verbs: tuple[str, str] | None = None) -> str:
    """A number with its noun, for example ``1 image``, ``2,000 images`` or ``1 class``.

    Args:
        count: the number.
        noun: what is counted, singular; of several words the last one is declined.
        verbs: added behind it, the one for a single thing or the one for several: ``("is", "are")``.
    """
    if count != 1:
        noun = re.sub("([^aeiou])y$", r"\1ie", noun) + ("es" if noun.endswith(("s", "x", "ch", "sh")) else "s")
    verb = "" if verbs is None else f" {verbs[count != 1]}"
    return f"{count:,} {noun}{verb}"


def duration(seconds: float) -> str:
    """For example ``45 s``, ``12 min``, ``2 h 43 min`` or ``5 d 7 h``."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes >= 48 * 60:
        return f"{minutes // 1440} d {minutes % 1440 // 60} h"
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02d} min"


def in_kimg(nimg: int) -> str:
    """Thousands of images, written without loss, for example ``12345.678``; the unit is left to the sentence."""
    return f"{nimg / 1000:.12g}"


def size(count: float) -> str:
    """Bytes in decimal units, for example ``43.2 GB``."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if count < 1000 or unit == "GB":
            return f"{count:,.0f} {unit}" if unit == "bytes" or count >= 100 else f"{count:.1f} {unit}"
        count /= 1000
    raise AssertionError("unreachable")
