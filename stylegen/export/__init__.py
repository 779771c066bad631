"""A generator for use elsewhere."""

from stylegen.errors import StylegenError


class ExportError(StylegenError):
    """The generator cannot be exported like this; the message says why."""
