"""Generators from anywhere: names of published files, addresses, repositories of the Hugging Face hub, local files.

``published`` lists files that NVIDIA publishes, ``remote`` turns a name into an address, ``download`` fetches it once,
``opening`` is ``stylegen.load``, and ``init_from`` starts a run with the weights of whatever that takes.
"""

from stylegen.errors import StylegenError


class HubError(StylegenError):
    """A generator cannot be fetched; the message says why, and nothing of it is left."""
