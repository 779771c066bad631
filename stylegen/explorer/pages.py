"""The files of the page, which come with the package."""

from importlib import resources

TYPES = {".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}


def page_files() -> dict[str, bytes]:
    """The files of the page by name."""
    folder = resources.files("stylegen.explorer") / "page"
    names = [path.name for path in folder.iterdir()]
    return {name: (folder / name).read_bytes() for name in sorted(names) if name[name.rfind(".") :] in TYPES}
