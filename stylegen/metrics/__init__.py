"""Measures of generated images: arrays of features or images in, numbers out.

``moments`` and ``fid`` make FID, ``kid`` KID, ``precision_recall`` precision, recall, density and coverage,
``inception_score`` IS, ``swd`` SWD, ``ppl`` PPL, ``lpips`` LPIPS. ``extractors`` turns images into features.
Nothing here knows where images come from: that is ``stylegen.evaluation``.
"""

from stylegen.errors import StylegenError


class MetricError(StylegenError):
    """A metric cannot be computed; the message says why and what would do."""
