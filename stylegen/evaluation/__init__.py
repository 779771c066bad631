"""Evaluating generators and sets of images: from names of metrics to numbers with their provenance.

``names`` knows what a metric's name asks for, ``image_sets`` where pictures come from, ``collect`` carries them once
through the extractor for all metrics together, ``reference`` keeps what was found of real pictures, ``measure`` puts
the numbers together, ``runs`` does it for the snapshots of a run.
"""

from stylegen.errors import StylegenError


class EvaluationError(StylegenError):
    """What was asked cannot be evaluated; the message says why and what would do."""
