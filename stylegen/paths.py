"""Paths as people write them."""

import os
import re
from pathlib import Path


def expanded(path: str | os.PathLike[str]) -> Path:
    """A path whose ``~`` at the beginning is the home folder.

    A shell expands it only where it begins a word: not in ``--run.dir=~/x``, in quotes, or in Python.
    """
    return Path(os.path.expanduser(path))


def expanded_list(text: str) -> str:
    """As ``expanded``, of an option that may be a path, or several with commas between them; other texts stay."""
    return re.sub(r"(?:^|(?<=,)\s*)~[^/,\s]*(?=/|,|$)", lambda found: os.path.expanduser(found[0].strip()), text)
