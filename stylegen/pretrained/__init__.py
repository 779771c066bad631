"""Networks that others trained, read safely: no torch, no pickle that may run code, no download unless asked for.

``weights`` finds, checks and downloads files, which ``stylegen.formats`` reads. ``inception``, ``vgg16`` and ``vgg19``
are the networks, and ``resizing`` brings images to their sizes.
"""

from stylegen.formats import WeightsError

__all__ = ["WeightsError"]
