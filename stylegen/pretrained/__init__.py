"""Feature networks that others trained: Inception, VGG-16, VGG-19. Nothing is downloaded unless asked for.

``weights`` finds, checks and downloads their files, which ``stylegen.formats`` reads without running anything.
"""

from stylegen.formats import WeightsError

__all__ = ["WeightsError"]
