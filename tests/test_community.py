"""Files that describe the project to others agree with pyproject.toml."""

import json
import re
import tomllib

import pytest

from tests.support.paths import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
REPOSITORY = PROJECT["urls"]["Repository"]
OWNER, NAME = REPOSITORY.removeprefix("https://github.com/").split("/")
TEXTS = [
    *(ROOT / name for name in ("README.md", "SECURITY.md", "CODE_OF_CONDUCT.md", "CONTRIBUTING.md", "CITATION.cff")),
    ROOT / "pyproject.toml",
    *sorted((ROOT / ".github").rglob("*.*")),
    *sorted((ROOT / "docs").glob("*.md")),
    *sorted((ROOT / "notebooks").glob("*.ipynb")),
]


def test_the_citation_is_of_this_version():
    text = (ROOT / "CITATION.cff").read_text()
    assert f"\nversion: {PROJECT['version']}\n" in text
    assert f"\nlicense: {PROJECT['license']}\n" in text
    assert re.search(r"^date-released: \d{4}-\d\d-\d\d$", text, re.MULTILINE)
    major_minor = PROJECT["version"].rpartition(".")[0]
    assert (ROOT / "docs" / f"release_{major_minor}.md").is_file(), "a release note for users"


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_there_is_one_address_of_the_repository(path):
    """It will be another one some day: then it is changed in pyproject.toml, and these say where else."""
    text = path.read_text()
    for owner, name in re.findall(rf"github(?:usercontent)?\.com/([\w.-]+)/({NAME})\b", text):
        assert (owner, name) == (OWNER, NAME)
    for owner, name in re.findall(rf"([\w-]+)\.github\.io/({NAME})\b", text):
        assert (owner, name) == (OWNER, NAME)
    for owner, name in re.findall(r"colab\.research\.google\.com/github/([\w.-]+)/([\w.-]+)", text):
        assert (owner, name) == (OWNER, NAME)


def test_badges_are_of_workflows_that_exist():
    named = re.findall(r"/workflows/([\w.]+)/badge\.svg", (ROOT / "README.md").read_text())
    assert named and all((ROOT / ".github" / "workflows" / name).is_file() for name in named)


@pytest.mark.parametrize("path", sorted((ROOT / "notebooks").glob("*.ipynb")), ids=lambda path: path.stem)
def test_notebooks_open_in_colab_and_install_themselves(path):
    cells = json.loads(path.read_text())["cells"]
    badge, install = "".join(cells[0]["source"]), "".join(cells[1]["source"])
    assert f"/github/{OWNER}/{NAME}/blob/main/notebooks/{path.name}" in badge
    assert "find_spec" in install and "pip install" in install
