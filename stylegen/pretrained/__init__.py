"""Networks that others trained, read safely: no torch, no pickle that may run code, no download unless asked for.

``pickle_scan``, ``pickle_tree`` and ``pickle_arrays`` read pickles without running them, ``torch_files`` what torch
saves. ``nvidia_files`` reads generators, which ``stylegan1`` and ``stylegan2`` bring into our form with ``mapping``.
``weights`` finds, checks and downloads files; ``inception`` and ``vgg`` are networks. The generators that ship with the
package lie in this folder too; ``stylegen.runs.load`` reads those.
"""

from stylegen.formats import WeightsError

__all__ = ["WeightsError"]
