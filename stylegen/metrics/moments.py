"""Mean and covariance of features that come in batches, in float64."""

from collections.abc import Iterable

import numpy as np
from jaxtyping import Float

from stylegen.metrics import MetricError


class Moments:
    """Running mean [D] and covariance [D, D] of feature vectors.

    Every batch is centered on its own mean before its products are summed, and the batches are merged by the exact
    update of Chan, Golub and LeVeque (1979). So nothing cancels, and the result is that of two passes over all samples
    to float64 rounding.
    """

    def __init__(self) -> None:
        self.count = 0
        self.mean = np.zeros(0)
        self._scatter = np.zeros((0, 0))

    def update(self, features: Float[np.ndarray, "n d"]) -> None:
        """Take in a batch [N, D].

        Raises:
            MetricError: it is not of that shape, has another D than before, or holds numbers that are not finite.
        """
        batch = checked(features, "features").astype(np.float64)
        if self.count and batch.shape[1] != len(self.mean):
            raise MetricError(f"features have {batch.shape[1]} numbers each; those before had {len(self.mean)}.")
        if len(batch) == 0:
            return
        mean = batch.mean(axis=0)
        centered = batch - mean
        scatter = centered.T @ centered
        if self.count == 0:
            self.count, self.mean, self._scatter = len(batch), mean, scatter
            return
        total = self.count + len(batch)
        delta = mean - self.mean
        self._scatter += scatter + np.outer(delta, delta) * (self.count * len(batch) / total)
        self.mean = self.mean + delta * (len(batch) / total)
        self.count = total

    @property
    def covariance(self) -> Float[np.ndarray, "d d"]:
        """Unbiased covariance [D, D].

        Raises:
            MetricError: there are fewer than two samples.
        """
        if self.count < 2:
            raise MetricError(f"a covariance needs at least 2 samples; there are {self.count}.")
        return self._scatter / (self.count - 1)

    @classmethod
    def of(cls, batches: Iterable[np.ndarray]) -> "Moments":
        """The moments of all batches [N, D] together."""
        moments = cls()
        for batch in batches:
            moments.update(batch)
        return moments

    @classmethod
    def known(cls, mean: np.ndarray, covariance: np.ndarray) -> "Moments":
        """Moments of which mean [D] and unbiased covariance [D, D] alone are known; they count as of D + 1 samples.

        Raises:
            MetricError: they are of other shapes, or not finite.
        """
        mean, covariance = np.asarray(mean, np.float64), np.asarray(covariance, np.float64)
        if mean.ndim != 1 or covariance.shape != 2 * mean.shape:
            raise MetricError(f"mean {mean.shape} and covariance {covariance.shape}; wanted [D] and [D, D].")
        checked(np.vstack([mean[None], covariance]), "mean and covariance")
        moments = cls()
        moments.count, moments.mean = mean.size + 1, mean
        moments._scatter = covariance * mean.size
        return moments

    def as_arrays(self) -> dict[str, np.ndarray]:
        """All of it as arrays, for a file; ``from_arrays`` gives it back exactly."""
        return {"count": np.array(self.count), "mean": self.mean, "scatter": self._scatter}

    @classmethod
    def from_arrays(cls, arrays: dict[str, np.ndarray]) -> "Moments":
        """Inverse of ``as_arrays``."""
        moments = cls()
        moments.count = int(arrays["count"])
        moments.mean, moments._scatter = arrays["mean"], arrays["scatter"]
        return moments


def checked(features: np.ndarray, name: str) -> np.ndarray:
    """The features as they are, if they are finite numbers [N, D].

    Raises:
        MetricError: they are not.
    """
    features = np.asarray(features)
    if features.ndim != 2 or features.shape[1] == 0:
        raise MetricError(f"{name} have shape {features.shape}; wanted [N, D], a row for each image.")
    if not np.isfinite(features).all():
        raise MetricError(f"{name} hold numbers that are not finite.")
    return features
