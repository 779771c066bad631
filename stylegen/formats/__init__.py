"""Other frameworks' files, read without running anything in them."""

from stylegen.errors import StylegenError


class WeightsError(StylegenError):
    """A file of weights cannot be used; the message says why and what would do."""
