"""The version, of a checkout that is not installed too."""

import importlib.metadata
import shutil
import subprocess
import sys
import tomllib

import pytest

from stylegen import version
from stylegen.evaluation import measure
from stylegen.evaluation.metric_names import parse
from stylegen.export import model_card
from stylegen.runs.checkpoint_layout import versions
from tests.support.paths import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


@pytest.fixture
def not_installed(monkeypatch):
    """As if no distribution were called stylegen."""
    find = importlib.metadata.version

    def found(name):
        if name == "stylegen":
            raise importlib.metadata.PackageNotFoundError(name)
        return find(name)

    monkeypatch.setattr(importlib.metadata, "version", found)
    version.version.cache_clear()
    yield
    version.version.cache_clear()


def elsewhere(folder, monkeypatch, project=None):
    """As if the package lay in a folder, beside a pyproject.toml with this text."""
    monkeypatch.setattr(version, "__file__", str(folder / "stylegen" / "version.py"))
    if project is not None:
        (folder / "pyproject.toml").write_text(project)
    return version.version.__wrapped__()


def test_all_that_states_a_version_works_in_a_checkout_that_is_not_installed(not_installed, make_generator):
    from benchmarks import common

    assert version.version() == PROJECT["version"]
    assert versions()["stylegen"] == PROJECT["version"]
    assert measure.provenance(parse("fid1k"))["versions"]["stylegen"] == PROJECT["version"]
    assert common.machine()["stylegen"] == PROJECT["version"]
    card = model_card.text(make_generator(), model_card.Facts(None), ["grid.png", "model.safetensors"])
    assert f"Written by stylegen {PROJECT['version']}, jax" in card


def test_a_checkout_says_its_own_version_and_a_wheel_that_of_its_metadata(tmp_path, monkeypatch):
    monkeypatch.setattr(importlib.metadata, "version", lambda name: "7.8.9")
    assert elsewhere(tmp_path, monkeypatch, '[project]\nname = "stylegen"\nversion = "1.2.3"\n') == "1.2.3"
    for other in ('[project]\nname = "other"\nversion = "1.2.3"\n', "[tool.ruff]\n", "not TOML", None):
        (tmp_path / "pyproject.toml").unlink()
        assert elsewhere(tmp_path, monkeypatch, other) == "7.8.9"
        (tmp_path / "pyproject.toml").touch()


def test_without_either_it_is_unknown(tmp_path, monkeypatch, not_installed):
    assert elsewhere(tmp_path, monkeypatch) == "unknown"


def test_a_copy_of_the_package_alone_says_its_version(tmp_path):
    without = shutil.ignore_patterns("*.safetensors", "__pycache__")
    shutil.copytree(ROOT / "stylegen", tmp_path / "stylegen", ignore=without)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    code = "from stylegen.version import version; print(version())"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == PROJECT["version"]
