"""Other frameworks' files, read without running anything in them."""


class WeightsError(ValueError):
    """A file of weights cannot be used; the message says why and what would do."""
