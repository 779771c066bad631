"""What training measures between ticks: means of its scalars, and its speed."""

import math
import time
from collections import defaultdict

import jax


class Means:
    """Means of scalars since the last tick, fetched from the device one step late, so that fetching never waits."""

    def __init__(self) -> None:
        self._sums: dict[str, float] = defaultdict(float)
        self._counts: dict[str, int] = defaultdict(int)
        self._pending: dict[str, jax.Array] | None = None

    def add(self, metrics: dict[str, jax.Array]) -> None:
        """Take in the scalars of a step, which may still be computing; fetches those of the step before."""
        self._fetch()
        self._pending = metrics

    def _fetch(self) -> None:
        if self._pending is not None:
            for name, value in jax.device_get(self._pending).items():
                self._sums[name] += float(value)
                self._counts[name] += 1
        self._pending = None

    def finite(self) -> bool:
        """Whether all scalars since the last tick are finite."""
        self._fetch()
        return all(math.isfinite(value) for value in self._sums.values())

    def take(self) -> dict[str, float]:
        """The mean of each scalar over the steps since the last call that gave it, by name; waits for the last step."""
        self._fetch()
        means = {name: self._sums[name] / self._counts[name] for name in sorted(self._sums)}
        self._sums.clear()
        self._counts.clear()
        return means


class Clock:
    """Speed since the last tick, without compiling and pictures, and time since the start."""

    def __init__(self, nimg: int) -> None:
        self._begin = time.monotonic()
        self.restart(nimg)

    def restart(self, nimg: int) -> None:
        """Count images and seconds from here; ``nimg`` images have been shown."""
        self._nimg, self._since = nimg, time.monotonic()

    def speed(self, nimg: int) -> float:
        """Images per second since the last restart, at ``nimg`` images shown."""
        return (nimg - self._nimg) / max(time.monotonic() - self._since, 1e-9)

    def total(self) -> float:
        """Seconds since the clock was made, whatever restarts there were."""
        return time.monotonic() - self._begin
