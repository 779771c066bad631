"""A generator for use elsewhere."""


class ExportError(ValueError):
    """The generator cannot be exported like this; the message says why."""
