"""Every notebook runs from top to bottom, with the generator that comes with the package."""

import os
import shutil
from pathlib import Path

import pytest

from tests.support.marks import slow_but
from tests.support.paths import ROOT

nbformat = pytest.importorskip("nbformat")
nbclient = pytest.importorskip("nbclient")

WITHOUT_A_RUN = {"style_transfer": "StyleModel(", "explore": "Generator(32x32"}  # with what they load
NOTEBOOKS = sorted(path for path in ROOT.glob("notebooks/*.ipynb") if path.stem not in WITHOUT_A_RUN)


def execute(notebook: Path, folder: Path) -> list[dict]:
    """Run a copy of a notebook in ``folder``/notebooks; its outputs."""
    (folder / "notebooks").mkdir(exist_ok=True)
    copy = Path(shutil.copy(notebook, folder / "notebooks"))
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    content = nbformat.read(copy, as_version=4)
    client = nbclient.NotebookClient(content, timeout=600, resources={"metadata": {"path": str(copy.parent)}})
    client.execute(env={**os.environ, "PYTHONPATH": path})
    return outputs_of(content)


def outputs_of(content: nbformat.NotebookNode) -> list[dict]:
    return [output for cell in content.cells if cell.cell_type == "code" for output in cell.outputs]


def check_outputs(outputs: list[dict], loaded: str = "Generator(32x32") -> None:
    shown = [output["data"] for output in outputs if "data" in output]
    assert any(loaded in data.get("text/plain", "") for data in shown)
    assert sum("image/png" in data for data in shown) >= 2
    assert not any(output["output_type"] == "error" for output in outputs)
    assert not any(output.get("name") == "stderr" for output in outputs), "warnings do not belong in a notebook"


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_every_cell_runs_and_nothing_is_trained(notebook, tmp_path):
    check_outputs(execute(notebook, tmp_path))
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebooks_say_how_to_take_a_run_of_ones_own(notebook):
    text = "".join(cell.source for cell in nbformat.read(notebook, as_version=4).cells)
    assert 'stylegen.load("toy_bedrooms")' in text and "run directory" in text and "--layers-table" in text


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_committed_outputs_are_there_and_small(notebook):
    check_outputs(outputs_of(nbformat.read(notebook, as_version=4)))
    assert notebook.stat().st_size < 1_500_000


@pytest.mark.parametrize("name", slow_but(list(WITHOUT_A_RUN), ["explore"]))
def test_notebooks_that_need_no_run(name, tmp_path):
    if name == "explore":
        pytest.importorskip("anywidget", reason="the extra notebook is not installed")
    notebook = ROOT / "notebooks" / f"{name}.ipynb"
    for outputs in (outputs_of(nbformat.read(notebook, as_version=4)), execute(notebook, tmp_path)):
        check_outputs(outputs, loaded=WITHOUT_A_RUN[name])
    assert notebook.stat().st_size < 1_500_000


def test_there_are_notebooks():
    assert {path.stem for path in NOTEBOOKS} >= {"interpolation", "style_mixing", "edit_a_photo"}
