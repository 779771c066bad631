"""Files of projections: kept, read again, and refused."""

import dataclasses

import numpy as np
import pytest

from stylegen.projection import (
    result as projected,
)
from stylegen.projection.result import ProjectionError
from stylegen.projection.search import project
from tests.support.projecting import FAST


def test_a_projection_is_kept(G, fast_result, tmp_path):
    path = tmp_path / "p.npz"
    projected.save(fast_result.projection, path)
    read = projected.load(path)
    for name in ("ws", "loss", "names", "generators"):
        np.testing.assert_array_equal(getattr(read, name), getattr(fast_result.projection, name))
    assert read.about["options"]["space"] == "w" and read.about["perceptual"] is None
    assert [file.name for file in tmp_path.iterdir()] == ["p.npz"]


def test_a_projection_of_another_generator_is_refused(G, make_generator, fast_result):
    projected.check(fast_result.projection, G, "p.npz")
    bent = dataclasses.replace(G, params={**G.params, "mapping": {}})
    with pytest.raises(ProjectionError, match=r"p\.npz is a projection of another generator .* the weights"):
        projected.check(fast_result.projection, bent, "p.npz")
    with pytest.raises(ProjectionError, match="6 styles of 16, and this one needs 4 of 16"):
        projected.check(fast_result.projection, make_generator(stage=8), "p.npz")


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 and no zip", "directions"])
def test_files_that_are_no_projections(tmp_path, content):
    path = tmp_path / "p.npz"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        np.savez(path, ws=np.zeros((1, 2, 3)))
    with pytest.raises(ProjectionError, match="is not a projection"):
        projected.load(path)
    with pytest.raises(ProjectionError, match="cannot be read"):
        projected.load(tmp_path / "nothing.npz")


def test_a_projection_names_no_folders_of_mine(G, images, tmp_path):
    absolute = dataclasses.replace(G, source=str(tmp_path / "runs" / "bedroom"))
    about = project(absolute, images[:1], FAST).projection.about
    assert about["generator"] == f"bedroom at {G.kimg:g} kimg" and str(tmp_path) not in str(about)
