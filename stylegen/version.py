"""The version of the code that runs."""

import functools
from pathlib import Path


@functools.cache
def version() -> str:
    """Of the checkout that this file lies in, installed or not; else of the installed package; else ``unknown``."""
    # Imported here: together they take half of the time of ``stylegen --help``, which needs neither.
    import importlib.metadata
    import tomllib

    try:
        project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
        if project["name"] == "stylegen":
            return str(project["version"])
    except (OSError, ValueError, KeyError):  # ValueError: not TOML, or not UTF-8
        pass
    try:
        return importlib.metadata.version("stylegen")
    except importlib.metadata.PackageNotFoundError:
        return "unknown"
