"""Every notebook runs from top to bottom, with the quickstart run and, slowly, without."""

import os
import shutil
from pathlib import Path

import pytest

from stylegen.config_json import to_json
from stylegen.runs.checkpoint import Checkpointer
from stylegen.training.schedule import Stage
from stylegen.training.state import init_state
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


@pytest.fixture(scope="module")
def quickstart(tmp_path_factory) -> Path:
    """A folder with an untrained run at the place of the quickstart's, as ``train`` would have left it."""
    from stylegen.cli.experiments import load_config

    folder = tmp_path_factory.mktemp("with-run")
    run, config = folder / "runs" / "quickstart", load_config("quickstart")
    run.mkdir(parents=True)
    (run / "config.json").write_text(to_json(config))
    with Checkpointer(run, config, keep_last=1) as checkpointer:
        checkpointer.save(init_state(config), Stage(0, config.resolution, 1.0, 32, 0.002))
    return folder


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_with_the_quickstart_run(notebook, quickstart):
    outputs = execute(notebook, quickstart)
    check_outputs(outputs)
    assert not (quickstart / "runs" / "tiny").exists()


@pytest.mark.slow
@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_without_a_run_a_tiny_one_is_trained(notebook, tmp_path):
    check_outputs(execute(notebook, tmp_path))
    assert (tmp_path / "runs" / "tiny" / "config.json").exists()


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_committed_outputs_are_there_and_small(notebook):
    check_outputs(outputs_of(nbformat.read(notebook, as_version=4)))
    assert notebook.stat().st_size < 1_500_000


@pytest.mark.parametrize("name", WITHOUT_A_RUN)
def test_notebooks_that_need_no_run(name, tmp_path):
    if name == "explore":
        pytest.importorskip("anywidget", reason="the extra notebook is not installed")
    notebook = ROOT / "notebooks" / f"{name}.ipynb"
    for outputs in (outputs_of(nbformat.read(notebook, as_version=4)), execute(notebook, tmp_path)):
        check_outputs(outputs, loaded=WITHOUT_A_RUN[name])
    assert notebook.stat().st_size < 1_500_000


def test_there_are_notebooks():
    assert {path.stem for path in NOTEBOOKS} >= {"interpolation", "style_mixing", "edit_a_photo"}
