"""Networks that others trained, read safely: no torch, no pickle that may run code, no download unless asked for.

``torch_files`` reads state dicts, ``weights`` finds, checks and downloads files, ``inception`` and ``vgg`` are the
networks. The generators that ship with the package lie in this folder too; ``stylegen.loading`` reads those.
"""


class WeightsError(ValueError):
    """A file of weights cannot be used; the message says why and what would do."""
