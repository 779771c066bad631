"""Evaluating generators and sets of images: from names of metrics to numbers with their provenance.

``metric_names`` parses the name of a metric. ``opening`` and ``image_sets`` read images. ``collect`` passes them once
through the extractor, for all metrics together. ``reference_cache`` stores the statistics of real images. ``measure``
computes the numbers, and ``evaluate_run`` those of a run's snapshots.
"""

from stylegen.errors import StylegenError


class EvaluationError(StylegenError):
    """A metric cannot be evaluated; the message says why and names the fix."""
