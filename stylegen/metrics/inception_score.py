"""Inception score (Salimans et al. 2016)."""

import numpy as np
from jaxtyping import Float

from stylegen.metrics import MetricError
from stylegen.metrics.moments import checked

SPLITS = 10


def inception_score(logits: Float[np.ndarray, "n classes"], splits: int = SPLITS) -> tuple[float, float]:
    """exp of the mean KL divergence of p(y|x) from p(y), over ``splits`` parts: mean and standard deviation.

    Args:
        logits: [N, classes]; the original leaves the last layer's bias out.
        splits: parts of the samples, in order, that are scored by themselves.

    Raises:
        MetricError: fewer samples than parts.
    """
    logits = checked(logits, "logits").astype(np.float64)
    if not 1 <= splits <= len(logits):
        raise MetricError(f"{len(logits)} images cannot be split into {splits} parts.")
    log_p = logits - logits.max(axis=1, keepdims=True)
    log_p -= np.log(np.exp(log_p).sum(axis=1, keepdims=True))
    n = len(logits)
    parts = [log_p[n * i // splits : n * (i + 1) // splits] for i in range(splits)]
    scores = [_score(part) for part in parts]
    return float(np.mean(scores)), float(np.std(scores))


def _score(log_p: np.ndarray) -> float:
    p = np.exp(log_p)
    mean = p.mean(axis=0)
    # A class whose probability underflows everywhere adds nothing.
    log_mean = np.log(np.where(mean > 0, mean, 1))
    return float(np.exp((p * (log_p - log_mean)).sum(axis=1).mean()))
