"""Measures of generated images: arrays of features or images in, numbers out.

``moments`` and ``frechet`` make FID, ``kernel`` KID, ``neighbours`` precision, recall, density and coverage,
``inception_score`` IS, ``sliced_wasserstein`` SWD, ``path_length`` PPL. ``extractors`` turns images into features.
Nothing here knows where images come from: that is ``stylegen.evaluation``.
"""

from stylegen.errors import StylegenError


class MetricError(StylegenError):
    """A metric cannot be computed; the message says why and what would do."""
