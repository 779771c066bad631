"""The documentation site: ``make docs`` builds it in ``out/docs``, with warnings as errors.

Sphinx, because the API reference comes from the docstrings (autodoc) and links to the source (viewcode). MyST, because
the pages are Markdown, as GitHub shows them.
"""

import ast
import importlib.util
import os
import sys
import tomllib
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parent
sys.path[:0] = [str(ROOT), str(HERE)]
os.environ.setdefault("JAX_PLATFORMS", "cpu")

import citations  # noqa: E402
import settings  # noqa: E402

META = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
project, author = "stylegen", "The stylegen authors"
version = release = META["version"]
copyright = "the stylegen authors, Apache-2.0"
REPOSITORY = META["urls"]["Repository"]

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode", "sphinx_copybutton"]
html_theme = "furo"
html_title = f"stylegen {version}"
html_theme_options = {"source_repository": REPOSITORY, "source_branch": "main", "source_directory": "docs/"}
exclude_patterns = ["_build", "images", "**/.ipynb_checkpoints"]

myst_enable_extensions = ["dollarmath", "colon_fence", "deflist"]
myst_heading_anchors = 3
nb_execution_mode = "off"  # tests/test_notebooks.py executes them; their stored output is shown
nb_merge_streams = True
suppress_warnings = ["ref.python"]  # errors of one name in two modules, in the lists of what is raised

autodoc_default_options = {"members": True, "member-order": "bysource", "show-inheritance": True}
autodoc_typehints = "signature"
autodoc_preserve_defaults = True
# Of optional packages that are not installed, the reference shows what it can.
autodoc_mock_imports = [
    name for name in ("anywidget", "starlette", "uvicorn", "websockets") if importlib.util.find_spec(name) is None
]
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 100
napoleon_google_docstring, napoleon_numpy_docstring = True, False
copybutton_exclude = ".linenos, .gp, .go"

REFERENCE = HERE / "reference"
NOTEBOOKS = HERE / "notebooks"
FIRST = ["config", "ops", "train", "networks", "sampling", "training", "data", "runs"]  # the rest by name


def modules(room: str) -> list[str]:
    """The dotted names of a room's modules, or of the one that is a file beside the rooms."""
    package = ROOT / "stylegen"
    if (package / f"{room}.py").is_file():
        return [f"stylegen.{room}"]
    names = []
    for path in sorted((package / room).rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        names.append(".".join(parts[:-1] if parts[-1] == "__init__" else parts))
    return sorted(names)


def rooms() -> list[str]:
    """What the reference has a page for; the command lines have --help instead."""
    found = {p.parent.name for p in (ROOT / "stylegen").glob("*/__init__.py")}
    found |= {p.stem for p in (ROOT / "stylegen").glob("*.py")} - {"__init__"}
    listed = [*FIRST, *sorted(found - {*FIRST, "cli", "assets"})]
    return [room for room in listed if room in found]


def is_worth_a_section(module: str) -> bool:
    """Whether a module has more than a docstring."""
    spec = importlib.util.find_spec(module)
    assert spec is not None and spec.origin is not None
    body = ast.parse(Path(spec.origin).read_text()).body
    return any(isinstance(node, ast.FunctionDef | ast.ClassDef) for node in body) or module.count(".") == 1


def write(path: Path, text: str) -> None:
    """Write a generated page, unless it is that already: Sphinx reads again what is newer."""
    path.parent.mkdir(exist_ok=True)
    if not path.is_file() or path.read_text() != text:
        path.write_text(text)


def write_reference() -> None:
    """One page for each room: its modules, with everything public in them."""
    for room in rooms():
        lines = [f"# {room}", ""]
        for module in filter(is_worth_a_section, modules(room)):
            heading = [] if module == f"stylegen.{room}" else [f"## {module}", ""]
            ignored = [":ignore-module-all:"] if importlib.util.find_spec(module).submodule_search_locations else []
            options = [f"   {option}" for option in ignored]
            lines += [*heading, "```{eval-rst}", f".. automodule:: {module}", *options, "```", ""]
        write(REFERENCE / f"{room}.md", "\n".join(lines))
    write(REFERENCE / "settings.md", settings.page())
    for old in REFERENCE.glob("*.md"):
        if old.stem not in [*rooms(), "settings"]:
            old.unlink()


def copy_notebooks() -> None:
    """The notebooks with their stored output, each under its first heading."""
    for path in (ROOT / "notebooks").glob("*.ipynb"):
        write(NOTEBOOKS / path.name, path.read_text())


write_reference()
copy_notebooks()

MORE = "<!-- more pages -->"  # in index.md: pages that no table of contents names


def add_unlisted_pages(app, docname: str, source: list[str]) -> None:
    """Put pages that are new, and in no table of contents yet, where index.md says."""
    if docname == "index":
        text = source[0]
        pages = sorted(path.stem for path in HERE.glob("*.md"))
        new = [page for page in pages if page != "index" and f"\n{page}\n" not in text]
        source[0] = text.replace(MORE, "\n".join(new))


def link_to_repository(app, docname: str, source: list[str]) -> None:
    """Links to files outside docs/ work on GitHub; here they lead to GitHub."""
    source[0] = source[0].replace("](../", f"]({REPOSITORY}/blob/main/")


def link_papers(app, what: str, name: str, obj, options, lines: list[str]) -> None:
    """Citations in docstrings become links; names of modules begin with theirs."""
    lines[:] = [citations.linked(line, name) for line in lines]


def setup(app) -> None:
    """Called by Sphinx."""
    app.connect("autodoc-process-docstring", link_papers)
    app.connect("source-read", add_unlisted_pages)
    app.connect("source-read", link_to_repository)
