"""The base of every error that this package raises on purpose."""


class StylegenError(ValueError):
    """Something asked for cannot be done; the message is a sentence that says what, why, and how to fix it.

    ``except stylegen.StylegenError`` catches every error of the package's own classes, and no bug: those keep Python's
    own classes.
    """
