"""The Python on the pages runs, and links lead somewhere; ``make docs`` builds the site and checks the rest."""

import ast
import importlib
import re
import statistics

import numpy as np
import pytest
from PIL import Image

import stylegen
from stylegen.runs import load
from tests.support.documents import GUIDES, PAGES, README, RUN, python_blocks
from tests.support.paths import ROOT

DOCUMENTS = [README, *PAGES]
WITH_PYTHON = [page for page in RUN if python_blocks(page)]
BY_STEM = {"ids": lambda page: page.stem}
# Mean difference of a figure from the committed one, in gray levels: other CPUs and versions round differently.
FIGURE_TOLERANCE = 1.0


@pytest.mark.parametrize("page", WITH_PYTHON, **BY_STEM)
def test_the_python_of_a_page_runs(page, make_generator, monkeypatch, tmp_path):
    """Its blocks one after the other; runs are an untrained generator, and photo.jpg is there."""
    monkeypatch.chdir(tmp_path)
    real_load = load.load
    monkeypatch.setattr(
        stylegen, "load", lambda run, kimg=None: real_load(run) if run == "toy_bedrooms" else make_generator()
    )
    photograph = np.random.default_rng(0).integers(0, 256, (40, 64, 3), np.uint8)
    Image.fromarray(photograph).save("photo.jpg")
    namespace: dict = {"__name__": page.stem}
    for block in python_blocks(page):
        exec(compile(block, str(page), "exec"), namespace)
    for figure in tmp_path.glob("*.png"):
        committed = ROOT / "docs" / "images" / figure.name
        if committed.is_file():
            found, expected = (np.asarray(Image.open(path), np.float32) for path in (figure, committed))
            assert found.shape == expected.shape, figure.name
            assert np.abs(found - expected).mean() < FIGURE_TOLERANCE, f"docs/images/{figure.name} is another figure"


@pytest.mark.parametrize("page", [page for page in PAGES if page not in RUN and python_blocks(page)], **BY_STEM)
def test_the_python_of_other_pages_can_be_read(page):
    for block in python_blocks(page):
        ast.parse(block)


def test_every_figure_of_the_explained_page_is_computed_there():
    page = ROOT / "docs" / "adain.md"
    shown = re.findall(r"!\[.*?\]\(images/(.*?)\)", page.read_text())
    assert shown and set(shown) == set(re.findall(r'"(\w+\.png)"', "".join(python_blocks(page))))


@pytest.mark.parametrize("page", DOCUMENTS, **BY_STEM)
def test_links_lead_somewhere(page):
    text = page.read_text()
    links = re.findall(r"\]\((?!https?:|mailto:)([^)#\s]+)", text) + re.findall(r'src="(?!https?:)([^"]+)"', text)
    generated = ("reference/", "notebooks/")  # which the site has, and conf.py writes from the code
    missing = [
        link
        for link in links
        if not (page.parent / link).exists() and not (page.parent == ROOT / "docs" and link.startswith(generated))
    ]
    assert not missing


@pytest.mark.parametrize("page", [page for page in PAGES if page.stem != "index"], **BY_STEM)
def test_every_page_begins_with_its_title(page):
    assert re.match(r"# \S.*\n\n", page.read_text())


def test_what_index_lists_is_there():
    listed = re.findall(r"^(?:reference|notebooks)?/?\w+$", (ROOT / "docs" / "index.md").read_text(), re.MULTILINE)
    for name in (name for name in listed if not name.startswith("reference/")):  # which conf.py writes
        path = ROOT / f"{name}.ipynb" if name.startswith("notebooks/") else ROOT / "docs" / f"{name}.md"
        assert path.is_file(), name


def test_sentences_are_short(monkeypatch):
    """README and guides: a median of 8 to 18 words, none of more than 35. For the rest: docs/prose.py."""
    monkeypatch.syspath_prepend(ROOT / "docs")
    prose = importlib.import_module("prose")
    others = ("architecture", "design_notes", "install", "style_transfer", "your_data")
    for page in [*GUIDES, *(ROOT / "docs" / f"{name}.md" for name in others)]:
        found = [one for text in prose.paragraphs_of_markdown(page.read_text()) for one in prose.sentences(text)]
        lengths = [len(one.split()) for one in found]
        assert not [one for one in found if len(one.split()) > prose.TOO_LONG], page.name
        assert 8 <= statistics.median(lengths) <= 18, page.name


def test_every_paper_that_a_docstring_cites_has_a_link(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "docs")
    citations = importlib.import_module("citations")
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef)
    cited = set()
    for path in (ROOT / "stylegen").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, kinds):
                cited |= set(citations.CITATION.findall(" ".join((ast.get_docstring(node) or "").split())))
    assert len(cited) > 20
    assert not [citation for citation in cited if citations.paper_of(citation) is None]
    assert citations.paper_of("Karras et al. 2020", "stylegen.training.augment.transform") == citations.ADA
    assert citations.linked("as in Shoemake 1985.", "") == (
        "as in `Shoemake 1985 <https://doi.org/10.1145/325165.325242>`__."
    )
