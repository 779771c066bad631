"""What a metric takes of each set of images, said before the work, and where these numbers spoil its value."""

from stylegen.evaluation.metric_names import Metric
from stylegen.metrics import kid
from stylegen.metrics.fid import too_few_samples

UNLIKE = 10  # times as many images in one set as in the other
ENOUGH = 10_000  # images in the smaller set, from which on the larger one's number matters little


def reals_taken(metric: Metric, available: int) -> int:
    """The number of real images that a metric takes of those that there are; 0 if it compares with none."""
    return min(metric.reals or available, available) if metric.needs_reals else 0


def describe(metric: Metric, fakes: int, reals: int) -> str:
    """The number of images that a metric takes, for example ``fid300: 300 fakes, 15 reals``."""
    if metric.kind == "ppl":
        return f"{metric.name}: {fakes:,} pairs of fakes"
    return f"{metric.name}: {fakes:,} fakes" + (f", {reals:,} reals" if metric.needs_reals else "")


def size_warnings(metric: Metric, fakes: int, reals: int, features: int | None = None) -> list[str]:
    """What is to be known of a value of so many images; empty where there is nothing.

    Args:
        metric: that is measured.
        fakes: that it takes.
        reals: that it takes; 0 if it takes none, or if their number is not known.
        features: numbers in a feature vector; None if there are no features.
    """
    notes: list[str] = []
    if metric.needs_reals and not reals:
        return notes  # statistics of a file that does not say of how many images they are
    if metric.kind == "fid" and features is not None and min(fakes, reals) <= features:
        notes.append(too_few_samples(min(fakes, reals), features))
    if reals < metric.reals_asked_for:
        notes.append(
            f"the name asks for {metric.reals_asked_for:,} real images; there are {reals:,}, and all are taken."
        )
    smaller, larger = sorted((fakes, reals))
    # KID is unbiased and takes subsets of one size, and SWD takes as many of both.
    if metric.kind in ("fid", "pr", "dc") and smaller < ENOUGH and larger >= UNLIKE * smaller:
        notes.append(
            f"{fakes:,} fakes and {reals:,} reals: the value depends on both numbers; compare it only with values of "
            "the same two."
        )
    if metric.kind == "kid" and smaller < kid.SUBSET_SIZE:
        notes.append(
            f"subsets have {kid.SUBSET_SIZE:,} images, and the smaller set has {smaller:,}: every subset holds all of "
            "it, so the mean over subsets takes none of its noise away."
        )
    return notes
