"""Measurements between ticks: means of the scalars of training, and its speed."""

import time
from collections import defaultdict

import jax

SKIPPED = "Progress/skipped"  # begins the names of metrics that are 1 where a step was skipped, else 0


class Means:
    """Means of scalars since the last tick, fetched from the device one step late, so that fetching never waits.

    Steps that were skipped are counted and not averaged: their losses are no numbers.
    """

    def __init__(self, skipped: int = 0) -> None:
        """Count on from so many skipped steps."""
        self.skipped = skipped
        self.in_a_row = 0  # of them, up to the last step that was fetched
        self._sums: dict[str, float] = defaultdict(float)
        self._counts: dict[str, int] = defaultdict(int)
        self._pending: dict[str, jax.Array] | None = None

    def add(self, metrics: dict[str, jax.Array]) -> None:
        """Take in the scalars of a step, which may still be computing; fetches those of the step before."""
        self.settle()
        self._pending = metrics

    def settle(self) -> None:
        """Fetch the scalars of the last step, waiting for it."""
        if self._pending is not None:
            values = {name: float(value) for name, value in jax.device_get(self._pending).items()}
            flags = [values.pop(name) for name in list(values) if name.startswith(SKIPPED)]
            if any(flags):
                self.skipped += 1
                self.in_a_row += 1
            else:
                self.in_a_row = 0
                for name, value in values.items():
                    self._sums[name] += value
                    self._counts[name] += 1
        self._pending = None

    def take(self) -> dict[str, float]:
        """The mean of each scalar over the steps since the last call that gave it, by name; waits for the last step."""
        self.settle()
        means = {name: self._sums[name] / self._counts[name] for name in sorted(self._sums)}
        self._sums.clear()
        self._counts.clear()
        return means


class Clock:
    """Speed since the last tick, without compiling and drawing samples, and time since the start."""

    def __init__(self, nimg: int) -> None:
        self._begin = time.monotonic()
        self.restart(nimg)

    def restart(self, nimg: int) -> None:
        """Count images and seconds from here; ``nimg`` images have been shown."""
        self._nimg, self._since = nimg, time.monotonic()

    def speed(self, nimg: int) -> float:
        """Images per second since the last restart, at ``nimg`` images shown."""
        return (nimg - self._nimg) / max(self.seconds(), 1e-9)

    def seconds(self) -> float:
        """Seconds since the last restart."""
        return time.monotonic() - self._since

    def total(self) -> float:
        """Seconds since the clock was made, whatever restarts there were."""
        return time.monotonic() - self._begin
