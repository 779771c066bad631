"""Files from anywhere, read within bounds: JSON, numbers, zip and npz archives, safetensors, and what a file is at all.

Whatever a file holds, reading it here ends in a value or in a ``FileError``, and costs no more time and memory than the
bounds in ``limits`` allow. Sizes are compared with those bounds, and with what the caller expects, before anything is
allocated. Nothing in a file is run.

``json_text`` reads JSON, ``numbers`` single numbers, ``archives`` zip files, ``npz`` archives of arrays, ``tensors``
safetensors; ``kinds`` says what a file is from its first bytes; ``checksums`` finds damage in files of our own.
"""

from stylegen.errors import StylegenError

SHOWN = 80  # letters of a file's text in a message


class FileError(StylegenError):
    """A file is not what it should be; the message begins with its name and says what it is."""


def shown(value: object, length: int = SHOWN) -> str:
    """A value from a file for a message: printable, and not longer than ``length`` letters."""
    text = value if isinstance(value, str) else repr(value)
    escaped = printable(text[: length + 1])
    return escaped if len(escaped) <= length else escaped[: length - 2] + " …"


def printable(text: str) -> str:
    """A text with everything escaped that is no letter, sign or space: control characters, bytes that are no UTF-8."""
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text)
