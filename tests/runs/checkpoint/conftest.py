import shutil
from pathlib import Path

import pytest

from tests.support.checkpoints import save


@pytest.fixture(scope="module")
def saved(tmp_path_factory) -> Path:
    """A run with two checkpoints; the tests that change it take a copy."""
    run = tmp_path_factory.mktemp("saved") / "run"
    save(run, 1500, 2500)
    return run


@pytest.fixture
def run(saved, tmp_path) -> Path:
    return shutil.copytree(saved, tmp_path / "run")
